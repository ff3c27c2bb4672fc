package proxy_test

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/proxy"
	"github.com/pgroute/pgroute/proxy/internal/wire"
)

const (
	diffClients = 4
	diffSteps   = 300
	diffPast    = 12
)

// TestSameAnswers lets random clients talk to the primary directly and, in a
// database of the same content, through the proxy: they must be told the same.
func TestSameAnswers(t *testing.T) {
	sameAnswers(t, "direct", proxy.Policy{Wait: patience}, newScript)
}

// sameAnswers plays scripts in the database named direct and, through a proxy,
// in another like it.
func sameAnswers(t *testing.T, database string, policy proxy.Policy, script func(seed uint64, t string) *script) *served {
	t.Helper()
	c := use(t, trusting)
	if err := c.Primary().Exec(t.Context(), "create database "+database); err != nil {
		t.Fatal(err)
	}
	conn := connect(t, c.Primary().DSN(cluster.SuperUser, cluster.SuperPassword, database))
	sql := `create procedure proc_commit(name text) language plpgsql as $$ begin execute 'insert into ' || name || ' (v) values (9)'; commit; end $$;`
	for i := range diffClients {
		sql += fmt.Sprintf("create table t_%d (id int generated always as identity primary key, v int); insert into t_%[1]d (v) select x from generate_series(1, 20) x; grant all on t_%[1]d to app;"+
			"create view v_t_%[1]d as select current_date - current_date as days, count(*) from t_%[1]d; create function f_t_%[1]d() returns bigint stable language sql as 'select count(*) from t_%[1]d';", i)
	}
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
	conn.Close(t.Context())
	if err := c.Primary().Exec(t.Context(), "create database "+database+"_proxied template "+database); err != nil {
		t.Fatal(err)
	}
	s := start(t, proxy.Config{Source: source(c), Auth: proxy.AuthTrust, PoolSize: diffClients, Policy: policy})
	seed := uint64(time.Now().UnixNano()) % 100000
	if v := os.Getenv("PGROUTE_SEED"); v != "" {
		seed, _ = strconv.ParseUint(v, 10, 64)
	}
	var clients sync.WaitGroup
	for i := range diffClients {
		clients.Go(func() { compare(t, c, s, database, seed+uint64(i), script(seed+uint64(i), fmt.Sprintf("t_%d", i))) })
	}
	clients.Wait()
	return s
}

// compare plays one script on both sides.
func compare(t *testing.T, c *cluster.Cluster, s *served, database string, seed uint64, x *script) {
	direct, err := login(c.Primary().Addr(), cluster.SuperUser, database)
	if err != nil {
		t.Error(err)
		return
	}
	defer direct.conn.Close()
	proxied, err := login(s.addr(), cluster.SuperUser, database+"_proxied")
	if err != nil {
		t.Error(err)
		return
	}
	defer proxied.conn.Close()
	var past []string
	for range diffSteps {
		st := x.next()
		past = append(past, st.text)
		want, err := direct.play(st, nil)
		if err != nil {
			t.Errorf("seed %d: direct: %v after %q", seed, err, st.text)
			return
		}
		got, err := proxied.play(st, x.Rand)
		if slices.ContainsFunc(got, func(m string) bool {
			return strings.Contains(m, "M=pgroute: this read-only transaction runs on a replica") ||
				// The clients share a floor: others have raised it, and the
				// replica stands still on a busy machine.
				strings.Contains(m, "C=40001 M=the replica of this transaction")
		}) {
			// The client has to begin anew.
			for _, p := range []*peer{direct, proxied} {
				if _, err := p.play(step{bytes: wire.AppendQuery(nil, "rollback"), ready: 1}, nil); err != nil {
					t.Errorf("seed %d: %v", seed, err)
					return
				}
			}
			continue
		}
		if slices.Contains(certain(got), refused) && got[len(got)-1] == want[len(want)-1] && strings.HasPrefix(want[len(want)-1], "Z \"E") {
			continue // in a failed transaction a statement cannot come to a backend that lacks it
		}
		if err != nil || !slices.Equal(certain(got), certain(want)) {
			t.Errorf("seed %d: after\n\t%s\nthe proxy says (%v)\n\t%s\nwant\n\t%s", seed, strings.Join(past[max(0, len(past)-diffPast):], "\n\t"), err,
				strings.Join(certain(got), "\n\t"), strings.Join(certain(want), "\n\t"))
			return
		}
	}
}

const refused = "E 25P02 or 42P05"

// certain leaves out what may differ.
func certain(answer []string) []string {
	var out []string
	for _, m := range answer {
		switch {
		case strings.HasPrefix(m, "E V=ERROR C=25P02"), strings.HasPrefix(m, "E V=ERROR C=42P05"):
			// A name that is taken cannot be looked up on a backend that does
			// not know it while the transaction has failed.
			out = append(out, refused)
		default:
			out = append(out, m)
		}
	}
	return out
}
