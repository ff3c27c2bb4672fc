package soak_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// raw is a connection that speaks the protocol itself: what it sends leaves in
// pieces of any length, and what others send in turns it sends at once.
type raw struct {
	socket   net.Conn
	f        *pgproto3.Frontend
	rnd      *rand.Rand
	out      []byte
	pid      uint32
	key      []byte
	notified func(channel, payload string)
}

func openRaw(ctx context.Context, addr, user, database string, params map[string]string, rnd *rand.Rand, notified func(channel, payload string)) (_ conn, err error) {
	socket, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	r := &raw{socket: socket, f: pgproto3.NewFrontend(socket, socket), rnd: rnd, notified: notified}
	defer r.bound(ctx)()
	start := &pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersion30, Parameters: map[string]string{"user": user, "database": database}}
	for name, value := range params {
		start.Parameters[name] = value
	}
	r.add(start)
	if err = r.flush(); err == nil {
		_, err = r.answers()
	}
	if err != nil {
		socket.Close()
		return nil, err
	}
	return r, nil
}

// bound lets ctx end what waits for the socket, until the returned function is
// called.
func (r *raw) bound(ctx context.Context) func() {
	stop := context.AfterFunc(ctx, func() { r.socket.SetDeadline(time.Unix(1, 0)) })
	return func() { stop() }
}

func (r *raw) add(m pgproto3.FrontendMessage) {
	var err error
	if r.out, err = m.Encode(r.out); err != nil {
		panic(err) // only what is too long cannot be encoded
	}
}

// flush sends what was added, in pieces.
func (r *raw) flush() error {
	b := r.out
	r.out = r.out[:0]
	for len(b) > 0 {
		n := len(b)
		if r.rnd.IntN(3) == 0 {
			n = 1 + r.rnd.IntN(n)
		}
		if _, err := r.socket.Write(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// answers reads up to ReadyForQuery.
func (r *raw) answers() (a answer, err error) {
	for {
		m, failed := r.f.Receive()
		if failed != nil {
			return a, errors.Join(err, failed)
		}
		switch m := m.(type) {
		case *pgproto3.DataRow:
			a.rows = append(a.rows, texts(m.Values))
		case *pgproto3.CommandComplete:
			a.tag = string(m.CommandTag)
		case *pgproto3.ErrorResponse:
			err = errors.Join(err, pgconn.ErrorResponseToPgError(m))
		case *pgproto3.BackendKeyData:
			r.pid, r.key = m.ProcessID, m.SecretKey
		case *pgproto3.NotificationResponse:
			r.notified(m.Channel, m.Payload)
		case *pgproto3.CopyInResponse:
			return a, err
		case *pgproto3.ReadyForQuery:
			return a, err
		}
	}
}

func (r *raw) ask(ctx context.Context) (answer, error) {
	defer r.bound(ctx)()
	if err := r.flush(); err != nil {
		return answer{}, err
	}
	return r.answers()
}

func (r *raw) simple(ctx context.Context, sql string) (answer, error) {
	r.add(&pgproto3.Query{String: sql})
	return r.ask(ctx)
}

// run adds Bind and Execute. Sometimes the portal of a query is executed in
// parts; that of anything else may be executed once.
func (r *raw) run(name string, args []string, query bool) {
	r.add(&pgproto3.Bind{PreparedStatement: name, Parameters: values(args)})
	if r.rnd.IntN(2) == 0 {
		r.add(&pgproto3.Describe{ObjectType: 'P'})
	}
	if query && r.rnd.IntN(4) == 0 {
		r.add(&pgproto3.Execute{MaxRows: 1})
	}
	r.add(&pgproto3.Execute{})
	r.add(&pgproto3.Sync{})
}

func (r *raw) params(ctx context.Context, sql string, args ...string) (answer, error) {
	r.add(&pgproto3.Parse{Query: sql})
	r.run("", args, strings.HasPrefix(sql, "select"))
	return r.ask(ctx)
}

func (r *raw) prepare(ctx context.Context, name, sql string) error {
	r.add(&pgproto3.Parse{Name: name, Query: sql})
	if r.rnd.IntN(2) == 0 {
		r.add(&pgproto3.Describe{ObjectType: 'S', Name: name})
	}
	r.add(&pgproto3.Sync{})
	_, err := r.ask(ctx)
	return err
}

func (r *raw) execute(ctx context.Context, name string, args ...string) (answer, error) {
	r.run(name, args, true)
	return r.ask(ctx)
}

func (r *raw) forget(ctx context.Context, name string) error {
	r.add(&pgproto3.Close{ObjectType: 'S', Name: name})
	r.add(&pgproto3.Sync{})
	_, err := r.ask(ctx)
	return err
}

func (r *raw) copyIn(ctx context.Context, sql, data string) (answer, error) {
	if a, err := r.simple(ctx, sql); err != nil {
		return a, err
	}
	for len(data) > 0 {
		n := 1 + r.rnd.IntN(len(data))
		r.add(&pgproto3.CopyData{Data: []byte(data[:n])})
		data = data[n:]
	}
	r.add(&pgproto3.CopyDone{})
	return r.ask(ctx)
}

func (r *raw) copyOut(ctx context.Context, sql string) (string, error) {
	defer r.bound(ctx)()
	r.add(&pgproto3.Query{String: sql})
	if err := r.flush(); err != nil {
		return "", err
	}
	var out []byte
	var err error
	for {
		m, failed := r.f.Receive()
		if failed != nil {
			return "", errors.Join(err, failed)
		}
		switch m := m.(type) {
		case *pgproto3.CopyData:
			out = append(out, m.Data...)
		case *pgproto3.ErrorResponse:
			err = errors.Join(err, pgconn.ErrorResponseToPgError(m))
		case *pgproto3.NotificationResponse:
			r.notified(m.Channel, m.Payload)
		case *pgproto3.ReadyForQuery:
			return string(out), err
		}
	}
}

func (r *raw) cancel(ctx context.Context) error {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", r.socket.RemoteAddr().String())
	if err != nil {
		return err
	}
	defer c.Close()
	b := binary.BigEndian.AppendUint32(nil, uint32(12+len(r.key)))
	b = binary.BigEndian.AppendUint32(b, 80877102)
	b = binary.BigEndian.AppendUint32(b, r.pid)
	if _, err := c.Write(append(b, r.key...)); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })()
	_, err = c.Read(make([]byte, 1)) // until it is closed
	if err == nil {
		return errors.New("a cancel request was answered")
	}
	return ctx.Err()
}

func (r *raw) wait(ctx context.Context) error {
	defer r.bound(ctx)()
	m, err := r.f.Receive()
	if err != nil {
		return err
	}
	switch m := m.(type) {
	case *pgproto3.NotificationResponse:
		r.notified(m.Channel, m.Payload)
	case *pgproto3.ParameterStatus, *pgproto3.NoticeResponse:
	default:
		return fmt.Errorf("nobody asked for %T", m)
	}
	return nil
}

func (r *raw) half(context.Context) error {
	_, err := r.socket.Write([]byte("P\x00\x00\x00\x40s\x00insert into led"))
	return err
}

func (r *raw) drop() { r.socket.Close() }

func (r *raw) leave(context.Context) {
	r.add(&pgproto3.Terminate{})
	_ = r.flush()
	r.socket.Close()
}
