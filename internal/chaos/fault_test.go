package chaos_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/pgroute/pgroute/internal/cluster"
)

// fault is one thing that goes wrong and is put right.
type fault struct {
	// target is what it concerns, for people.
	target string
	// holds are the things that no other fault may touch meanwhile.
	holds []string
	begin func(context.Context) error
	end   func(context.Context) error
}

// recipe makes faults of a kind.
type recipe struct {
	kind string
	// weight is how often it comes, beside the others.
	weight int
	// least and most are how long it lasts.
	least, most time.Duration
	// network says that it needs hosts, clocks that it needs servers with clocks
	// of their own.
	network, clocks bool
	// mode says that it is for that one only, sync or async.
	mode string
	// row says that it is done again and again while it lasts.
	row bool
	// make makes one for the cluster as it is now.
	make func(ctx context.Context, l *lab, rng *rand.Rand) (*fault, error)
}

// recipes are all that the nemesis knows.
func recipes() []recipe {
	const s = time.Second
	return []recipe{
		{kind: "replay stopped", weight: 4, least: s, most: 8 * s, make: stopReplay},
		{kind: "receiver stopped", weight: 2, least: s, most: 8 * s, make: stopReceiver},
		{kind: "replay delayed", weight: 4, least: 2 * s, most: 10 * s, make: delayReplay},
		{kind: "kill -9 replica", weight: 2, least: s, most: 3 * s, make: killPostgres(replica)},
		{kind: "kill -9 primary", weight: 4, least: s, most: 4 * s, make: killPostgres(primary)},
		{kind: "kill -9 primary amid COMMITs", weight: 2, least: s, most: 4 * s, mode: "sync", make: killAmidCommits},
		{kind: "replica's host dead", weight: 2, least: 2 * s, most: 10 * s, make: killMember(replica)},
		{kind: "primary's host dead", weight: 4, least: 5 * s, most: 15 * s, make: killMember(primary)},
		// When Patroni (seen in 3.0.2) is started beside a running primary it takes
		// synchronous_standby_names out of the configuration, and /sync still names
		// a standby: what is acknowledged then may be lost, whatever pgroute does.
		{kind: "kill -9 Patroni of the primary", weight: 2, least: s, most: 14 * s, mode: "async", make: killPatroni(primary)},
		{kind: "kill -9 Patroni of a replica", weight: 1, least: s, most: 8 * s, make: killPatroni(replica)},
		{kind: "Patroni of the primary hangs", weight: 3, least: 4 * s, most: 14 * s, make: hangPatroni(primary)},
		{kind: "primary hangs", weight: 2, least: s, most: 12 * s, make: hangPostgres(primary)},
		{kind: "replica hangs", weight: 2, least: s, most: 8 * s, make: hangPostgres(replica)},
		{kind: "ZooKeeper restarts", weight: 2, least: 500 * time.Millisecond, most: 2 * s, make: killKeeper},
		{kind: "ZooKeeper dead", weight: 1, least: 8 * s, most: 15 * s, make: killKeeper},
		{kind: "ZooKeeper hangs", weight: 1, least: s, most: 10 * s, make: hangKeeper},
		{kind: "kill -9 proxy", weight: 2, least: 500 * time.Millisecond, most: 3 * s, make: killProxy},
		{kind: "proxy hangs", weight: 2, least: s, most: 8 * s, make: hangProxy},
		{kind: "cut", weight: 5, least: s, most: 12 * s, network: true, make: cutPair(cluster.Cut{}, true)},
		{kind: "cut one way", weight: 4, least: s, most: 12 * s, network: true, make: cutPair(cluster.Cut{}, false)},
		{kind: "rejected", weight: 2, least: s, most: 8 * s, network: true, make: cutPair(cluster.Cut{Reject: true}, true)},
		{kind: "packets lost", weight: 3, least: 2 * s, most: 10 * s, network: true, make: losePackets},
		{kind: "primary cut off", weight: 4, least: 4 * s, most: 15 * s, network: true, make: isolate(primary)},
		{kind: "replica cut off", weight: 2, least: 2 * s, most: 10 * s, network: true, make: isolate(replica)},
		{kind: "proxy cut off from ZooKeeper", weight: 2, least: 3 * s, most: 12 * s, network: true, make: cutProxyFromKeeper},
		{kind: "slow link", weight: 2, least: 2 * s, most: 8 * s, network: true, make: slowLink},
		{kind: "disk full", weight: 2, least: 2 * s, most: 10 * s, network: true, make: fillDisk},
		{kind: "clock of the primary", weight: 3, least: 2 * s, most: 8 * s, clocks: true, make: setClock(primary)},
		{kind: "clock of a replica", weight: 1, least: 2 * s, most: 8 * s, clocks: true, make: setClock(replica)},
		{kind: switchover, weight: 6, least: 500 * time.Millisecond, most: s, make: switchOver},
		{kind: "switchovers in a row", weight: 1, least: 10 * s, most: 15 * s, row: true, make: switchOver},
	}
}

