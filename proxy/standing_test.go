package proxy_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/proxy"
	"github.com/pgroute/pgroute/router"
)

// zones is a source that puts each server into a zone of its own, z0, z1, …
type zones []*cluster.Node

func (z zones) Watch(ctx context.Context, publish func(router.Candidates)) error {
	c := router.Candidates{NamesPrimary: true, Primary: z[0].Name, Confirmed: time.Now()}
	for i, n := range z {
		c.Nodes = append(c.Nodes, router.Candidate{Addr: router.Addr{Name: n.Name, Host: n.Host, Port: n.Port}, Zone: fmt.Sprintf("z%d", i)})
	}
	publish(c)
	<-ctx.Done()
	return nil
}

// standing returns what the proxy knows of a node.
func (s *served) standing(t testing.TB, name string) proxy.NodeStats {
	t.Helper()
	st := s.Stats()
	for i := range st.Nodes {
		if st.Nodes[i].Name == name {
			return st.Nodes[i]
		}
	}
	t.Fatalf("there is no node %s", name)
	panic("unreachable")
}

// becomes waits until a node is in a state.
func (s *served) becomes(t testing.TB, name, state string) {
	t.Helper()
	eventually(t, func() error {
		if got := s.standing(t, name).State; got != state {
			return errString(name + " is " + got + ", not " + state)
		}
		return nil
	})
}

// readsOn returns how many reads a node has served.
func (s *served) readsOn(name string) (n uint64) {
	for _, r := range s.Stats().Reads {
		if r.Node == name {
			n += r.Count
		}
	}
	return n
}

// serving starts a proxy over the nodes of c and waits until all replicas serve.
func serving(t testing.TB, c *cluster.Cluster, prefs router.Preferences) *served {
	t.Helper()
	s := start(t, proxy.Config{Source: zones(append([]*cluster.Node{c.Primary()}, c.Replicas()...)), Auth: proxy.AuthTrust,
		Preferences: prefs, Policy: proxy.Policy{Wait: patience}})
	for _, n := range c.Replicas() {
		s.becomes(t, n.Name, "serving")
	}
	return s
}

// TestPausedReplicaIsLeftAlone: nobody new goes there, those who are there
// leave, and nobody waits for it.
func TestPausedReplicaIsLeftAlone(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Trust: true})
	s := serving(t, c, router.Preferences{})
	paused, other := c.Replicas()[0].Name, c.Replicas()[1].Name
	var clients []*peer
	eventually(t, func() error { // some of them read on each
		p := s.enter(t)
		p.get(t, "select 1")
		p.get(t, "select 1")
		if clients = append(clients, p); s.readsOn(paused) < 3 || s.readsOn(other) < 3 {
			return errString("reads are not spread yet")
		}
		return nil
	})
	if err := c.Replicas()[0].PauseReplay(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.becomes(t, paused, "ejected")
	if got := s.standing(t, paused); got.Ejected != "paused" || !got.Eligible || !got.Paused {
		t.Errorf("standing %+v", got)
	}
	for _, p := range clients { // each looks around once
		p.get(t, "select 1")
	}
	before := s.readsOn(paused)
	for _, p := range clients {
		for range 3 {
			p.get(t, "select 1")
		}
	}
	s.enter(t).get(t, "select 1")
	clients[0].get(t, "create table paused_t (a int)")
	clients[0].get(t, "insert into paused_t values (1)")
	if n := clients[0].get(t, "select count(*) from paused_t"); n != "1" {
		t.Errorf("%s rows", n)
	}
	if n := s.readsOn(paused) - before; n != 0 {
		t.Errorf("%d reads ran on the paused replica", n)
	}
	if err := c.Replicas()[0].ResumeReplay(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.becomes(t, paused, "serving")
	for _, e := range s.standing(t, paused).Ejections {
		if want := map[string]uint64{"paused": 1}[e.Why]; e.Why != "stalled" && e.Count != want {
			t.Errorf("ejected %d times for %s, want %d", e.Count, e.Why, want)
		}
	}
}

// TestKilledReplicaReturnsSlowly: no client notices that it goes, and few are
// there when it is back.
func TestKilledReplicaReturnsSlowly(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Trust: true})
	s := serving(t, c, router.Preferences{SlowStart: 24 * time.Hour})
	n := c.Replicas()[0]
	var clients []*peer
	for range 10 {
		p := s.enter(t)
		p.get(t, "select 1")
		clients = append(clients, p)
	}
	if err := n.Stop(cluster.Immediate); err != nil {
		t.Fatal(err)
	}
	for _, p := range clients {
		p.get(t, "select 1")
	}
	s.becomes(t, n.Name, "down")
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.becomes(t, n.Name, "warming")
	if got := s.standing(t, n.Name); got.Effective <= 0 || got.Effective > 0.1 || got.Weight != 1 {
		t.Errorf("standing %+v", got)
	}
	spread := func() (there uint64) {
		before := s.readsOn(n.Name)
		for range 100 {
			p := s.enter(t)
			p.get(t, "select 1")
			p.conn.Close()
		}
		return s.readsOn(n.Name) - before
	}
	// A sixteenth of its half would be 3; by chance 20 of 100 come once in
	// billions of times.
	if got := spread(); got > 20 {
		t.Errorf("%d of 100 clients read there at once", got)
	}
	// Without a slow start it has its share at once.
	if err := s.Reload(proxy.Config{Preferences: router.Preferences{SlowStart: -1}, Policy: proxy.Policy{Wait: patience}}); err != nil {
		t.Fatal(err)
	}
	s.becomes(t, n.Name, "serving")
	if got := spread(); got < 20 {
		t.Errorf("%d of 100 clients read there", got)
	}
}

