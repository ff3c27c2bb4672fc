package proxy_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/pgroute/pgroute/proxy"
)

// TestSessionPool: in pool mode session a client that leaves in any state
// leaves one clean backend for one other client.
func TestSessionPool(t *testing.T) {
	s := start(t, proxy.Config{Source: source(use(t, trusting)), Auth: proxy.AuthTrust, PoolSize: 4, PoolMode: proxy.PoolSession})
	for round, last := range []string{"select 1", "create temp table kept (a int)", "begin", "listen kept", "set work_mem = '3MB'", "select 1/0"} {
		for range 4 {
			p := s.enter(t)
			p.get(t, "select 1")
			if _, err := p.ask(last); err != nil {
				t.Fatal(err)
			}
			p.conn.Close()
		}
		var all sync.WaitGroup
		for i := range 4 {
			p := s.enter(t)
			all.Go(func() {
				defer p.conn.Close()
				for n := range 20 {
					want := fmt.Sprintf("%d %d %d", round, i, n)
					out, err := p.ask("select '" + want + "', count(*), current_setting('work_mem') from pg_class where relname = 'kept' having pg_backend_pid() > 0")
					if err != nil || len(out) < 2 || out[1].typ != 'D' || string(out[1].body[6:6+len(want)]) != want {
						t.Errorf("after %q: the answer to %s is %v, %v", last, want, out, err)
						return
					}
				}
			})
		}
		all.Wait()
	}
}
