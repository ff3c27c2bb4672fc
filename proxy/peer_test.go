package proxy_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"time"

	"github.com/pgroute/pgroute/proxy/internal/wire"
)

// peer is a client that speaks raw messages.
type peer struct {
	conn   net.Conn
	params map[string]string
	pid    uint32
	secret []byte
}

// login opens a raw connection; the server must trust the user.
func login(addr, user, database string, params ...string) (*peer, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	p := &peer{conn: conn, params: map[string]string{}}
	b := []byte{0, 0, 0, 0, 0, 3, 0, 0}
	for _, s := range append([]string{"user", user, "database", database}, params...) {
		b = append(append(b, s...), 0)
	}
	b = append(b, 0)
	binary.BigEndian.PutUint32(b, uint32(len(b)))
	if _, err := conn.Write(b); err != nil {
		return nil, err
	}
	for {
		m, err := p.next()
		if err != nil {
			conn.Close()
			return nil, err
		}
		switch m.typ {
		case 'S':
			name, rest, _ := wire.CString(m.body)
			value, _, _ := wire.CString(rest)
			p.params[string(name)] = string(value)
		case 'K':
			p.pid, p.secret = binary.BigEndian.Uint32(m.body), m.body[4:]
		case 'E':
			conn.Close()
			return nil, fmt.Errorf("refused: %s", m)
		case 'Z':
			return p, nil
		}
	}
}

// message is one message of a server.
type message struct {
	typ  byte
	body []byte
}

// String is what two servers that behave alike say alike.
func (m message) String() string {
	if m.typ == 'E' || m.typ == 'N' {
		var b strings.Builder
		b.WriteByte(m.typ)
		for _, f := range []byte("VCMDHPstcdn") {
			if v := wire.Field(m.body, f); v != nil {
				fmt.Fprintf(&b, " %c=%s", f, v)
			}
		}
		return b.String()
	}
	return fmt.Sprintf("%c %q", m.typ, m.body)
}

// patience is how long a test waits for what is to happen, on a busy machine.
const patience = 2 * time.Minute

// next reads one message.
func (p *peer) next() (message, error) {
	p.conn.SetReadDeadline(time.Now().Add(patience))
	var h [5]byte
	if _, err := io.ReadFull(p.conn, h[:]); err != nil {
		return message{}, err
	}
	m := message{h[0], make([]byte, binary.BigEndian.Uint32(h[1:])-4)}
	_, err := io.ReadFull(p.conn, m.body)
	return m, err
}

// send sends messages, in pieces if rnd says so.
func (p *peer) send(b []byte, rnd *rand.Rand) error {
	for len(b) > 0 {
		n := len(b)
		if rnd != nil && rnd.IntN(4) == 0 {
			n = 1 + rnd.IntN(len(b))
		}
		if _, err := p.conn.Write(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// step is one request and what to do if the server asks for copy data.
type step struct {
	text  string // for humans
	bytes []byte
	ready int    // how many ReadyForQuery it brings
	copy  []byte // what to send as copy data
}

// play runs one step and returns the answer.
func (p *peer) play(s step, rnd *rand.Rand) ([]string, error) {
	if err := p.send(s.bytes, rnd); err != nil {
		return nil, err
	}
	var out []string
	for n := 0; n < s.ready; {
		m, err := p.next()
		if err != nil {
			return out, err
		}
		out = append(out, m.String())
		switch m.typ {
		case 'Z':
			n++
		case 'G':
			if err := p.send(s.copy, rnd); err != nil {
				return out, err
			}
		}
	}
	return out, nil
}

// frame makes one message.
func frame(typ byte, body string) []byte {
	b := append([]byte{typ, 0, 0, 0, 0}, body...)
	wire.Lengthen(b, len(b)-1)
	return b
}
