package auth

import (
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// maxClientIterations bounds the work that a server can ask of a client that
// has only a password (about ten seconds). Keys need no such work.
const maxClientIterations = 10_000_000

// A Client is the client's side of one authentication: First, Final, Verify.
// It is not safe for concurrent use and serves one exchange only.
type Client struct {
	keys     *Keys
	password string
	nonce    string
	bare     string
	server   [keyLen]byte // the signature that the server must show
	ready    bool
}

// NewClient begins a login with keys, which it only reads and must outlive it.
func NewClient(keys *Keys) *Client {
	return &Client{keys: keys, nonce: newNonce()}
}

// NewPasswordClient begins a login with a password, which must be ASCII or
// already normalised by SASLprep.
func NewPasswordClient(password string) *Client {
	return &Client{password: password, nonce: newNonce()}
}

// First returns the client-first-message. The user name in it is empty, as
// libpq sends it.
func (c *Client) First() []byte {
	c.bare = "n=,r=" + c.nonce
	return []byte("n,," + c.bare)
}

// Final takes the server-first-message and returns the client-final-message.
func (c *Client) Final(msg []byte) ([]byte, error) {
	m, err := text(msg)
	if err != nil {
		return nil, err
	}
	nonce, rest, _, err := attr(m, 'r')
	if err != nil {
		return nil, err
	}
	// A server that adds nothing of its own could replay an old exchange.
	if !strings.HasPrefix(nonce, c.nonce) || len(nonce) == len(c.nonce) || !printable(nonce) {
		return nil, errors.New("the server's SCRAM nonce does not continue ours")
	}
	encoded, rest, _, err := attr(rest, 's')
	if err != nil {
		return nil, err
	}
	salt, err := decodeBase64(encoded)
	if err != nil || len(salt) == 0 {
		return nil, errors.New("the server's SCRAM salt is malformed")
	}
	count, _, _, err := attr(rest, 'i')
	if err != nil {
		return nil, err
	}
	iterations, err := parseIterations(count)
	if err != nil {
		return nil, fmt.Errorf("the server's SCRAM message: %w", err)
	}
	keys := c.keys
	if keys == nil {
		if iterations > maxClientIterations {
			return nil, fmt.Errorf("the server asks for %d SCRAM iterations", iterations)
		}
		if keys, err = deriveKeys(c.password, salt, iterations); err != nil {
			return nil, err
		}
		defer keys.Zero()
	}

	withoutProof := "c=biws,r=" + nonce
	authMessage := []byte(c.bare + "," + m + "," + withoutProof)
	var proof [keyLen]byte
	mac(&proof, keys.StoredKey[:], authMessage)
	subtle.XORBytes(proof[:], proof[:], keys.ClientKey[:])
	mac(&c.server, keys.ServerKey[:], authMessage)
	c.ready = true
	return []byte(withoutProof + ",p=" + base64.StdEncoding.EncodeToString(proof[:])), nil
}

// Verify takes the server-final-message and checks that the server knows the
// verifier too.
func (c *Client) Verify(msg []byte) error {
	m, err := text(msg)
	if err != nil {
		return err
	}
	if !c.ready {
		return errors.New("the server ended the SCRAM exchange too early")
	}
	if reason, ok := strings.CutPrefix(m, "e="); ok {
		return fmt.Errorf("the server ended the SCRAM exchange: %q", reason)
	}
	encoded, _, _, err := attr(m, 'v')
	if err != nil {
		return err
	}
	var got [keyLen]byte
	if !decodeKey(got[:], encoded) {
		return errors.New("the server's SCRAM signature is malformed")
	}
	if subtle.ConstantTimeCompare(got[:], c.server[:]) != 1 {
		return errors.New("the server's SCRAM signature is wrong: it does not know this user's verifier")
	}
	return nil
}
