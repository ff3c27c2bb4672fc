//go:build pgroute_mutants

package verify_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/internal/verify"
	"github.com/pgroute/pgroute/proxy"
	"github.com/pgroute/pgroute/router"
)

// mutants are the rules without which the workloads find something, and what
// they find. The others need more than reads and writes, or faults that package
// stress holds the servers in.
var mutants = []struct {
	name   string
	off    *bool
	params string // of the connection strings
	finds  []string
}{
	{"router NoFloor", &router.Mutants.NoFloor, "", []string{verify.OwnWriteMissing, verify.StaleStrong, verify.TooStale, verify.WentBack, verify.NotLinearizable}},
	{"router NoTicket", &router.Mutants.NoTicket, "", []string{verify.OwnWriteMissing}},
	{"proxy NoTicket", &proxy.Mutants().NoTicket, "", []string{verify.OwnWriteMissing}},
	{"router NoConnectTicket", &router.Mutants.NoConnectTicket, "", []string{verify.OwnWriteMissing}},
	{"router FreeMove", &router.Mutants.FreeMove, "", []string{verify.WentBack}},
	{"router FlushAlways", &router.Mutants.FlushAlways, "&synchronous_commit=off", []string{verify.OwnWriteMissing, verify.StaleStrong}},
	{"proxy CheckInside", &proxy.Mutants().CheckInside, "", []string{verify.OwnWriteMissing, verify.WentBack, verify.StaleStrong}},
}

// TestMutants takes away one rule after the other and demands that it is found,
// and that nothing is while all are there.
func TestMutants(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Trust: true, Replicas: 2, Settings: map[string]string{"wal_writer_delay": "10s"}})
	if err := c.WaitCaughtUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	var rows strings.Builder
	for _, m := range mutants {
		for _, kept := range []bool{true, false} {
			if kept && m.params == "" && m.name != mutants[0].name {
				continue // the same as the first
			}
			t.Run(fmt.Sprintf("%s/kept=%v", m.name, kept), func(t *testing.T) {
				if !kept {
					*m.off = true
					// The proxies of the test end before: cleanups run in reverse.
					t.Cleanup(func() { *m.off = false })
				}
				found := map[string]int{}
				// Luck decides when it is found; it is given several chances.
				for tries := 1; tries <= 8; tries++ {
					r := tryMutant(t, c, m.params)
					if kept && !r.OK() {
						t.Fatalf("all rules are kept, and yet: %s", text(t, r))
					}
					if kept {
						return
					}
					for kind, n := range r.Found {
						found[kind] += n
					}
					if slices.ContainsFunc(m.finds, func(kind string) bool { return found[kind] > 0 }) {
						fmt.Fprintf(&rows, "%-24s %v, in try %d\n", m.name, found, tries)
						for kind := range maps.Keys(found) {
							if !slices.Contains(m.finds, kind) {
								t.Logf("found besides: %s: %s", kind, text(t, r))
							}
						}
						return
					}
				}
				fmt.Fprintf(&rows, "%-24s NOT FOUND (%v)\n", m.name, found)
				t.Errorf("nothing was found of %v, but %v", m.finds, found)
			})
		}
	}
	t.Logf("\n%s", rows.String())
}

// tryMutant runs all workloads for a while, through two proxies over replicas
// that stand still again and again.
func tryMutant(t *testing.T, c *cluster.Cluster, params string) *verify.Report {
	t.Helper()
	src := newSource(c.Nodes()...)
	targets := []verify.Target{startProxy(t, "a", src, 2), startProxy(t, "b", src, 2)}
	for i := range targets {
		targets[i].DSN += params
	}
	ctx, stop := context.WithCancel(t.Context())
	done := jitter(ctx, t, c)
	r, err := verify.Run(t.Context(), verify.Options{Targets: targets, For: 3 * time.Second})
	stop()
	<-done
	if err != nil {
		t.Fatal(err)
	}
	return r
}