// errNotNow says that a recipe does not fit the cluster as it is.
var errNotNow = errors.New("not now")

// picker chooses a member.
type picker func(ctx context.Context, l *lab, rng *rand.Rand) (*cluster.PatroniMember, error)

func primary(ctx context.Context, l *lab, _ *rand.Rand) (*cluster.PatroniMember, error) {
	return l.lead(ctx)
}

func replica(ctx context.Context, l *lab, rng *rand.Rand) (*cluster.PatroniMember, error) {
	leader, err := l.lead(ctx)
	if err != nil {
		return nil, err
	}
	all := l.patroni.Members()
	for _, i := range rng.Perm(len(all)) {
		if m := all[i]; m != leader && m.PostgresPID() != 0 {
			return m, nil
		}
	}
	return nil, errNotNow
}

func stopReplay(ctx context.Context, l *lab, rng *rand.Rand) (*fault, error) {
	m, err := replica(ctx, l, rng)
	if err != nil {
		return nil, err
	}
	return &fault{target: m.Name, holds: []string{m.Name}, begin: m.StopReplay, end: contPostgres(m)}, nil
}

func stopReceiver(ctx context.Context, l *lab, rng *rand.Rand) (*fault, error) {
	m, err := replica(ctx, l, rng)
	if err != nil {
		return nil, err
	}
	// One that follows nobody now has no receiver.
	if n, err := query(ctx, m, "SELECT count(*) FROM pg_stat_wal_receiver"); err != nil || n == "0" {
		return nil, errNotNow
	}
	return &fault{target: m.Name, holds: []string{m.Name}, begin: m.StopReceiver, end: contPostgres(m)}, nil
}

func contPostgres(m *cluster.PatroniMember) func(context.Context) error {
	return func(context.Context) error { return m.ContPostgres() }
}

const undelay = "ALTER SYSTEM RESET recovery_min_apply_delay"

func delayReplay(ctx context.Context, l *lab, rng *rand.Rand) (*fault, error) {
	m, err := replica(ctx, l, rng)
	if err != nil {
		return nil, err
	}
	delay := []string{"50ms", "300ms", "2s"}[rng.IntN(3)]
	set := func(ctx context.Context, sql string) error {
		if err := m.Exec(ctx, sql); err != nil {
			return err
		}
		return m.Exec(ctx, "SELECT pg_reload_conf()")
	}
	return &fault{target: m.Name, holds: []string{m.Name},
		begin: func(ctx context.Context) error {
			return set(ctx, "ALTER SYSTEM SET recovery_min_apply_delay = '"+delay+"'")
		},
		end: func(ctx context.Context) error {
			// It may have been killed and not be back for long: then heal does it.
			ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
			defer cancel()
			_ = until(ctx, "lift the delay", func() error { return set(ctx, undelay) })
			return nil
		}}, nil
}

func killPostgres(pick picker) func(context.Context, *lab, *rand.Rand) (*fault, error) {
	return func(ctx context.Context, l *lab, rng *rand.Rand) (*fault, error) {
		m, err := pick(ctx, l, rng)
		if err != nil {
			return nil, err
		}
		// Patroni starts it again, or another takes over.
		return &fault{target: m.Name, holds: []string{m.Name},
			begin: func(context.Context) error { return m.KillPostgres() },
			end:   func(context.Context) error { return nil }}, nil
	}
}

