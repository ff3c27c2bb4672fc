package proxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgroute/pgroute/internal/sqlstate"
	"github.com/pgroute/pgroute/proxy/internal/auth"
	"github.com/pgroute/pgroute/proxy/internal/backend"
	"github.com/pgroute/pgroute/proxy/internal/client"
	"github.com/pgroute/pgroute/proxy/internal/handshake"
	"github.com/pgroute/pgroute/proxy/internal/reactor"
	"github.com/pgroute/pgroute/router"
)

// Server is a proxy. New makes one, Run serves, once. Its other methods may be
// called from any goroutine but for what they say.
type Server struct {
	cfg    atomic.Pointer[Config]
	router *router.Router
	group  *reactor.Group

	handshake handshake.Config
	door      atomic.Pointer[frontDoor]
	security  *backend.Security
	verifiers *auth.Cache
	welcomes  welcomes
	databases databases
	streams   streams
	guests    guests

	listeners []net.Listener
	ready     chan struct{}
	started   time.Time

	// cold counts the goroutines that log clients in, and those that watch
	// databases.
	cold sync.WaitGroup
	// life ends when the last client has left.
	life context.Context
}

// New returns a Server that listens already, so that a bad address is an
// error here; it starts nothing.
func New(cfg Config) (*Server, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	r, err := router.New(router.Config{
		Source: cfg.Source, Prober: cfg.Monitor, Wait: cfg.Wait, OnTimeout: cfg.OnTimeout,
		FallbackBudget: cfg.FallbackBudget, MaxLag: cfg.MaxLag, MaxStaleness: cfg.MaxStaleness,
		Position: cfg.Position, Monotonic: cfg.Monotonic, Preferences: cfg.Preferences, TicketPace: cfg.TicketPace, PositionPace: cfg.PositionPace,
		SwitchoverLead: cfg.SwitchoverLead, Logger: cfg.Logger,
	})
	if err != nil {
		return nil, err
	}
	s := &Server{router: r, ready: make(chan struct{}), security: backend.NewSecurity(cfg.Logger)}
	s.cfg.Store(&cfg)
	secure, err := s.loadTLS(&cfg)
	if err != nil {
		return nil, err
	}
	secure()
	s.databases.all = make(map[string]*database)
	s.welcomes.init()
	s.guests.init()
	s.verifiers = auth.NewCache(s.verifier, auth.CacheConfig{})
	s.handshake = handshake.Config{Mode: handshake.SCRAM, Lookup: s.verifiers, Mock: auth.NewMock()}
	if cfg.Auth == AuthTrust {
		s.handshake.Mode = handshake.Trust
	}
	for _, addr := range cfg.Listen {
		l, err := listen(addr)
		if err != nil {
			s.closeListeners()
			return nil, err
		}
		s.listeners = append(s.listeners, l)
	}
	return s, nil
}

