package zookeeper_test

import (
	"context"
	"flag"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/pgprobe"
	"github.com/pgroute/pgroute/router/zookeeper"
)

var patroniFull = flag.Bool("patroni.full", false, "run the live test of Patroni through all its faults")

// live is a router that follows a cluster of Patroni.
type live struct {
	*testing.T
	p *cluster.PatroniCluster
	r *router.Router
}

func followPatroni(t *testing.T, members int) *live {
	t.Helper()
	if testing.Short() || !cluster.PatroniInstalled() {
		t.Skip("needs Patroni and ZooKeeper, and takes seconds")
	}
	p := cluster.StartPatroni(t, members, cluster.PatroniOptions{})
	logged := &lockedBuffer{}
	log := slog.New(slog.NewTextHandler(logged, nil))
	src, err := zookeeper.NewPatroni(zookeeper.Config{Hosts: p.ZooKeeper().Addr(), Path: p.Path(), SessionTimeout: 3 * time.Second, Logger: log})
	must(t, err)
	prober, err := pgprobe.New(pgprobe.Config{DSN: p.Members()[0].DSN(cluster.MonitorUser, cluster.MonitorPassword, "postgres"), Logger: log})
	must(t, err)
	r, err := router.New(router.Config{Source: src, Prober: prober, Logger: log})
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }() // Ends with cancel; waited for in the cleanup.
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		must(t, prober.Close())
		if t.Failed() {
			t.Logf("log of the router:\n%s", logged)
		}
	})
	return &live{T: t, p: p, r: r}
}

// until waits for the topology to be as ok wants it.
func (l *live) until(what string, ok func(*router.Topology) bool) {
	l.Helper()
	ctx, cancel := context.WithTimeout(l.Context(), patience)
	defer cancel()
	begin := time.Now()
	if err := l.r.WaitTopology(ctx, ok); err != nil {
		l.Fatalf("waiting for %s: %v", what, err)
	}
	l.Logf("%s after %s: %s", what, time.Since(begin).Round(time.Millisecond), l.r.Topology())
}

// leads waits until a member takes writes, and these replicas serve.
func (l *live) leads(primary *cluster.PatroniMember, replicas ...string) {
	l.Helper()
	l.until(primary.Name+" leads "+strings.Join(replicas, ", "), func(t *router.Topology) bool {
		if t.Primary == nil || t.Primary.Name != primary.Name || !t.Leads(time.Now()) {
			return false
		}
		var serve []string
		for _, n := range t.Nodes {
			if n.Eligible() {
				serve = append(serve, n.Name)
			}
		}
		return slices.Equal(serve, replicas)
	})
}

// watched notes, while do runs, which primaries there were and whether the
// switchover was announced while the old one still led.
func (l *live) watched(do func()) (primaries []string, announced bool) {
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() { // Ends with stop; waited for below.
		defer close(ended)
		for {
			t := l.r.Topology()
			if t.Primary != nil {
				if n := t.Primary.Name; len(primaries) == 0 || primaries[len(primaries)-1] != n {
					primaries = append(primaries, n)
				}
				announced = announced || t.Switchover.Due(time.Now(), 0) && t.Switchover.Leader == t.Primary.Name
			}
			select {
			case <-t.Changed():
			case <-stop:
				return
			}
		}
	}()
	do()
	close(stop)
	<-ended
	return primaries, announced
}

// The short one: start, a switchover, a tag.
func TestRouterFollowsPatroni(t *testing.T) {
	l := followPatroni(t, 2)
	pg1, pg2 := l.p.Member("pg1"), l.p.Member("pg2")
	l.leads(pg1, "pg2")
	l.switchOver(pg2, "pg1")
	must(t, pg1.SetTags(map[string]any{"noloadbalance": true}))
	l.leads(pg2)
	if why := l.r.Topology().Node("pg1").NoReads(); why != "tag noloadbalance" {
		t.Errorf("pg1 serves no reads for %q", why)
	}
	must(t, pg1.SetTags(nil))
	l.leads(pg2, "pg1")
}