// killAmidCommits kills the primary while COMMITs wait for the synchronous
// standby: their records are written, and nobody has been told.
func killAmidCommits(ctx context.Context, l *lab, rng *rand.Rand) (*fault, error) {
	m, err := primary(ctx, l, rng)
	if err != nil {
		return nil, err
	}
	standby, err := l.patroni.Synchronous(ctx)
	if err != nil {
		return nil, err
	}
	return &fault{target: m.Name, holds: []string{m.Name, standby.Name},
		begin: func(ctx context.Context) error {
			if err := standby.StopReceiver(ctx); err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			err := until(ctx, "a COMMIT waits", func() error {
				n, err := query(ctx, m, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
				if err == nil && n == "0" {
					err = errors.New("none does")
				}
				return err
			})
			if err != nil {
				return err
			}
			return m.KillPostgres()
		}, end: contPostgres(standby)}, nil
}

func killMember(pick picker) func(context.Context, *lab, *rand.Rand) (*fault, error) {
	return func(ctx context.Context, l *lab, rng *rand.Rand) (*fault, error) {
		m, err := pick(ctx, l, rng)
		if err != nil {
			return nil, err
		}
		return &fault{target: m.Name, holds: []string{m.Name},
			begin: func(context.Context) error { return m.Kill() },
			end:   func(context.Context) error { return startPatroni(m) }}, nil
	}
}

func killPatroni(pick picker) func(context.Context, *lab, *rand.Rand) (*fault, error) {
	return func(ctx context.Context, l *lab, rng *rand.Rand) (*fault, error) {
		m, err := pick(ctx, l, rng)
		if err != nil {
			return nil, err
		}
		return &fault{target: m.Name, holds: []string{m.Name},
			begin: func(context.Context) error { return m.KillPatroni() },
			end:   func(context.Context) error { return startPatroni(m) }}, nil
	}
}

func startPatroni(m *cluster.PatroniMember) error {
	if m.Running() {
		return nil
	}
	return m.Start()
}

func hangPatroni(pick picker) func(context.Context, *lab, *rand.Rand) (*fault, error) {
	return func(ctx context.Context, l *lab, rng *rand.Rand) (*fault, error) {
		m, err := pick(ctx, l, rng)
		if err != nil {
			return nil, err
		}
		return &fault{target: m.Name, holds: []string{m.Name},
			begin: func(context.Context) error { return m.StopPatroni() },
			end:   func(context.Context) error { return m.ContPatroni() }}, nil
	}
}

func hangPostgres(pick picker) func(context.Context, *lab, *rand.Rand) (*fault, error) {
	return func(ctx context.Context, l *lab, rng *rand.Rand) (*fault, error) {
		m, err := pick(ctx, l, rng)
		if err != nil {
			return nil, err
		}
		return &fault{target: m.Name, holds: []string{m.Name},
			begin: func(context.Context) error { return m.StopPostgres() }, end: contPostgres(m)}, nil
	}
}

func killKeeper(_ context.Context, l *lab, _ *rand.Rand) (*fault, error) {
	return &fault{target: "zk", holds: []string{"zk"},
		begin: func(context.Context) error { return l.keeper.Kill() },
		end: func(ctx context.Context) error {
			if l.keeper.Running() {
				return nil
			}
			return l.keeper.Start(ctx)
		}}, nil
}

func hangKeeper(_ context.Context, l *lab, _ *rand.Rand) (*fault, error) {
	return &fault{target: "zk", holds: []string{"zk"},
		begin: func(context.Context) error { return l.keeper.Stop() },
		end:   func(context.Context) error { return l.keeper.Cont() }}, nil
}

func killProxy(_ context.Context, l *lab, rng *rand.Rand) (*fault, error) {
	p := l.proxies[rng.IntN(len(l.proxies))]
	return &fault{target: p.Name, holds: []string{p.Name},
		begin: func(context.Context) error { return p.Kill() },
		end:   func(context.Context) error { return p.start() }}, nil
}

func hangProxy(_ context.Context, l *lab, rng *rand.Rand) (*fault, error) {
	p := l.proxies[rng.IntN(len(l.proxies))]
	return &fault{target: p.Name, holds: []string{p.Name},
		begin: func(context.Context) error { return p.Stop() },
		end:   func(context.Context) error { return p.Cont() }}, nil
}

// switchOver asks Patroni for another leader. Patroni refuses while the leader
// does not reach ZooKeeper or the candidate, or that one lags, which other faults
// see to: it is asked again for a while. In synchronous mode it refuses all but
// the synchronous standby.
func switchOver(ctx context.Context, l *lab, rng *rand.Rand) (*fault, error) {
	m, err := replica(ctx, l, rng)
	if err == nil && l.sync {
		m, err = l.patroni.Synchronous(ctx)
	}
	if err != nil {
		return nil, err
	}
	return &fault{target: m.Name, holds: []string{"zk", m.Name},
		begin: func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
			defer cancel()
			err := l.patroni.Switchover(ctx, m)
			for err != nil && pause(ctx, time.Second) {
				err = l.patroni.Switchover(ctx, m)
			}
			return err
		},
		end: func(context.Context) error { return nil }}, nil
}