// listen opens HOST:PORT or unix:DIR[:PORT].
func listen(addr string) (net.Listener, error) {
	dir, ok := strings.CutPrefix(addr, "unix:")
	if !ok {
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return nil, fmt.Errorf("listen on %s: %w", addr, err)
		}
		return l, nil
	}
	port := "6432"
	if d, p, ok := strings.Cut(dir, ":"); ok {
		dir, port = d, p
	}
	path := filepath.Join(dir, ".s.PGSQL."+port)
	if c, err := net.Dial("unix", path); err == nil {
		c.Close()
		return nil, fmt.Errorf("listen on %s: somebody serves there already", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	if err := os.Chmod(path, 0o777); err != nil {
		l.Close()
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	return l, nil
}

// Addrs returns where clients are served.
func (s *Server) Addrs() []net.Addr {
	var list []net.Addr
	for _, l := range s.listeners {
		list = append(list, l.Addr())
	}
	return list
}

// Ready returns a channel that is closed once clients can be served: when a
// primary is known, or 3 s after Run has begun without one.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Router returns the router, for status pages and tests.
func (s *Server) Router() *router.Router { return s.router }

// Run serves until ctx is done, then lets transactions end for at most drain
// and returns. 0 means that it does not wait for them.
func (s *Server) Run(ctx context.Context, drain time.Duration) error {
	s.started = time.Now()
	// Three lives: the listeners end first, then the clients, then the router
	// that these need to end well.
	life, die := context.WithCancel(context.WithoutCancel(ctx))
	defer die()
	s.life = life
	routerEnded := make(chan error, 1)
	go s.runRouter(life, routerEnded)
	cfg := s.cfg.Load()
	group, err := reactor.NewGroup(life, cfg.Loops, reactor.Config{
		Router: s.router, Logger: cfg.Logger, Limits: cfg.limits(), PrimaryWait: cfg.PrimaryWait,
		SessionPool: cfg.PoolMode == PoolSession, PeerID: cfg.PeerID,
	})
	if err != nil {
		return fmt.Errorf("start the event loops: %w", err)
	}
	s.group = group
	clients, leave := context.WithCancel(life)
	defer leave()
	groupEnded := make(chan struct{})
	go s.runGroup(clients, groupEnded)
	var accepting sync.WaitGroup
	for _, l := range s.listeners {
		accepting.Add(1)
		go s.acceptLoop(clients, l, &accepting)
	}
	s.cold.Add(1)
	go s.announce(ctx)
	select {
	case <-ctx.Done():
	case err = <-routerEnded:
		routerEnded <- err
	}
	s.closeListeners()
	accepting.Wait()
	leave()
	select {
	case <-groupEnded:
	case <-time.After(drain):
		group.Kill()
		<-groupEnded
	}
	die()
	s.cold.Wait()
	group.Close()
	if rerr := <-routerEnded; err == nil && rerr != nil {
		err = rerr
	}
	return err
}

func (s *Server) runRouter(ctx context.Context, ended chan<- error) { ended <- s.router.Run(ctx) }

func (s *Server) runGroup(ctx context.Context, ended chan<- struct{}) {
	s.group.Run(ctx)
	close(ended)
}

// announce closes ready.
func (s *Server) announce(ctx context.Context) {
	defer s.cold.Done()
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	if err := s.router.WaitTopology(ctx, func(t *router.Topology) bool { return t.Primary != nil }); err != nil {
		s.cfg.Load().Logger.Warn("there is no primary yet: writes will wait", "topology", s.router.Topology().String())
	}
	close(s.ready)
}

func (s *Server) closeListeners() {
	for _, l := range s.listeners {
		l.Close()
	}
}

// Reload takes the policies, rules, limits, pools, TLS, peers, preferences and
// settings of cfg; everything else needs a new Server. Clients that are connected
// change with it, but for what they have set themselves. Certificates are read
// again and count for connections to come. After an error nothing has changed.
// cfg's Source and Monitor are not looked at. Reload is called before Run or after
// Ready, by one goroutine at a time.
func (s *Server) Reload(cfg Config) error {
	old := s.cfg.Load()
	cfg.Source, cfg.Monitor = old.Source, old.Monitor
	if err := cfg.validate(); err != nil {
		return err
	}
	secure, err := s.loadTLS(&cfg)
	if err != nil {
		return err
	}
	secure()
	merged := *old
	merged.Policy, merged.Rules = cfg.Policy, cfg.Rules
	merged.PoolSize, merged.LeaseWait, merged.PoolLimits, merged.Limits = cfg.PoolSize, cfg.LeaseWait, cfg.PoolLimits, cfg.Limits
	merged.TLS, merged.ServerTLS = cfg.TLS, cfg.ServerTLS
	merged.Peers, merged.Settings = cfg.Peers, cfg.Settings
	merged.Preferences = cfg.Preferences
	s.cfg.Store(&merged)
	s.router.Prefer(cfg.Preferences)
	if s.group != nil {
		s.group.Rebase(merged.policy)
		s.group.SetLimits(merged.limits())
	}
	return nil
}

// acceptLoop accepts clients of one listener.
func (s *Server) acceptLoop(ctx context.Context, l net.Listener, done *sync.WaitGroup) {
	defer done.Done()
	for {
		conn, err := l.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			// Out of descriptors or the like: waiting is all that helps.
			s.cfg.Load().Logger.Error("accept", "error", err)
			select {
			case <-time.After(100 * time.Millisecond):
				continue
			case <-ctx.Done():
				return
			}
		}
		s.cold.Add(1)
		go s.serve(ctx, conn)
	}
}

// serve logs one client in and hands it to a loop. It owns conn until then.
func (s *Server) serve(ctx context.Context, conn net.Conn) {
	defer s.cold.Done()
	if t, ok := conn.(*net.TCPConn); ok {
		t.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: time.Minute, Interval: 15 * time.Second, Count: 4})
	}
	admission := s.admission()
	out, err := handshake.Accept(ctx, conn, admission)
	if out.Conn != nil {
		conn = out.Conn
	}
	if err != nil {
		if admission.TLS != nil && !errors.Is(err, io.EOF) {
			s.cfg.Load().Logger.Info("a client did not come to its login", "client", conn.RemoteAddr(), "error", err)
		}
		handshake.Refuse(conn, err)
		return
	}
	if out.Cancel != nil {
		s.cancel(ctx, out.Cancel)
		conn.Close()
		return
	}
	var g *guest
	if out.Startup.Database != adminDatabase { // there one looks when it is crowded
		var full *clientError
		if g, full = s.guests.enter(s.cfg.Load().maxClients()); full != nil {
			handshake.Fatal(conn, errorResponse(full))
			return
		}
	}
	wait := s.patience(conn)
	if out.Startup.Database != adminDatabase {
		admission.Lookup = &patientLookup{s.verifiers, wait}
	}
	keys, err := handshake.Authenticate(ctx, conn, out.Startup, admission)
	if err != nil {
		if g != nil {
			g.leave()
		}
		handshake.Refuse(conn, err)
		return
	}
	if out.Startup.Database == adminDatabase {
		s.admin(ctx, conn, out.Startup)
		return
	}
	if full := g.name(out.Startup.User, out.Startup.Database, &s.cfg.Load().Limits); full != nil {
		g.leave()
		handshake.Fatal(conn, errorResponse(full))
		return
	}
	if err := s.hand(ctx, conn, out.Startup, keys, g, wait); err != nil {
		handshake.Fatal(conn, errorResponse(err))
	}
}

