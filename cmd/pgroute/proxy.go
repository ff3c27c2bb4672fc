package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/pgroute/pgroute/proxy"
	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/pgprobe"
	"github.com/pgroute/pgroute/router/zookeeper"
)

// runProxy is pgroute proxy.
func runProxy(args []string, std stdio) error {
	a, err := parseArguments("proxy", args, nil)
	if errors.Is(err, flag.ErrHelp) {
		printProxyHelp(std.out)
		return err
	}
	if err != nil {
		return err
	}
	if len(a.rest) > 0 {
		return usagef("proxy: unexpected argument %q", a.rest[0])
	}
	s, f, err := load(a)
	if err != nil {
		return err
	}
	p := &process{args: a, file: f, settings: s, log: newLogging(s, std.err), refused: new(refusals), std: std}
	// The first source is only for what is wrong with the flags.
	if _, err := s.source(p.log.Logger); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	// A SIGHUP that comes too early is not the end.
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	if err := p.readShared(ctx); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return nil // It was ended while it waited.
	}
	if err := p.open(); err != nil {
		return err
	}
	defer p.monitor.Close()
	return p.run(ctx, hup)
}

// notServed classes an error of the start. That somebody else has the port is
// not a mistake in the flags; an address that cannot be listened on is one.
func notServed(err error) error {
	if errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, syscall.EACCES) {
		return err
	}
	return &usageError{err}
}

// process is a running pgroute proxy.
type process struct {
	srv      *proxy.Server
	monitor  *pgprobe.Prober
	admin    *adminHTTP // nil if it is off
	args     *arguments
	file     *file     // as it was last applied, nil if there is none
	settings *settings // those of the start, with the policy that was last applied
	shared   *sharedConfig
	zk       zookeeper.Config // for what is beside the source, if shared is not nil
	refused  *refusals
	log      logging
	std      stdio
}

// readShared reads what ZooKeeper has for all proxies, if the servers are found
// in pgroute's own layout. That there is none, that it is bad, and that
// ZooKeeper is away, is no error.
func (p *process) readShared(ctx context.Context) (err error) {
	if !p.settings.ownLayout() {
		return nil
	}
	p.settings.refused = p.refused
	if p.zk, err = p.settings.ownConfig(p.log.Logger); err != nil {
		return err
	}
	p.shared = newShared(p.settings)
	if err := p.shared.read(ctx, p.zk); err != nil && ctx.Err() == nil {
		p.log.Warn("ZooKeeper has not shown the configuration of all proxies; pgroute starts without it",
			"path", p.shared.where, "error", oneLine(err.Error()))
	}
	return nil
}

// open opens all that serves, with what ZooKeeper has for all proxies if that
// makes sense, and else without.
func (p *process) open() error {
	if p.shared == nil || p.shared.data == nil {
		return p.openWith(p.settings)
	}
	f, refusal := p.shared.parse(p.shared.data)
	if refusal == nil {
		var s *settings
		if s, refusal = p.args.merge(p.file, f); refusal == nil {
			if refusal = p.openWith(s); refusal == nil {
				p.shared.good = f
				p.log.Info("the configuration of ZooKeeper is applied", "path", p.shared.where,
					"consistency", s.policy.Consistency.String(), "rules", len(s.rules))
				return nil
			}
		}
	}
	err := p.openWith(p.settings)
	if err == nil {
		p.shared.held = f
		p.refuse(refusal, "path", p.shared.where)
	}
	return err
}

// openWith opens all that serves. After an error nothing is open.
func (p *process) openWith(s *settings) (err error) {
	log := newLogging(s, p.std.err)
	s.refused, p.refused.ages = p.refused, s.zookeeper != ""
	src, err := s.source(log.Logger)
	if err != nil {
		return err
	}
	monitor, err := s.prober(log.Logger)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = monitor.Close()
		}
	}()
	srv, admin, err := s.listenAll(src, monitor, log, p.refused)
	if err != nil {
		return notServed(err)
	}
	p.srv, p.admin, p.monitor, p.settings, p.log = srv, admin, monitor, s, log
	return nil
}

// listenAll opens the addresses. The admin's come first: it alone can be
// closed again.
func (s *settings) listenAll(src router.Source, monitor *pgprobe.Prober, log logging, refused *refusals) (*proxy.Server, *adminHTTP, error) {
	cfg := s.config(log.Logger)
	cfg.Source, cfg.Monitor = src, monitor
	var l net.Listener
	if s.admin != "" {
		var err error
		if l, err = listenAdmin(s.admin); err != nil {
			return nil, nil, err
		}
	}
	srv, err := proxy.New(cfg)
	if err != nil {
		if l != nil {
			_ = l.Close()
		}
		return nil, nil, err
	}
	if l == nil {
		return srv, nil, nil
	}
	return srv, newAdmin(l, srv, refused), nil
}

// run serves until a signal ends ctx.
func (p *process) run(ctx context.Context, hup <-chan os.Signal) error {
	if p.admin != nil {
		// Ends with close below, which waits for it.
		go p.admin.serveLoop()
		defer p.admin.close()
		// Whoever balances load should hear of the end before it comes.
		defer context.AfterFunc(ctx, p.admin.drain)()
	}
	ended := make(chan struct{})
	done := make(chan struct{})
	// Ends with ended, and is waited for.
	go p.attendLoop(ctx, hup, ended, done)
	err := p.srv.Run(ctx, p.settings.drain)
	close(ended)
	<-done
	if err != nil {
		return err
	}
	p.log.Info("pgroute has ended")
	return nil
}

// attendLoop says when clients can be served, reloads on SIGHUP, and applies
// what ZooKeeper has for all proxies.
func (p *process) attendLoop(ctx context.Context, hup <-chan os.Signal, ended <-chan struct{}, done chan<- struct{}) {
	defer close(done)
	select {
	case <-p.srv.Ready():
	case <-ended:
		return
	}
	if ctx.Err() != nil {
		return
	}
	addr := addrText(p.srv.Addrs()[0])
	p.log.Info("pgroute serves", "version", proxy.Version(), "listen", addr, "topology", p.srv.Router().Topology().String())
	if p.admin != nil {
		p.admin.serving.Store(true)
	}
	fmt.Fprintf(p.std.out, "pgroute: ready on %s\n", addr)
	var news chan zookeeper.Document
	if p.shared != nil {
		news = p.shared.news
		defer p.joinLayout(ctx)()
	}
	stopping := ctx.Done()
	for {
		select {
		case <-hup:
			p.reload()
		case d := <-news:
			p.renew(d)
		case <-stopping:
			p.log.Info("pgroute drains", "clients", p.srv.Stats().Clients, "timeout", p.settings.drain)
			stopping = nil
		case <-ended:
			return
		}
	}
}

func addrText(a net.Addr) string {
	if a.Network() == "unix" {
		return "unix:" + a.String()
	}
	return a.String()
}
