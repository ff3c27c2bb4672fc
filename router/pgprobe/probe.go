package pgprobe

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgroute/pgroute/lsn"
	"github.com/pgroute/pgroute/router"
)

// errDead is the error of every call on a probe that has failed or was closed.
var errDead = errors.New("monitor connection is dead")

// maxMessage bounds what the server may make us read at once. The longest
// answer is a timeline history.
const maxMessage = 1 << 20

// A probe can do all that a router asks for.
var _ interface {
	router.Probe
	router.Witness
	router.CommitWitness
	router.OutcomeProbe
	router.Parker
	router.Napper
} = (*probe)(nil)

// probe is one monitor connection, taken over from pgconn after the login so
// that the hot calls are a write and a read of bytes and nothing else.
type probe struct {
	conn     net.Conn
	frontend *pgproto3.Frontend
	cfg      *Config
	addr     router.Addr
	history  history

	// life is what Identify remembers of the server, nothing as long as its
	// Incarnation is 0. A connection does not outlive any of it, but for the
	// role, which is proven each time.
	life router.Status
	// What Identify asks in each role.
	primary, standby statement

	// The pipelined FunctionCalls of Replay, Insert and Identify, encoded once.
	replayCall, insertCall, roleCall []byte
	// parkCall is the buffer of Park, askCall that of ask.
	parkCall, askCall []byte

	mu     sync.Mutex // guards the fields below
	dead   bool
	closed bool
	// busy is true while a call is on the wire. A context that ends while it
	// is not must leave the connection alone.
	busy bool
	// watched is the Done channel of the context that abort was last
	// registered for, and unwatch takes the registration back. Monitors call
	// again and again under one context, so that it is made once.
	watched <-chan struct{}
	unwatch func() bool
}

// newProbe takes conn over. The caller closes conn when it fails.
func newProbe(ctx context.Context, conn *pgconn.PgConn, addr router.Addr, cfg *Config) (*probe, error) {
	o, err := lookUpOIDs(ctx, conn)
	if err != nil {
		return nil, err
	}
	p := &probe{cfg: cfg, addr: addr,
		primary: statement{name: "primary", sql: primarySQL}, standby: statement{name: "standby", sql: standbySQL}}
	if p.replayCall, err = encodeCalls(o.replay, o.inRecovery); err != nil {
		return nil, err
	}
	if p.insertCall, err = encodeCalls(o.insert, o.flush); err != nil {
		return nil, err
	}
	if p.roleCall, err = encodeCalls(o.inRecovery); err != nil {
		return nil, err
	}
	taken, err := conn.Hijack()
	if err != nil {
		return nil, fmt.Errorf("take the connection over: %w", err)
	}
	p.conn, p.frontend = taken.Conn, taken.Frontend
	p.frontend.SetMaxBodyLen(maxMessage)
	return p, nil
}

// encodeCalls encodes one FunctionCall without arguments for each function,
// asking for a binary result. They need no Sync: each is answered with its own
// ReadyForQuery.
func encodeCalls(functions ...uint32) ([]byte, error) {
	var buf []byte
	for _, f := range functions {
		var err error
		if buf, err = (&pgproto3.FunctionCall{Function: f, ResultFormatCode: 1}).Encode(buf); err != nil {
			return nil, fmt.Errorf("encode a function call: %w", err)
		}
	}
	return buf, nil
}

// Replay implements router.Probe.
func (p *probe) Replay(ctx context.Context) (router.Reading, error) {
	if err := p.begin(ctx); err != nil {
		return router.Reading{}, p.fail(ctx, "replay position", err)
	}
	r, err := p.replay()
	if err != nil {
		return router.Reading{}, p.fail(ctx, "replay position", err)
	}
	p.end()
	return r, nil
}

func (p *probe) replay() (router.Reading, error) {
	if _, err := p.conn.Write(p.replayCall); err != nil {
		return router.Reading{}, err
	}
	return p.replayed()
}

// replayed reads the answer to replayCall.
func (p *probe) replayed() (router.Reading, error) {
	var r router.Reading
	result, err := p.result(8)
	if err != nil {
		return r, err
	}
	if result != nil { // NULL: this server never replayed anything.
		r.Replay = lsn.LSN(binary.BigEndian.Uint64(result))
	}
	if err := p.ready(); err != nil {
		return r, err
	}
	// The server answers in order: had it been promoted before the position
	// was read, this would say so.
	if result, err = p.result(1); err != nil {
		return r, err
	}
	if result == nil {
		return r, errors.New("pg_is_in_recovery is NULL")
	}
	r.InRecovery = result[0] != 0
	return r, p.ready()
}

// Insert implements router.Probe.
func (p *probe) Insert(ctx context.Context) (insert, flush lsn.LSN, err error) {
	if err := p.begin(ctx); err != nil {
		return 0, 0, p.fail(ctx, "insert position", err)
	}
	if insert, flush, err = p.insert(); err != nil {
		return 0, 0, p.fail(ctx, "insert position", err)
	}
	p.end()
	return insert, flush, nil
}

