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

const (
	maxWelcomes = 1024
	// welcomeAge is how long an entry is believed: ALTER ROLE … SET and
	// DROP DATABASE are noticed after that time.
	welcomeAge = 30 * time.Second
)

func (w *welcomes) init() { w.known = make(map[string]*welcomed) }

// welcome returns the parameters to report to a client.
func (s *Server) welcome(ctx context.Context, login *reactor.Login, settings []handshake.Param) ([]handshake.Param, error) {
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
		return s.askWelcome(login, asked)
	})
	if err != nil {
		return nil, err
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
			if e.err != nil || time.Since(e.at) > welcomeAge {
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

// askWelcome logs in to a server as the client and looks what it reports.
func (s *Server) askWelcome(login *reactor.Login, settings []handshake.Param) ([]handshake.Param, error) {
	cfg := s.cfg.Load()
	wait := 5 * time.Second // then a replica has to do
	if cfg.PrimaryWait > 30*time.Second {
		wait = cfg.PrimaryWait
	}
	ctx, cancel := context.WithTimeout(s.life, wait)
	defer cancel()
	var err error
	if s.router.WaitTopology(ctx, func(t *router.Topology) bool { return t.Primary != nil }) == nil {
		var params []handshake.Param
		if params, err = s.ask(login, s.router.Topology().Primary, settings); err == nil {
			return params, nil
		}
		if _, ok := fromServer(err).(*clientError); ok {
			return nil, fromServer(err)
		}
	}
	for _, n := range s.router.Topology().Nodes {
		if n.Role() != router.RoleReplica {
			continue
		}
		params, rerr := s.ask(login, n, settings)
		if rerr == nil {
			return params, nil
		}
		if err == nil {
			err = rerr
		}
	}
	if err == nil {
		_, _, rerr := s.router.Primary()
		detail := ""
		if e, ok := errors.AsType[*router.RouteError](rerr); ok {
			detail = e.Detail
		}
		return nil, &clientError{Code: sqlstate.CannotConnectNow, Message: "there is no primary now", Detail: detail,
			Hint: "Look at the log of pgroute or at its /readyz page."}
	}
	return nil, fromServer(err)
}

func (s *Server) ask(login *reactor.Login, n *router.Node, settings []handshake.Param) ([]handshake.Param, error) {
	if n == nil {
		return nil, &clientError{Code: sqlstate.CannotConnectNow, Message: "there is no primary now"}
	}
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
