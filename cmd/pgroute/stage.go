package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"time"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/proxy"
	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/pgprobe"
	"github.com/pgroute/pgroute/router/zookeeper"
)

// lateBy is how late the late replica replays.
const lateBy = 1500 * time.Millisecond

// demoPath is where the demonstration's topology is in ZooKeeper.
const demoPath = "/pgroute/demo"

// stage is what the demonstration plays on. close takes down what is there, in
// whatever state.
type stage struct {
	scr     *screen
	cluster *cluster.Cluster
	zk      *cluster.ZooKeeper // nil if it is not installed
	monitor *pgprobe.Prober
	srv     *proxy.Server
	names   map[string]string // of nodes, as the story tells them

	endServer context.CancelFunc
	ended     chan error
}

// newStage starts everything. The stage is to be closed after an error too.
func newStage(ctx context.Context, scr *screen, log io.Writer, o *demoOptions) (*stage, error) {
	st := &stage{scr: scr, names: make(map[string]string)}
	scr.head("A cluster for a minute")
	zk := make(chan error, 1)
	// Ends when ZooKeeper serves or ctx is done; received below.
	go func() { zk <- st.startZooKeeper(ctx) }()
	var err error
	st.cluster, err = cluster.New(ctx, cluster.Options{})
	if err = errors.Join(err, <-zk); err != nil {
		return st, err
	}
	late := st.cluster.Replicas()[len(st.cluster.Replicas())-1]
	if err := late.SetApplyDelay(ctx, lateBy); err != nil {
		return st, err
	}
	for _, n := range st.cluster.Nodes() {
		role := "replica"
		switch n {
		case st.cluster.Primary():
			role = "primary"
		case late:
			role = fmt.Sprintf("replica, replays %v late on purpose", lateBy)
		}
		scr.line("  %s  %s  %s", n.Name, n.Addr(), scr.dim(role))
	}
	logger := slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelError}))
	src, err := st.source(ctx, logger)
	if err != nil {
		return st, err
	}
	return st, st.serve(ctx, src, logger, o.port)
}

// startZooKeeper starts ZooKeeper if it is there.
func (st *stage) startZooKeeper(ctx context.Context) (err error) {
	if cluster.ZooKeeperInstalled() {
		st.zk, err = cluster.NewZooKeeper(ctx, cluster.ZooKeeperOptions{})
	}
	return err
}

// source writes the topology into ZooKeeper, or makes a list of it.
func (st *stage) source(ctx context.Context, log *slog.Logger) (router.Source, error) {
	if st.zk == nil {
		st.scr.line("  ZooKeeper is not installed: the proxy gets a list of the servers and asks them who they are")
		for _, n := range st.cluster.Nodes() {
			st.names[n.Addr()] = n.Name
		}
		return router.Static(st.cluster.Addrs()...)
	}
	st.scr.line("  ZooKeeper at %s tells the proxy about them, in %s", st.zk.Addr(), demoPath)
	cfg := zookeeper.Config{Hosts: st.zk.Addr(), Path: demoPath, Logger: log}
	reg, err := zookeeper.NewRegistry(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer reg.Close()
	for _, n := range st.cluster.Nodes() {
		st.names[n.Name] = n.Name
		if err := reg.Put(ctx, n.Name, zookeeper.Node{Host: n.Host, Port: n.Port}, false); err != nil {
			return nil, err
		}
	}
	if err := reg.SetPrimary(ctx, st.cluster.Primary().Name); err != nil {
		return nil, err
	}
	return zookeeper.New(cfg)
}

// serve starts the proxy and waits until it serves and knows all replicas.
func (st *stage) serve(ctx context.Context, src router.Source, log *slog.Logger, port int) error {
	var err error
	dsn := st.cluster.Primary().DSN(cluster.MonitorUser, cluster.MonitorPassword, "postgres")
	if st.monitor, err = pgprobe.New(pgprobe.Config{DSN: dsn, Logger: log}); err != nil {
		return err
	}
	st.srv, err = proxy.New(proxy.Config{
		Listen: []string{net.JoinHostPort("127.0.0.1", strconv.Itoa(port))}, Source: src, Monitor: st.monitor, Logger: log,
	})
	if err != nil {
		return err
	}
	// The proxy outlives ctx: the story's clients leave first.
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	st.endServer, st.ended = cancel, make(chan error, 1)
	// Ends with endServer; close waits for it.
	go st.serverLoop(running)
	select {
	case <-st.srv.Ready():
	case err := <-st.ended:
		st.ended <- err
		return errors.Join(err, errors.New("the proxy ended"))
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	patient, done := context.WithTimeout(ctx, time.Minute)
	defer done()
	want := len(st.cluster.Replicas())
	if err := st.srv.Router().WaitTopology(patient, func(t *router.Topology) bool {
		return t.Primary != nil && t.Replicas() == want
	}); err != nil {
		return err
	}
	st.scr.line("  pgroute serves clients at %s, with their passwords checked by SCRAM", st.srv.Addrs()[0])
	return nil
}

func (st *stage) serverLoop(ctx context.Context) { st.ended <- st.srv.Run(ctx, time.Second) }

// dsn is the connection string of the application through the proxy.
func (st *stage) dsn() string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword(cluster.AppUser, cluster.AppPassword),
		Host: st.srv.Addrs()[0].String(), Path: "/" + cluster.AppDatabase, RawQuery: "sslmode=disable"}
	return u.String()
}

// close takes everything down, the clients' side first.
func (st *stage) close() error {
	var err error
	if st.ended != nil {
		st.endServer()
		err = <-st.ended
	}
	if st.monitor != nil {
		err = errors.Join(err, st.monitor.Close())
	}
	if st.cluster != nil {
		err = errors.Join(err, st.cluster.Close())
	}
	if st.zk != nil {
		err = errors.Join(err, st.zk.Close())
	}
	return err
}
