package proxy_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/proxy"
)

// TestPromotion: clients with settings of their own over the connections that
// a replica has from before it was promoted.
func TestPromotion(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Trust: true, Replicas: 1})
	s := start(t, proxy.Config{Source: source(c), Auth: proxy.AuthTrust})
	var clients []*peer
	for i := range 8 {
		p := s.enter(t)
		p.get(t, fmt.Sprintf("set application_name = 'promoted %d'", i))
		clients = append(clients, p)
	}
	clients[0].get(t, "create table promoted_t (a int)")
	each := func(sql string) {
		t.Helper()
		var all sync.WaitGroup
		for _, p := range clients {
			all.Go(func() {
				if out, err := p.ask(sql); err != nil || sqlState(out) != "" {
					t.Errorf("%s: %v, %v", sql, out, err)
				}
			})
		}
		all.Wait()
	}
	eventually(t, func() error { // the replica's connections are there
		each("select pg_sleep(0.05)")
		if role := clients[0].lastRole(t); role != "replica" {
			return errString("reads on the " + role)
		}
		return nil
	})
	if err := c.WaitCaughtUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	// A read that ends after the promotion brings its connection back then.
	late := s.enter(t)
	if err := late.send(frame('Q', "select pg_sleep(3)\x00"), nil); err != nil {
		t.Fatal(err)
	}
	if err := c.Failover(t.Context(), c.Replicas()[0]); err != nil {
		t.Fatal(err)
	}
	for _, p := range clients[:3] {
		p.get(t, "begin")
		p.get(t, "insert into promoted_t values (1)")
	}
	if out, err := late.answer(); err != nil || sqlState(out) != "" {
		t.Errorf("the long read is told %v, %v", out, err)
	}
	for _, p := range clients[:3] {
		p.get(t, "commit")
	}
	clients[7].get(t, "insert into promoted_t values (1)")
	for range 3 {
		each("insert into promoted_t values (1)")
		each("select count(*) from promoted_t")
	}
	for i, p := range clients {
		if got, want := p.get(t, "show application_name"), fmt.Sprintf("promoted %d", i); got != want {
			t.Errorf("client %d is called %q", i, got)
		}
	}
	if n := clients[3].get(t, "select count(*) from promoted_t"); n != "28" {
		t.Errorf("%s rows, want 28", n)
	}
}
