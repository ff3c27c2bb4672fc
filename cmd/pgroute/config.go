package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/pgroute/pgroute/proxy"
	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/pgprobe"
)

// source makes the source of servers that the settings name.
func (s *settings) source(log *slog.Logger) (router.Source, error) {
	switch {
	case len(s.nodes) > 0 && s.zookeeper != "":
		return nil, usagef("node and zookeeper exclude each other: give a list of servers or ask ZooKeeper")
	case s.zookeeper != "" || s.path != "" || s.patroni != "":
		return s.zookeeperSource(log)
	case len(s.nodes) == 0:
		return nil, usagef("no servers: give --node HOST:PORT for each, or --zookeeper HOSTS with --path ZNODE or --patroni NAMESPACE/SCOPE")
	}
	src, err := router.Static(s.nodes...)
	if err != nil {
		return nil, usagef("node: %w", err)
	}
	return src, nil
}

// prober makes the monitor. The caller closes it.
func (s *settings) prober(log *slog.Logger) (*pgprobe.Prober, error) {
	if s.monitor == "" {
		return nil, usagef("no monitor: give --monitor DSN, the role with which pgroute watches the servers (pgroute check --sql shows how to make one)")
	}
	p, err := pgprobe.New(pgprobe.Config{DSN: s.monitor, Logger: log})
	if err != nil {
		return nil, usagef("monitor: %w", err)
	}
	return p, nil
}

// checkWaits refuses a lead of which new work would not see the end. The default
// goes with every failover_wait.
func (s *settings) checkWaits() error {
	if s.origins["switchover_lead"] != "default" && s.switchoverLead > 0 && s.switchoverLead >= s.failoverWait {
		return fmt.Errorf("switchover_lead %v is not less than failover_wait %v: new work would fail before the switchover begins", s.switchoverLead, s.failoverWait)
	}
	return nil
}

// config makes a proxy's configuration without its source and monitor.
func (s *settings) config(log *slog.Logger) proxy.Config {
	c := proxy.Config{
		Listen: s.listen, Auth: s.auth, TLS: s.tls, ServerTLS: s.serverTLS, Policy: s.policy, Rules: s.rules,
		PoolMode: s.poolMode, PoolSize: s.poolSize, Loops: s.loops, PrimaryWait: s.failoverWait, PeerID: s.peerID, Peers: s.peers,
		PoolLimits: s.pool, Limits: s.limits, LeaseWait: s.leaseWait,
		FallbackBudget: s.fallbackBudget, MaxLag: s.maxLag, Monotonic: s.monotonic, Position: s.position, Preferences: s.preferences,
		TicketPace: s.ticketPace, PositionPace: s.positionPace, SwitchoverLead: s.switchoverLead, Settings: s.shown(s), Logger: log,
	}
	if c.FallbackBudget == 0 {
		c.FallbackBudget = -1 // there 0 is the default
	}
	if c.TicketPace == 0 {
		c.TicketPace = -1
	}
	if c.SwitchoverLead == 0 {
		c.SwitchoverLead = -1
	}
	return c
}

// candidates asks a source once.
func candidates(ctx context.Context, src router.Source) ([]router.Candidate, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var got []router.Candidate
	err := src.Watch(ctx, func(c router.Candidates) {
		if got == nil {
			got = c.Nodes
		}
		cancel()
	})
	switch {
	case err != nil:
		return nil, fmt.Errorf("ask the source of servers: %w", err)
	case got == nil && ctx.Err() != nil && context.Cause(ctx) == context.DeadlineExceeded:
		return nil, fmt.Errorf("the source of servers did not answer in time")
	}
	return got, nil
}

// logging is where and how a process logs.
type logging struct {
	*slog.Logger
	level *slog.LevelVar
}

// newLogging makes the log on w.
func newLogging(s *settings, w io.Writer) logging {
	l := logging{level: new(slog.LevelVar)}
	l.level.Set(s.logLevel)
	opts := &slog.HandlerOptions{Level: l.level}
	if s.logFormat == "json" {
		l.Logger = slog.New(slog.NewJSONHandler(w, opts))
	} else {
		l.Logger = slog.New(slog.NewTextHandler(w, opts))
	}
	return l
}
