package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgroute/pgroute/examples/booking/internal/api"
	"github.com/pgroute/pgroute/examples/booking/internal/registry"
	"github.com/pgroute/pgroute/examples/booking/internal/store"
)

// serveFlags are the flags of booking serve.
type serveFlags struct {
	listen, name, zookeeper, path, clusterPath string
	via, dsn, monitor, operator                string
}

func (f *serveFlags) parse(args []string, errs io.Writer) error {
	flags := flag.NewFlagSet("booking serve", flag.ContinueOnError)
	flags.StringVar(&f.listen, "listen", "127.0.0.1:8080", "`HOST:PORT` where HTTP is served; instances reach each other there")
	flags.StringVar(&f.name, "name", "", "the instance's `name`, unique among all")
	flags.StringVar(&f.zookeeper, "zookeeper", "", "ZooKeeper's servers, `HOST:PORT,…`")
	flags.StringVar(&f.path, "path", "/booking", "the `znode` of this service: its registry and its configuration")
	flags.StringVar(&f.via, "via", "sidecar", "how the database is reached: `sidecar or library`")
	flags.StringVar(&f.dsn, "dsn", "", "`DSN` of the sidecar; with --via library user, password and database")
	flags.StringVar(&f.clusterPath, "cluster-path", "", "the `znode` that describes the database cluster; for --via library")
	flags.StringVar(&f.monitor, "monitor", "", "`DSN` of the role that watches the servers; for --via library")
	flags.StringVar(&f.operator, "operator", "", "`DSN` of a role that may pause replay, for the button that makes a replica late; host and port are ignored")
	if err := parse(flags, args, errs, "name", "zookeeper", "dsn"); err != nil {
		return err
	}
	switch {
	case f.via != "sidecar" && f.via != "library":
		return usage("--via %q is neither sidecar nor library", f.via)
	case f.via == "library" && f.clusterPath == "":
		return usage("--via library needs --cluster-path")
	}
	return nil
}

// How long the start waits for a primary, and for the registry.
const (
	openTimeout     = 30 * time.Second
	registerTimeout = 5 * time.Second
)

func runServe(ctx context.Context, args []string, out, errs io.Writer, log *slog.Logger) error {
	var f serveFlags
	if err := f.parse(args, errs); err != nil {
		return err
	}
	log = log.With("instance", f.name)
	var operator *pgx.ConnConfig
	if f.operator != "" {
		var err error
		if operator, err = pgx.ParseConfig(f.operator); err != nil {
			return usage("--operator: %v", err)
		}
	}
	listener, err := listen(ctx, f.listen)
	if err != nil {
		return err
	}
	defer listener.Close()
	way, err := openWay(ctx, &f, log)
	if err != nil {
		return err
	}
	defer way.Close()

	addr := advertised(listener.Addr())
	self := &registry.Instance{Name: f.name, Addr: addr, Mode: f.via, PID: os.Getpid(), Started: time.Now().UTC()}
	reg, err := registry.New(f.zookeeper, f.path, self, log)
	if err != nil {
		return usage("%v", err)
	}
	a := api.New(api.Config{Instance: f.name, Addr: addr, Store: store.New(way), Registry: reg, Operator: operator, Page: page(), Logger: log})

	// The registry has a life of its own: it ends first, so that nobody sends
	// requests any more, and then those that run end.
	followed := follow(ctx, reg, log)
	defer followed.stop()
	// Without ZooKeeper the service starts all the same.
	followed.wait(ctx, func(v *registry.View) bool { return v.Registered })
	fmt.Fprintf(out, "booking: ready on %s\n", addr)
	return serveHTTP(ctx, listener, a.Handler(), log, func() {
		followed.stop()
		a.Close()
	})
}

func openWay(ctx context.Context, f *serveFlags, log *slog.Logger) (store.Way, error) {
	if f.via == "sidecar" {
		return store.OpenSidecar(ctx, f.dsn)
	}
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	return store.OpenLibrary(ctx, store.LibraryConfig{ZooKeeper: f.zookeeper, Path: f.clusterPath, DSN: f.dsn, Monitor: f.monitor, Logger: log})
}

// advertised is where others reach this process. Who listens on all
// interfaces is found under the machine's name.
func advertised(addr net.Addr) string {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok || !tcp.IP.IsUnspecified() {
		return addr.String()
	}
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	return net.JoinHostPort(host, fmt.Sprint(tcp.Port))
}

// follower is a registry that runs.
type follower struct {
	reg    *registry.Registry
	log    *slog.Logger
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// follow runs a registry until it is stopped.
func follow(ctx context.Context, reg *registry.Registry, log *slog.Logger) *follower {
	ctx, cancel := context.WithCancel(ctx)
	f := &follower{reg: reg, log: log, cancel: cancel}
	f.wg.Go(func() {
		if err := reg.Run(ctx); err != nil {
			log.Error("no registry", "error", err)
		}
	})
	return f
}

// wait gives the registry a moment to come so far.
func (f *follower) wait(ctx context.Context, ok func(*registry.View) bool) {
	ctx, cancel := context.WithTimeout(ctx, registerTimeout)
	defer cancel()
	if err := f.reg.Wait(ctx, ok); err != nil {
		f.log.Warn("starting without the registry", "error", err)
	}
}

// stop ends the registry and waits for it. It may be called more than once.
func (f *follower) stop() {
	f.cancel()
	f.wg.Wait()
}
