package auth

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"strconv"
	"strings"

	"github.com/pgroute/pgroute/internal/sqlstate"
)

// Mechanism is the only SASL mechanism that we offer and use.
const Mechanism = "SCRAM-SHA-256"

// ErrProof says that a client's proof does not fit the verifier: the password
// is wrong, or the user is unknown. The caller must not tell which.
var ErrProof = errors.New("the client's proof does not fit the verifier")

// A Server is the server's side of one authentication: First, then Final. It
// is not safe for concurrent use and serves one exchange only.
type Server struct {
	verifier Verifier
	doomed   bool
	nonce    string // ours, appended to the client's

	bare        string // client-first-message-bare
	flag        byte   // gs2-cbind-flag, 'n' or 'y'
	clientFirst string // the client's nonce and ours
	serverFirst string
}

// NewServer begins an exchange that succeeds for whoever knows the password
// that v was made from.
func NewServer(v Verifier) *Server {
	return &Server{verifier: v, nonce: newNonce()}
}

// NewDoomedServer begins an exchange that looks and lasts like any other and
// then fails whatever the client proves. It hides that a user does not exist;
// v comes from a Mock.
func NewDoomedServer(v Verifier) *Server {
	return &Server{verifier: v, nonce: newNonce(), doomed: true}
}

// First takes the client-first-message and returns the server-first-message.
// Its errors are *MessageError.
func (s *Server) First(msg []byte) ([]byte, error) {
	m, err := text(msg)
	if err != nil {
		return nil, err
	}
	// The GS2 header: flag, authorisation identity (RFC 5801, section 4). We
	// offer no -PLUS mechanism. A client that could have used one says y,
	// which is true then; one that binds anyway is refused.
	switch m[0] {
	case 'n', 'y':
		s.flag = m[0]
	case 'p':
		return nil, malformed("The client selected SCRAM-SHA-256 without channel binding, but the SCRAM message includes channel binding data.")
	default:
		return nil, malformed("Unexpected channel-binding flag %q.", m[0])
	}
	m = m[1:]
	if !strings.HasPrefix(m, ",") {
		return nil, malformed("Comma expected after the channel-binding flag.")
	}
	m = m[1:]
	if strings.HasPrefix(m, "a") {
		return nil, unsupported("client uses authorization identity, but it is not supported")
	}
	if !strings.HasPrefix(m, ",") {
		return nil, malformed("Unexpected attribute in client-first-message.")
	}
	s.bare = m[1:]
	if strings.HasPrefix(s.bare, "m") {
		return nil, unsupported("client requires an unsupported SCRAM extension")
	}
	// PostgreSQL ignores this user name: that of the startup packet counts.
	_, rest, last, err := attr(s.bare, 'n')
	if err != nil {
		return nil, err
	}
	if last {
		return nil, malformed("Attribute expected, but found end of string.")
	}
	nonce, rest, last, err := attr(rest, 'r')
	if err != nil {
		return nil, err
	}
	if !printable(nonce) {
		return nil, &MessageError{Code: sqlstate.ProtocolViolation, Message: "non-printable characters in SCRAM nonce"}
	}
	for !last { // extensions, which we may ignore
		if _, _, rest, last, err = anyAttr(rest); err != nil {
			return nil, err
		}
	}

	s.clientFirst = nonce + s.nonce
	s.serverFirst = "r=" + s.clientFirst +
		",s=" + base64.StdEncoding.EncodeToString(s.verifier.Salt) +
		",i=" + strconv.Itoa(s.verifier.Iterations)
	return []byte(s.serverFirst), nil
}

// Final takes the client-final-message. When its proof is right it returns the
// server-final-message and the keys, which then belong to the caller. When it
// is wrong the error is ErrProof; other errors are *MessageError.
func (s *Server) Final(msg []byte) ([]byte, *Keys, error) {
	m, err := text(msg)
	if err != nil {
		return nil, nil, err
	}
	binding, rest, last, err := attr(m, 'c')
	if err != nil {
		return nil, nil, err
	}
	// base64("n,,") and base64("y,,"): the header of the first message again.
	if want := map[byte]string{'n': "biws", 'y': "eSws"}[s.flag]; want == "" || binding != want {
		return nil, nil, &MessageError{Code: sqlstate.ProtocolViolation, Message: "unexpected SCRAM channel-binding attribute in client-final-message"}
	}
	if last {
		return nil, nil, malformed("Attribute expected, but found end of string.")
	}
	nonce, rest, last, err := attr(rest, 'r')
	if err != nil {
		return nil, nil, err
	}
	var name byte
	var proof string
	withoutProof := m
	for name != 'p' {
		if last {
			return nil, nil, malformed("Attribute expected, but found end of string.")
		}
		withoutProof = m[:len(m)-len(rest)-1]
		if name, proof, rest, last, err = anyAttr(rest); err != nil {
			return nil, nil, err
		}
	}
	keys := new(Keys)
	if !decodeKey(keys.ClientKey[:], proof) {
		return nil, nil, malformed("Malformed proof in client-final-message.")
	}
	if !last {
		return nil, nil, malformed("Garbage found at the end of client-final-message.")
	}
	if subtle.ConstantTimeCompare([]byte(nonce), []byte(s.clientFirst)) != 1 {
		return nil, nil, &MessageError{Code: sqlstate.ProtocolViolation, Message: "invalid SCRAM response", Detail: "Nonce does not match."}
	}

	// RFC 5802, section 3: ClientProof = ClientKey XOR HMAC(StoredKey,
	// AuthMessage), and H(ClientKey) must be StoredKey.
	authMessage := []byte(s.bare + "," + s.serverFirst + "," + withoutProof)
	var signature, serverSignature [keyLen]byte
	mac(&signature, s.verifier.StoredKey[:], authMessage)
	subtle.XORBytes(keys.ClientKey[:], keys.ClientKey[:], signature[:])
	keys.StoredKey = sha256.Sum256(keys.ClientKey[:])
	keys.ServerKey = s.verifier.ServerKey
	mac(&serverSignature, s.verifier.ServerKey[:], authMessage)
	if subtle.ConstantTimeCompare(keys.StoredKey[:], s.verifier.StoredKey[:]) != 1 || s.doomed {
		keys.Zero()
		return nil, nil, ErrProof
	}
	return []byte("v=" + base64.StdEncoding.EncodeToString(serverSignature[:])), keys, nil
}

// text refuses what PostgreSQL's C strings cannot hold.
func text(msg []byte) (string, error) {
	if len(msg) == 0 {
		return "", malformed("The message is empty.")
	}
	m := string(msg)
	if strings.IndexByte(m, 0) >= 0 {
		return "", malformed("Message length does not match input length.")
	}
	return m, nil
}