// switchOver makes next the leader by plan.
func (l *live) switchOver(next *cluster.PatroniMember, replicas ...string) {
	l.Helper()
	before := l.r.Topology().Primary.Name
	primaries, announced := l.watched(func() {
		must(l.T, l.p.Switchover(l.Context(), next))
		l.leads(next, replicas...)
	})
	if !slices.Equal(primaries, []string{before, next.Name}) || !announced {
		l.Errorf("a switchover from %s to %s: the primaries were %v, announced in time: %v", before, next.Name, primaries, announced)
	}
}

// The long one, with -patroni.full.
func TestRouterFollowsPatroniThroughFaults(t *testing.T) {
	if !*patroniFull {
		t.Skip("takes minutes: -patroni.full, or make patroni")
	}
	l := followPatroni(t, 3)
	ctx := t.Context()
	pg1, pg2, pg3 := l.p.Member("pg1"), l.p.Member("pg2"), l.p.Member("pg3")
	l.leads(pg1, "pg2", "pg3")
	l.switchOver(pg2, "pg1", "pg3")

	t.Log("a switchover for later is announced, and called off")
	must(t, l.p.ScheduleSwitchover(ctx, pg3, time.Now().Add(time.Hour)))
	l.until("the announcement", func(t *router.Topology) bool {
		s := t.Switchover
		return s.Leader == "pg2" && s.Candidate == "pg3" && !s.Due(time.Now(), time.Minute) && s.Due(time.Now(), 2*time.Hour)
	})
	_, err := l.p.Ctl(ctx, "flush", "demo", "switchover", "--force")
	must(t, err)
	l.until("no announcement", func(t *router.Topology) bool { return t.Switchover.IsZero() })

	t.Log("the machine of the leader is lost")
	lost := time.Now()
	must(t, pg2.Kill())
	l.until("a new primary", func(t *router.Topology) bool { return t.Primary != nil && t.Primary.Name != "pg2" })
	t.Logf("%s after the loss", time.Since(lost).Round(time.Millisecond))
	leader, err := l.p.Leader(ctx)
	must(t, err)
	other := pg1
	if leader == pg1 {
		other = pg3
	}
	l.leads(leader, other.Name)
	must(t, pg2.Start())
	var both []string
	for _, m := range l.p.Members() {
		if m != leader {
			both = append(both, m.Name)
		}
	}
	l.leads(leader, both...)

	t.Log("a replica is restarted")
	must(t, other.KillPostgres())
	l.until("its absence", func(t *router.Topology) bool { return t.Replicas() == 1 })
	l.leads(leader, both...)

	t.Log("maintenance mode")
	must(t, l.p.Configure(ctx, map[string]any{"pause": true}))
	l.until("the pause", func(t *router.Topology) bool { return t.Management.Paused && t.Primary != nil })
	must(t, l.p.Configure(ctx, map[string]any{"pause": nil}))
	l.until("the end of the pause", func(t *router.Topology) bool { return !t.Management.Paused })

	t.Log("synchronous mode")
	must(t, l.p.Configure(ctx, map[string]any{"synchronous_mode": true}))
	l.until("a synchronous standby", func(t *router.Topology) bool { return len(t.Management.Synchronous.Standbys) == 1 })
	must(t, l.p.Configure(ctx, map[string]any{"synchronous_mode": nil}))
	l.until("no synchronous standby", func(t *router.Topology) bool { return len(t.Management.Synchronous.Standbys) == 0 })

	t.Log("ZooKeeper is lost: Patroni demotes the leader, and reads go on")
	must(t, l.p.ZooKeeper().Kill())
	l.until("no primary", func(t *router.Topology) bool { return t.Primary == nil })
	must(t, l.p.ZooKeeper().Start(ctx))
	l.until("a primary again", func(t *router.Topology) bool { return t.Primary != nil && t.Replicas() == 2 })

	t.Log("Patroni of the leader is lost, its PostgreSQL is not")
	leader, err = l.p.Leader(ctx)
	must(t, err)
	must(t, leader.KillPatroni())
	l.until("another primary", func(t *router.Topology) bool { return t.Primary != nil && t.Primary.Name != leader.Name })
	if v, err := leader.QueryString(ctx, "SELECT pg_is_in_recovery()"); err != nil || v != "f" {
		t.Errorf("the old primary's recovery: %q, %v; the test wants it to be a second primary", v, err)
	}
	must(t, leader.Start())
	l.until("all three", func(t *router.Topology) bool { return t.Primary != nil && t.Replicas() == 2 })
}