// TestOwnZoneIsPreferred, left when nothing there serves, and come back to.
func TestOwnZoneIsPreferred(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Trust: true})
	s := serving(t, c, router.Preferences{Zone: "z2", SlowStart: -1})
	away, home := c.Replicas()[0], c.Replicas()[1]
	p := s.enter(t)
	read := func() { p.get(t, "select 1") }
	// A read that has to wait takes whoever is there first.
	for range 20 {
		p.get(t, "/* pgroute: eventual */ select 1")
		s.enter(t).get(t, "/* pgroute: eventual */ select 1")
	}
	if n := s.readsOn(away.Name); n != 0 {
		t.Errorf("%d reads ran in another zone", n)
	}
	if err := home.Stop(cluster.Fast); err != nil {
		t.Fatal(err)
	}
	s.becomes(t, home.Name, "down")
	for range 20 {
		read()
	}
	if n := s.readsOn(away.Name); n < 20 {
		t.Errorf("%d reads ran in the other zone", n)
	}
	if err := home.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.becomes(t, home.Name, "serving")
	before := s.readsOn(home.Name)
	eventually(t, func() error {
		if read(); s.readsOn(home.Name) == before {
			return errString("the client is not at home yet")
		}
		return nil
	})
}

// TestRecoveryConflictIsInvisible: a read that a replica cancels, because its
// replay needs what the read holds, is run again elsewhere.
func TestRecoveryConflictIsInvisible(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Trust: true})
	for _, n := range c.Replicas() {
		if err := n.Exec(t.Context(), "alter system set max_standby_streaming_delay = 0", "select pg_reload_conf()"); err != nil {
			t.Fatal(err)
		}
	}
	s := serving(t, c, router.Preferences{})
	p := s.enter(t)
	p.get(t, "create table conflict_t as select 1 as a")
	eventually(t, func() error {
		p.get(t, "select a from conflict_t")
		if role := p.lastRole(t); role != "replica" {
			return errString("read on the " + role)
		}
		return nil
	})
	// It holds its lock while it sleeps.
	const slow = "select a from conflict_t where pg_sleep(3) is not null"
	if err := p.send(frame('Q', slow+"\x00"), nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		for _, n := range c.Replicas() {
			v, err := n.QueryString(t.Context(), "select count(*) from pg_stat_activity where query = $1 and wait_event = 'PgSleep'", slow)
			if err != nil {
				t.Fatal(err)
			}
			if v == "1" {
				return nil
			}
		}
		return errString("the read does not run yet")
	})
	if err := c.Primary().Exec(t.Context(), "alter table conflict_t add column b int"); err != nil {
		t.Fatal(err)
	}
	out, err := p.answer()
	if err != nil || sqlState(out) != "" {
		t.Errorf("the read is told %v, %v", out, err)
	}
	var redone uint64
	for _, r := range s.Stats().Redo {
		if r.SQLState == "40001" {
			redone = r.Count
		}
	}
	if redone == 0 {
		t.Errorf("nothing was run again: %+v", s.Stats().Redo)
	}
}

// TestHungLoginsOpenTheBreaker: a replica whose monitor is happy lets every new
// connection hang. One client that waits for one is enough to find out, and
// gets its answer elsewhere.
func TestHungLoginsOpenTheBreaker(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Trust: true})
	s := serving(t, c, router.Preferences{})
	n := c.Replicas()[0]
	if err := n.StopPostmaster(); err != nil {
		t.Fatal(err)
	}
	for s.readsOn(n.Name) == 0 && s.standing(t, n.Name).State == "serving" {
		p := s.enter(t)
		p.get(t, "select 1")
	}
	s.becomes(t, n.Name, "open")
	for range 20 {
		s.enter(t).get(t, "select 1")
	}
	if got := s.readsOn(n.Name); got != 0 {
		t.Errorf("%d reads ran there", got)
	}
	if got := s.standing(t, n.Name); got.Role != "replica" || got.Healthy || got.Watermark == 0 {
		t.Errorf("standing %+v", got)
	}
	if err := n.Thaw(); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		if s.enter(t).get(t, "select 1"); s.readsOn(n.Name) == 0 {
			return errString("nothing has run there yet")
		}
		return nil
	})
}