func (p *probe) insert() (insert, flush lsn.LSN, err error) {
	if _, err := p.conn.Write(p.insertCall); err != nil {
		return 0, 0, err
	}
	for _, dst := range [...]*lsn.LSN{&insert, &flush} {
		result, err := p.result(8)
		if err != nil {
			return 0, 0, err
		}
		if result == nil {
			return 0, 0, errors.New("a position of the primary is NULL")
		}
		*dst = lsn.LSN(binary.BigEndian.Uint64(result))
		if err := p.ready(); err != nil {
			return 0, 0, err
		}
	}
	return insert, flush, nil
}

// result reads up to a FunctionCallResponse with size bytes and returns them,
// nil for NULL. They are valid until the next message is read.
func (p *probe) result(size int) ([]byte, error) {
	for {
		msg, err := p.frontend.Receive()
		if err != nil {
			return nil, err
		}
		switch msg := msg.(type) {
		case *pgproto3.FunctionCallResponse:
			if msg.Result != nil && len(msg.Result) != size {
				return nil, fmt.Errorf("function result of %d bytes instead of %d", len(msg.Result), size)
			}
			return msg.Result, nil
		case *pgproto3.ErrorResponse:
			return nil, pgconn.ErrorResponseToPgError(msg)
		case *pgproto3.NoticeResponse, *pgproto3.ParameterStatus, *pgproto3.NotificationResponse:
			// May come at any time and mean nothing to a monitor.
		default:
			return nil, fmt.Errorf("unexpected %T in the answer to a function call", msg)
		}
	}
}

// ready reads up to ReadyForQuery.
func (p *probe) ready() error {
	for {
		msg, err := p.frontend.Receive()
		if err != nil {
			return err
		}
		switch msg := msg.(type) {
		case *pgproto3.ReadyForQuery:
			if msg.TxStatus != 'I' {
				return fmt.Errorf("monitor connection is in transaction state %q", msg.TxStatus)
			}
			return nil
		case *pgproto3.ErrorResponse:
			return pgconn.ErrorResponseToPgError(msg)
		case *pgproto3.NoticeResponse, *pgproto3.ParameterStatus, *pgproto3.NotificationResponse:
		default:
			return fmt.Errorf("unexpected %T before ReadyForQuery", msg)
		}
	}
}

// Nudge implements router.Probe. A transactional message gets a transaction
// id, so its commit flushes the WAL before it, as far as synchronous_commit
// (local, from the startup packet) asks for it.
func (p *probe) Nudge(ctx context.Context) error {
	if err := p.begin(ctx); err != nil {
		return p.fail(ctx, "nudge", err)
	}
	if _, err := p.query(nudgeSQL); err != nil {
		return p.fail(ctx, "nudge", err)
	}
	p.end()
	return nil
}

const nudgeSQL = `SELECT pg_catalog.pg_logical_emit_message(true, 'pgroute', '')`

// Close implements router.Probe. Unlike the other methods it may be called at
// any time, also while a call is running: that call fails.
func (p *probe) Close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	polite := !p.dead && !p.busy
	p.closed, p.dead = true, true
	p.unwatchLocked()
	p.mu.Unlock()

	if polite {
		return hangUp(p.conn)
	}
	return p.conn.Close()
}

// begin opens a call: it sets the deadline on the socket and arms the
// cancellation by ctx.
func (p *probe) begin(ctx context.Context) error { return p.beginWithin(ctx, p.cfg.CallTimeout) }

// beginWithin is begin for a call with a time of its own.
func (p *probe) beginWithin(ctx context.Context, timeout time.Duration) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(timeout)
	}
	done := ctx.Done()

	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead {
		return errDead
	}
	if err := p.conn.SetDeadline(deadline); err != nil {
		return err
	}
	p.busy = true
	if done != p.watched {
		p.unwatchLocked()
		if done != nil {
			p.watched = done
			p.unwatch = context.AfterFunc(ctx, func() { p.abort(done) })
		}
	}
	return nil
}

// end closes a call that succeeded.
func (p *probe) end() {
	p.mu.Lock()
	p.busy = false
	p.mu.Unlock()
}

// abort runs when the watched context ends. It interrupts the call on the
// wire, if that is a call of this context.
func (p *probe) abort(done <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.busy && p.watched == done {
		_ = p.conn.SetDeadline(time.Unix(1, 0))
	}
}

func (p *probe) unwatchLocked() {
	if p.unwatch != nil {
		p.unwatch()
	}
	p.watched, p.unwatch = nil, nil
}

// fail kills the probe and says what was being asked of whom. When the context
// ended, its cause is the error: the socket only says timeout.
func (p *probe) fail(ctx context.Context, what string, err error) error {
	p.mu.Lock()
	p.busy, p.dead = false, true
	p.unwatchLocked()
	p.mu.Unlock()

	switch {
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case errors.Is(err, os.ErrDeadlineExceeded):
		// The socket's clock was a moment faster than the context's.
		err = context.DeadlineExceeded
	}
	return fmt.Errorf("ask %s for its %s: %w", p.addr.Name, what, err)
}
