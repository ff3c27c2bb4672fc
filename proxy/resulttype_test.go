package proxy_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/proxy"
	"github.com/pgroute/pgroute/proxy/internal/wire"
	"github.com/pgroute/pgroute/router"
)

// TestResultTypeOnAnotherBackend: a statement whose result has changed its type
// is refused as on a direct connection, although the client has come to a backend
// that never knew what it was; and one that has not is run.
func TestResultTypeOnAnotherBackend(t *testing.T) {
	c := use(t, trusting)
	s := start(t, proxy.Config{Source: source(c), Auth: proxy.AuthTrust, PoolSize: 2, Policy: proxy.Policy{Consistency: router.LevelPrimary}})
	direct, err := login(c.Primary().Addr(), cluster.SuperUser, cluster.AppDatabase)
	if err != nil {
		t.Fatal(err)
	}
	defer direct.conn.Close()
	setup := s.enter(t)
	prepare := wire.AppendParse(nil, []byte("s"), []byte("select a, v from result_t\x00\x00\x00"))
	prepare = wire.AppendSync(wire.AppendNamed(prepare, 'D', 'S', []byte("s")))
	run := wire.AppendBind(nil, nil, []byte("s"), make([]byte, 6))
	run = wire.AppendSync(append(run, 'E', 0, 0, 0, 9, 0, 0, 0, 0, 0))
	again := append(wire.AppendNamed(nil, 'C', 'S', []byte("s")), prepare...)
	for name, change := range map[string]struct {
		sql  string
		code string
	}{
		"another type":     {"alter table result_t alter v type text", "0A000"},
		"another modifier": {"alter table result_t alter v type numeric(12, 4)", "0A000"},
		"another name":     {"alter table result_t rename v to w; alter table result_t add v text", "0A000"},
		"another table":    {"alter table result_t add x int", ""},
		"none any more":    {"alter table result_t drop v", "42703"},
	} {
		t.Run(name, func(t *testing.T) {
			setup.get(t, "drop table if exists result_t")
			setup.get(t, "create table result_t (a int, v numeric(10, 2))")
			setup.get(t, "insert into result_t values (1, 2)")
			p := s.enter(t)
			for _, who := range []*peer{direct, p} {
				if got := who.must(t, step{bytes: again, ready: 1}); has(got, "E V") {
					t.Fatalf("the statement is answered %q", got)
				}
			}
			setup.get(t, change.sql)
			holder := s.enter(t) // has the warmest backend, which is the one that knows it
			holder.get(t, "begin; select 1 from result_t for update")
			for range 2 {
				want := direct.must(t, step{bytes: run, ready: 1})
				got := p.must(t, step{bytes: run, ready: 1})
				if !slices.Equal(got, want) {
					t.Errorf("the client is told\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
				}
				if code := change.code; code != "" && !has(want, "C="+code) || code == "" && has(want, "E V") {
					t.Errorf("PostgreSQL says %q", want)
				}
			}
			if change.code == "0A000" {
				want, got := direct.must(t, step{bytes: append(again, run...), ready: 2}), p.must(t, step{bytes: append(again, run...), ready: 2})
				if has(got, "E V") || !slices.Equal(got, want) {
					t.Errorf("prepared anew it is\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
				}
			}
			holder.conn.Close()
			p.conn.Close()
		})
	}
}