// hand completes the login and gives the connection to a loop. g leaves with
// the client.
func (s *Server) hand(ctx context.Context, conn net.Conn, st *handshake.Startup, keys *auth.Keys, g *guest, wait patience) error {
	adopted := false
	defer func() {
		if !adopted {
			g.leave()
		}
	}()
	if st.Replication != "" {
		return s.replicate(ctx, conn, st, keys)
	}
	login, reported, err := s.login(st, keys)
	if err != nil {
		return err
	}
	params, err := s.welcome(ctx, login, reported, wait)
	if err != nil {
		s.forget(login.Database.(*database))
		return err
	}
	login.Reported = params
	login.Left = g.leave
	adopted = true
	params = slices.DeleteFunc(slices.Clone(params), func(p handshake.Param) bool { return p.Name == client.DefaultIsolation })
	c, pid, secret := s.group.NewClient(login, st.Minor)
	if err := handshake.Welcome(conn, params, pid, secret); err != nil {
		s.group.Abandon(c)
		conn.Close()
		return nil
	}
	socket, err := reactor.Detach(conn)
	if err != nil {
		s.group.Abandon(c)
		return err
	}
	s.group.Adopt(c, socket)
	return nil
}

// login makes a Login of a startup packet. reported are its settings as they
// were, for the welcome.
func (s *Server) login(st *handshake.Startup, keys *auth.Keys) (*reactor.Login, []handshake.Param, error) {
	cfg := s.cfg.Load()
	db := s.database(st.Database)
	l := &reactor.Login{
		User: st.User, DatabaseName: st.Database, Keys: keys, Database: db, Hub: db.hub, Session: db.session, Security: s.security,
		Policy: cfg.policy(st.User, st.Database),
	}
	l.Rebased = l.Policy
	var reported []handshake.Param
	for _, p := range st.Params {
		name := strings.ToLower(p.Name)
		if rest, ok := strings.CutPrefix(name, "pgroute."); ok {
			if r := l.Policy.Set(rest, p.Value); r != nil {
				s.forget(db)
				return nil, nil, &clientError{Code: r.Code, Message: r.Message, Detail: r.Detail, Hint: r.Hint}
			}
			continue
		}
		reported = append(reported, handshake.Param{Name: name, Value: p.Value})
		l.Settings = append(l.Settings, handshake.Param{Name: name, Value: reactor.StartupValue(p.Value)})
	}
	return l, reported, nil
}

// database returns the database of that name, and begins to watch it.
func (s *Server) database(name string) *database {
	d := &s.databases
	d.mu.Lock()
	defer d.mu.Unlock()
	db := d.all[name]
	if db == nil {
		cfg := s.cfg.Load()
		db = newDatabase(name, s.router, cfg.Monitor, &d.gen, cfg.Logger)
		d.all[name] = db
	}
	db.logins++
	return db
}

// forget drops a database that no server has let anybody enter, so that made-up
// names do not stay (I7).
func (s *Server) forget(db *database) {
	d := &s.databases
	d.mu.Lock()
	defer d.mu.Unlock()
	if db.logins--; db.logins == 0 {
		delete(d.all, db.name)
	}
}

// watchDatabase begins to watch a database once a client has really entered it.
func (s *Server) watchDatabase(db *database) {
	db.once.Do(func() {
		s.cold.Add(2)
		go s.watchLoop(db)
		go s.listenLoop(db)
	})
}

func (s *Server) watchLoop(db *database) {
	defer s.cold.Done()
	db.catalogue.Run(s.life)
}

func (s *Server) listenLoop(db *database) {
	defer s.cold.Done()
	db.hub.Run(s.life)
}

// verifier looks a user's verifier up on the primary.
func (s *Server) verifier(ctx context.Context, user string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	var node *router.Node
	err := s.router.WaitTopology(ctx, func(t *router.Topology) bool {
		if node = t.Primary; node == nil {
			node = cmp.Or(deputies(t)...)
		}
		return node != nil
	})
	if err != nil {
		return "", err
	}
	return s.askVerifier(ctx, node, user)
}

func (s *Server) askVerifier(ctx context.Context, n *router.Node, user string) (string, error) {
	secret, found, err := s.cfg.Load().Monitor.Verifier(ctx, n.Addr, user)
	if err != nil || !found {
		return "", err
	}
	return secret, nil
}

// errorResponse makes a FATAL of an error before the login was complete.
func errorResponse(err error) *pgproto3.ErrorResponse {
	var e *clientError
	if !errors.As(err, &e) {
		e = &clientError{Code: sqlstate.ConnectionFailure, Message: "pgroute cannot reach the database", Detail: err.Error()}
	}
	return &pgproto3.ErrorResponse{Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: e.Code, Message: e.Message,
		Detail: e.Detail, Hint: e.Hint}
}
