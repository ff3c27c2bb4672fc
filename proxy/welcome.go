package proxy

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/pgroute/pgroute/internal/sqlstate"
	"github.com/pgroute/pgroute/proxy/internal/handshake"
	"github.com/pgroute/pgroute/proxy/internal/reactor"
	"github.com/pgroute/pgroute/router"
)

// welcomes remembers what a server reports to a user of a database with some
// settings. A client is told it at its login, and what a server would refuse
// (an unknown database, a bad setting) is refused then.
type welcomes struct {
	mu    sync.Mutex // guards the fields below
	known map[string]*welcomed
}

// welcomed is one entry; done is closed once params or err is there.
type welcomed struct {
	done   chan struct{}
	at     time.Time
	params []handshake.Param
	err    error
}

// old reports whether e, which is done, has to be asked for again.
func (e *welcomed) old() bool {
	age := time.Since(e.at)
	absent, ok := errors.AsType[*absentError](e.err)
	if !ok {
		return e.err != nil || age > welcomeAge
	}
	select {
	case <-absent.topology.Changed():
		return true
	default:
		return age > askAgain // of many who wait one asks for all
	}
}

const (
	maxWelcomes = 1024
	// welcomeAge is how long an entry is believed: ALTER ROLE … SET and
	// DROP DATABASE are noticed after that time.
	welcomeAge = 30 * time.Second
)

func (w *welcomes) init() { w.known = make(map[string]*welcomed) }

// welcome returns the parameters to report to a client. While no server can be
// asked it waits as long as a statement would.
func (s *Server) welcome(ctx context.Context, login *reactor.Login, settings []handshake.Param, wait patience) ([]handshake.Param, error) {
	var key strings.Builder
	key.WriteString(login.User + "\x00" + login.DatabaseName + "\x00")
	application := ""
	var asked []handshake.Param
	for _, p := range settings {
		if p.Name == "application_name" {
			application = p.Value
			continue
		}
		asked = append(asked, p)
		key.WriteString(p.Name + "\x00" + p.Value + "\x00")
	}
	if login.Keys != nil {
		key.Write(login.Keys.ClientKey[:]) // a changed password asks again
	}
	params, err := s.welcomes.get(ctx, key.String(), func() ([]handshake.Param, error) {
		s.preferPrimary(ctx)
		return s.askWelcome(login, asked)
	})
	for err != nil {
		absent, ok := errors.AsType[*absentError](err)
		if ctx.Err() != nil || ok && !wait.again(ctx, absent.topology) {
			return nil, s.nobody(ctx, absent)
		}
		if !ok {
			return nil, err
		}
		params, err = s.welcomes.get(ctx, key.String(), func() ([]handshake.Param, error) { return s.askWelcome(login, asked) })
	}
	db := login.Database.(*database)
	s.watchDatabase(db)
	db.wait(ctx)
	out := make([]handshake.Param, len(params), len(params)+1)
	copy(out, params)
	for i := range out {
		if out[i].Name == "application_name" {
			out[i].Value = application
		}
	}
	return out, nil
}

// get returns the entry of key, or has it made by one goroutine for all.
func (w *welcomes) get(ctx context.Context, key string, ask func() ([]handshake.Param, error)) ([]handshake.Param, error) {
	w.mu.Lock()
	e := w.known[key]
	mine := false
	if e != nil {
		select {
		case <-e.done:
			if e.old() {
				e = nil
			}
		default:
		}
	}
	if e == nil {
		e = &welcomed{done: make(chan struct{})}
		mine = true
		if len(w.known) >= maxWelcomes {
			for k := range w.known {
				delete(w.known, k)
				break
			}
		}
		w.known[key] = e
	}
	w.mu.Unlock()
	if mine {
		e.params, e.err = ask()
		e.at = time.Now()
		close(e.done)
	}
	select {
	case <-e.done:
		return e.params, e.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// absentError is that no server could be asked. A moment later one may be there.
type absentError struct {
	topology *router.Topology // in which nobody could be
	err      error            // why, nil if there was nobody to ask
}

func (e *absentError) Error() string {
	if e.err == nil {
		return "there is no primary now"
	}
	return e.err.Error()
}

func (e *absentError) Unwrap() error { return e.err }

// nobody is what a client is told that has waited in vain.
func (s *Server) nobody(ctx context.Context, e *absentError) error {
	switch {
	case ctx.Err() != nil:
		return &clientError{Code: sqlstate.AdminShutdown, Message: "terminating connection due to administrator command", Hint: "pgroute is shutting down."}
	case e.err != nil:
		return fromServer(e.err)
	}
	_, _, err := s.router.Primary()
	detail := ""
	if e, ok := errors.AsType[*router.RouteError](err); ok {
		detail = e.Detail
	}
	return &clientError{Code: sqlstate.CannotConnectNow, Message: "there is no primary now", Detail: detail,
		Hint: "Look at the log of pgroute or at its /readyz page."}
}

// askWelcome logs in to a server as the client and looks what it reports: to the
// primary, else to a deputy. What a replica refuses is believed only while there
// is no primary: it may not have replayed yet what the refusal is about.
func (s *Server) askWelcome(login *reactor.Login, settings []handshake.Param) ([]handshake.Param, error) {
	t := s.router.Topology()
	var failed error
	if t.Primary != nil {
		params, err := s.ask(login, t.Primary, settings)
		if err == nil || refused(err) {
			return params, fromServer(err)
		}
		failed = err
	}
	for _, n := range deputies(t) {
		params, err := s.ask(login, n, settings)
		if err == nil {
			return params, nil
		}
		if failed == nil || t.Primary == nil && refused(err) && !refused(failed) {
			failed = err
		}
	}
	if t.Primary == nil && refused(failed) {
		return nil, fromServer(failed)
	}
	return nil, &absentError{t, failed}
}

// deputies are whom a login asks without a primary. They know what it knows, but
// for the latest changes: the replicas of this cluster, and the last primary
// while nobody is known to have followed it.
func deputies(t *router.Topology) (list []*router.Node) {
	for _, n := range t.Nodes {
		if n.Role() == router.RoleReplica && (t.SystemID() == 0 || n.SystemID() == t.SystemID()) {
			list = append(list, n)
		}
	}
	if n := t.LastGood(); n != nil && n != t.Primary {
		list = append(list, n)
	}
	return list
}

// refused reports whether err is what a server has to say of the client, not
// of itself: that it starts, or stops, is nothing to be told a client that can
// wait.
func refused(err error) bool {
	e, ok := errors.AsType[*clientError](fromServer(err))
	return ok && e.Code != sqlstate.CannotConnectNow && e.Code != sqlstate.AdminShutdown && e.Code != sqlstate.CrashShutdown
}

func (s *Server) ask(login *reactor.Login, n *router.Node, settings []handshake.Param) ([]handshake.Param, error) {
	ctx, cancel := context.WithTimeout(s.life, 10*time.Second)
	defer cancel()
	params, err := reactor.Reported(ctx, login, n, settings)
	if err != nil {
		return nil, err
	}
	for i := range params {
		// Clients always believe that they talk to a primary.
		switch params[i].Name {
		case "in_hot_standby":
			params[i].Value = "off"
		}
	}
	return params, nil
}
