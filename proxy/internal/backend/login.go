package backend

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgroute/pgroute/proxy/internal/auth"
	"github.com/pgroute/pgroute/proxy/internal/handshake"
)

const (
	// maxMessage bounds one message of a server that is being dialled.
	maxMessage = 64 << 10
	// maxMessages bounds how many of them there may be.
	maxMessages = 1000
)

// A login is a conversation that has not reached ReadyForQuery.
type login struct {
	conn  net.Conn
	cred  Credentials
	hello *Hello
	scram *auth.Client
	// proven is false while a SCRAM exchange is under way, in which the
	// server has not shown yet that it knows the verifier.
	proven bool
}

func (l *login) run(packet []byte) error {
	if _, err := l.conn.Write(packet); err != nil {
		return fmt.Errorf("send the startup packet: %w", err)
	}
	l.proven = true
	welcome := false // after AuthenticationOk
	buf := make([]byte, 512)
	for range maxMessages {
		typ, body, err := handshake.ReadMessage(l.conn, buf, maxMessage)
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("read the server's answer: %w", err)
		}
		switch {
		case typ == 'E':
			return serverError(body)
		case typ == 'N':
		case typ == 'R' && !welcome:
			welcome, err = l.authenticate(body)
		case typ == 'v' && !welcome: // nothing newer was asked for
		case typ == 'S' && welcome:
			err = l.parameter(body)
		case typ == 'K' && welcome:
			err = l.key(body)
		case typ == 'Z' && welcome:
			if len(body) != 1 || body[0] != 'I' {
				return fmt.Errorf("the server is ready in state %q", body)
			}
			return nil
		default:
			return fmt.Errorf("unexpected message %q during the login", typ)
		}
		if err != nil {
			return err
		}
	}
	return errors.New("the server does not come to an end with its parameters")
}

// authenticate answers one authentication request; done means that the server
// is satisfied.
func (l *login) authenticate(body []byte) (done bool, err error) {
	if len(body) < 4 {
		return false, errors.New("malformed authentication request")
	}
	switch kind := binary.BigEndian.Uint32(body); kind {
	case pgproto3.AuthTypeOk:
		if !l.proven {
			return false, errors.New("the server ended the SCRAM exchange without proving that it knows the verifier")
		}
		return true, nil
	case pgproto3.AuthTypeSASL:
		return false, l.begin(body)
	case pgproto3.AuthTypeSASLContinue:
		if l.scram == nil {
			return false, errors.New("a SASL challenge before the exchange began")
		}
		final, err := l.scram.Final(body[4:])
		if err != nil {
			return false, err
		}
		return false, l.send(&pgproto3.SASLResponse{Data: final})
	case pgproto3.AuthTypeSASLFinal:
		if l.scram == nil {
			return false, errors.New("a SASL outcome before the exchange began")
		}
		if err := l.scram.Verify(body[4:]); err != nil {
			return false, err
		}
		l.proven = true
		return false, nil
	case pgproto3.AuthTypeCleartextPassword:
		return false, errors.New("the server asks for the password itself, which is not known: its pg_hba.conf must say scram-sha-256")
	case pgproto3.AuthTypeMD5Password:
		return false, errors.New("the server asks for MD5 authentication, which is impossible with SCRAM keys: its pg_hba.conf must say scram-sha-256 and the role needs a SCRAM verifier")
	default:
		return false, fmt.Errorf("the server asks for authentication method %d, which is not supported", kind)
	}
}

// begin starts the SCRAM exchange.
func (l *login) begin(body []byte) error {
	if l.scram != nil {
		return errors.New("the server began a second SASL exchange")
	}
	var request pgproto3.AuthenticationSASL
	if err := request.Decode(body); err != nil {
		return fmt.Errorf("malformed SASL request: %w", err)
	}
	switch {
	case !slices.Contains(request.AuthMechanisms, auth.Mechanism):
		return fmt.Errorf("the server offers SASL mechanisms %q, not %s", request.AuthMechanisms, auth.Mechanism)
	case l.cred.Keys != nil:
		l.scram = auth.NewClient(l.cred.Keys)
	case l.cred.Password != "":
		l.scram = auth.NewPasswordClient(l.cred.Password)
	default:
		return fmt.Errorf("the server wants a proof from user %q, and there are no keys: it does not trust us", l.cred.User)
	}
	l.proven = false
	return l.send(&pgproto3.SASLInitialResponse{AuthMechanism: auth.Mechanism, Data: l.scram.First()})
}

func (l *login) send(msg pgproto3.FrontendMessage) error {
	b, err := msg.Encode(nil)
	if err != nil {
		return fmt.Errorf("encode %T: %w", msg, err)
	}
	if _, err = l.conn.Write(b); err != nil {
		return fmt.Errorf("send a SASL response: %w", err)
	}
	return nil
}

func (l *login) parameter(body []byte) error {
	var p pgproto3.ParameterStatus
	if err := p.Decode(body); err != nil {
		return fmt.Errorf("malformed ParameterStatus: %w", err)
	}
	l.hello.Params = append(l.hello.Params, handshake.Param{Name: p.Name, Value: p.Value})
	return nil
}

func (l *login) key(body []byte) error {
	if len(body) < 8 || len(body) > 4+256 {
		return fmt.Errorf("malformed BackendKeyData of %d bytes", len(body))
	}
	l.hello.PID = binary.BigEndian.Uint32(body)
	l.hello.Secret = append([]byte(nil), body[4:]...)
	return nil
}

// serverError keeps what an ErrorResponse says.
func serverError(body []byte) error {
	e := &ServerError{ErrorResponse: new(pgproto3.ErrorResponse)}
	if err := e.Decode(body); err != nil {
		return fmt.Errorf("malformed ErrorResponse: %w", err)
	}
	return e
}
