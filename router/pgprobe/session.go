package pgprobe

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgroute/pgroute/router"
)

// errClosed is the error of Verifier and Query after Close.
var errClosed = errors.New("prober is closed")

// sessionKey is what one session serves. The name of a node is no part of it:
// a node that moved is another server.
type sessionKey struct {
	host     string
	port     int
	database string
}

// session is at most one connection to one database of one server. Callers
// take turns, so that a crowd of logins does not become a crowd of monitor
// connections.
type session struct {
	// turn holds one token; whoever has it owns conn and verifier.
	turn chan struct{}
	conn *pgconn.PgConn
	// verifier is the statement that looks verifiers up, "" as long as none
	// is known to work on conn.
	verifier string

	// users counts callers that have or wait for the turn, guarded by
	// sessions.mu. idle fires when there was none for a while.
	users int
	idle  *time.Timer
}

// sessions keeps the sessions in use and those that were recently. Its zero
// value is ready.
type sessions struct {
	mu     sync.Mutex // guards the fields below
	open   map[sessionKey]*session
	closed bool
}

// enter returns the session for key with its turn taken.
func (ss *sessions) enter(ctx context.Context, key sessionKey) (*session, error) {
	ss.mu.Lock()
	if ss.closed {
		ss.mu.Unlock()
		return nil, errClosed
	}
	s := ss.open[key]
	if s == nil {
		s = &session{turn: make(chan struct{}, 1)}
		if ss.open == nil {
			ss.open = make(map[sessionKey]*session)
		}
		ss.open[key] = s
	}
	s.users++
	if s.idle != nil {
		s.idle.Stop()
		s.idle = nil
	}
	ss.mu.Unlock()

	select {
	case s.turn <- struct{}{}:
		return s, nil
	case <-ctx.Done():
		ss.leave(key, s, 0)
		return nil, context.Cause(ctx)
	}
}

// exit gives the turn back. The connection stays open for idle.
func (ss *sessions) exit(key sessionKey, s *session, idle time.Duration) {
	if s.conn != nil && s.conn.IsClosed() {
		s.drop()
	}
	<-s.turn
	ss.leave(key, s, idle)
}

// leave takes a caller off the session. The last one sets the timer that ends
// it; after close it ends at once.
func (ss *sessions) leave(key sessionKey, s *session, idle time.Duration) {
	ss.mu.Lock()
	s.users--
	ended := s.users == 0 && ss.closed
	if s.users == 0 && !ss.closed {
		s.idle = time.AfterFunc(max(idle, time.Millisecond), func() { ss.expire(key, s) })
	}
	ss.mu.Unlock()
	if ended {
		s.drop()
	}
}

// expire ends a session that nobody used for a while.
func (ss *sessions) expire(key sessionKey, s *session) {
	ss.mu.Lock()
	if s.users > 0 || ss.open[key] != s {
		// Somebody came while the timer fired.
		ss.mu.Unlock()
		return
	}
	delete(ss.open, key)
	ss.mu.Unlock()
	s.drop()
}

// close ends the idle sessions and makes the others end after their users.
func (ss *sessions) close() {
	ss.mu.Lock()
	var idle []*session
	for _, s := range ss.open {
		if s.idle != nil {
			s.idle.Stop()
		}
		if s.users == 0 {
			idle = append(idle, s)
		}
	}
	ss.open, ss.closed = nil, true
	ss.mu.Unlock()
	for _, s := range idle {
		s.drop()
	}
}

// drop closes the connection. The caller has the turn, or is the last.
func (s *session) drop() {
	if s.conn == nil {
		return
	}
	if s.conn.IsClosed() {
		_ = s.conn.Conn().Close()
	} else {
		_ = hangUp(s.conn.Conn())
	}
	s.conn, s.verifier = nil, ""
}

// use runs do on the session for database at addr, and once more on a new
// connection if the kept one turned out to be broken. do must be harmless to
// repeat.
func (p *Prober) use(ctx context.Context, addr router.Addr, database string, do func(context.Context, *session) error) error {
	ctx, cancel := bound(ctx, p.cfg.CallTimeout)
	defer cancel()

	key := sessionKey{host: addr.Host, port: addr.Port, database: database}
	s, err := p.sessions.enter(ctx, key)
	if err != nil {
		return err
	}
	defer p.sessions.exit(key, s, p.cfg.SessionIdle)

	for {
		kept := s.conn != nil
		if !kept {
			if s.conn, err = p.dial(ctx, addr, database, true); err != nil {
				return err
			}
		}
		err = do(ctx, s)
		if err == nil || s.conn == nil || !s.conn.IsClosed() {
			return err
		}
		s.drop()
		if !kept || ctx.Err() != nil {
			return err
		}
	}
}

// Query runs sql by the simple protocol on a monitor connection to database on
// the server at addr and returns the rows of all its statements as text; nil
// stands for NULL. It is meant for reading the catalogue: the connection is
// read-only, its search_path is pg_catalog, and sql may be run twice when a
// connection breaks.
//
// One connection for each server and database is opened when it is first
// needed, serves its callers one after the other, and is closed when it was
// not used for Config.SessionIdle. An error of the server wraps a
// *pgconn.PgError. The rows belong to the caller.
func (p *Prober) Query(ctx context.Context, addr router.Addr, database, sql string) ([][]*string, error) {
	var rows [][]*string
	err := p.use(ctx, addr, database, func(ctx context.Context, s *session) error {
		results, err := s.conn.Exec(ctx, sql).ReadAll()
		if err != nil {
			return err
		}
		if status := s.conn.TxStatus(); status != 'I' {
			// A later caller would sit in this one's transaction.
			s.drop()
			return fmt.Errorf("the statements left a transaction open (state %q)", status)
		}
		rows = nil
		for _, r := range results {
			for _, values := range r.Rows {
				rows = append(rows, textRow(values))
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("query database %q on %s: %w", database, addr.Name, err)
	}
	return rows, nil
}
