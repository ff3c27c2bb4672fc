package reactor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pgroute/pgroute/internal/sqlstate"
	"github.com/pgroute/pgroute/proxy/internal/backend"
	"github.com/pgroute/pgroute/proxy/internal/client"
	"github.com/pgroute/pgroute/proxy/internal/handshake"
	"github.com/pgroute/pgroute/proxy/internal/settings"
	"github.com/pgroute/pgroute/proxy/internal/wire"
	"github.com/pgroute/pgroute/router"
)

// dialSlow is after what time the router is asked to look what is wrong: long
// before a dial is given up. If the server turns out to hang, those who wait
// for the dial go elsewhere.
const dialSlow = time.Second

// errElsewhere is a server that is not what the topology took it for.
type errElsewhere struct{ msg string }

func (e errElsewhere) Error() string { return e.msg }

// dial opens a connection for p on a cold goroutine, which posts the outcome.
// The goroutine ends by itself within DialTimeout.
func (l *Loop) dial(p *pool) {
	t, node := p.tenant.login, p.node
	era := l.cfg.Router.Topology().Era()
	l.group.cold.Add(1)
	go l.dialOnce(p, t, node, era)
}

func (l *Loop) dialOnce(p *pool, login *Login, node *router.Node, era uint64) {
	defer l.group.cold.Done()
	l.group.dials <- struct{}{}
	defer func() { <-l.group.dials }()
	ctx, cancel := context.WithTimeoutCause(l.group.ctx, l.cfg.DialTimeout, errors.New("the server did not answer in time"))
	defer cancel()
	m := mail{kind: mailDialled, pool: p, node: node, era: era}
	// Ends by itself at once.
	doubt := time.AfterFunc(dialSlow, node.Doubt)
	defer doubt.Stop()
	m.hello, m.asked, m.err = Dial(ctx, login, node)
	node.Report(reportable(m.err))
	l.post(m)
}

// reportable is the part of a dial's outcome that tells something about the
// node: that it refuses one user, or has enough of one, says nothing about the
// others.
func reportable(err error) error {
	var se *backend.ServerError
	if errors.As(err, &se) && (!se.Elsewhere(false) || se.Crowded()) {
		return nil
	}
	return err
}

// Dial opens a connection to node for login and lets the server prove what it
// is (I6). asked is the node's Asked after the server had accepted the
// connection.
func Dial(ctx context.Context, login *Login, node *router.Node) (h *backend.Hello, asked uint64, err error) {
	var params []handshake.Param
	replica := node.Role() != router.RolePrimary
	if replica {
		// A replica that was promoted refuses what was misjudged (I6).
		params = append(params, handshake.Param{Name: "default_transaction_read_only", Value: "on"})
	}
	h, err = backend.Dial(ctx, login.target(node),
		backend.Credentials{User: login.User, Keys: login.Keys}, login.DatabaseName, params)
	if err != nil {
		return nil, 0, err
	}
	asked = node.Asked()
	if err = backend.Identify(ctx, h); err == nil {
		switch {
		case h.SystemID != node.SystemID():
			err = errElsewhere{fmt.Sprintf("the server at %s belongs to another cluster", node.Name)}
		case h.PostmasterStart != node.PostmasterStart():
			err = errElsewhere{fmt.Sprintf("the server at %s was restarted just now", node.Name)}
		case h.InRecovery != replica:
			err = errElsewhere{fmt.Sprintf("the server at %s has changed its role", node.Name)}
		}
	}
	if err == nil && !replica {
		err = backend.MayCapture(ctx, h)
	}
	if err != nil {
		h.Conn.Close()
		return nil, 0, err
	}
	return h, asked, nil
}

// target is where and how a node is spoken to.
func (login *Login) target(node *router.Node) backend.Target {
	return backend.Target{Host: node.Host, Port: node.Port, Security: login.Security}
}

// Reported logs in to node with settings in the startup packet, asks what the
// server reports about the session, and leaves.
func Reported(ctx context.Context, login *Login, node *router.Node, settings []handshake.Param) ([]handshake.Param, error) {
	h, err := backend.Dial(ctx, login.target(node),
		backend.Credentials{User: login.User, Keys: login.Keys}, login.DatabaseName, settings)
	if err != nil {
		return nil, err
	}
	// What no server reports by itself, and what BEGIN depends on.
	if v, err := backend.Show(ctx, h, client.DefaultIsolation); err == nil {
		h.Params = append(h.Params, handshake.Param{Name: client.DefaultIsolation, Value: v})
	}
	h.Conn.Write(wire.AppendTerminate(nil))
	h.Conn.Close()
	return h.Params, nil
}

// StartupValue turns the value of a startup packet's setting into what a
// settings.Set holds. It differs from SET: a list is one string.
func StartupValue(v string) string { return settings.Startup(v) }

// judge turns the error of a dial into what the client is told. elsewhere:
// another node may do. retry: the same node may do a moment later.
func judge(err error) (r *wire.Report, elsewhere, retry bool) {
	var se *backend.ServerError
	if errors.As(err, &se) {
		return &wire.Report{Severity: "ERROR", Code: se.Code, Message: se.Message, Detail: se.Detail, Hint: se.Hint},
			se.Elsewhere(true), se.Elsewhere(false)
	}
	if te, ok := errors.AsType[*backend.SecurityError](err); ok {
		return &wire.Report{Severity: "ERROR", Code: te.SQLState(),
			Message: "cannot connect to the server as server_sslmode wants it", Detail: err.Error()}, true, false
	}
	return &wire.Report{Severity: "ERROR", Code: sqlstate.ConnectionFailure,
		Message: "cannot connect to the server", Detail: err.Error()}, true, true
}

// enroll makes a backend of this loop from a connection.
func (l *Loop) enroll(s *server, m *mail) error {
	h := m.hello
	network := h.Conn.RemoteAddr().Network()
	x, err := Detach(h.Conn)
	if err != nil {
		return err
	}
	s.fd, s.tls = x.fd, x.tls
	s.bounded = network == "tcp"
	s.Node = m.node
	s.Primary = !h.InRecovery
	s.Era = m.era
	s.Captures = h.Captures
	s.Dialed, s.Own = m.asked, h.Replay
	s.Settings = l.env.Settings.Empty()
	s.Tx = 'I'
	s.PID, s.Secret = h.PID, h.Secret
	s.mask = evIn
	if err := l.poll.add(x.fd, s.mask); err != nil {
		x.Close()
		return err
	}
	l.setSlot(x.fd, slot{b: s})
	return nil
}
