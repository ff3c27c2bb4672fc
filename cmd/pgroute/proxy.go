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
	s, err := load(a)
	if err != nil {
		return err
	}
	log := newLogging(s, std.err)
	src, err := s.source(log.Logger)
	if err != nil {
		return err
	}
	monitor, err := s.prober(log.Logger)
	if err != nil {
		return err
	}
	defer monitor.Close()
	cfg := s.config(log.Logger)
	cfg.Source, cfg.Monitor = src, monitor
	srv, err := proxy.New(cfg)
	if err != nil {
		return notServed(err)
	}
	p := &process{srv: srv, args: a, settings: s, log: log, std: std}
	if s.admin != "" {
		if p.admin, err = listenAdmin(s.admin, srv); err != nil {
			return notServed(err)
		}
	}
	return p.run()
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
	admin    *adminHTTP // nil if it is off
	args     *arguments
	settings *settings // as they were last loaded
	log      logging
	std      stdio
}

// run serves until a signal ends it.
func (p *process) run() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
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

// attendLoop says when clients can be served, and reloads on SIGHUP.
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
	stopping := ctx.Done()
	for {
		select {
		case <-hup:
			p.reload()
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
