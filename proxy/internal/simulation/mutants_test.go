//go:build pgroute_mutants

package simulation

import (
	"testing"
	"time"

	"github.com/pgroute/pgroute/proxy/internal/backend"
	"github.com/pgroute/pgroute/proxy/internal/client"
	"github.com/pgroute/pgroute/router"
)

// TestMutantsAreFound switches off one rule at a time, and demands that not more
// than so many schedules are needed to notice.
func TestMutantsAreFound(t *testing.T) {
	r, c, b := &router.Mutants, &client.Mutants, &backend.Mutants
	for _, test := range []struct {
		rule string
		on   *bool
		most int
	}{
		{"no ticket (router)", &r.NoTicket, 20},
		{"no ticket (machine)", &c.NoTicket, 20},
		{"floor check off", &r.NoFloor, 20},
		{"moves without a ticket", &r.FreeMove, 2000},
		{"connect ticket off", &r.NoConnectTicket, 1000},
		{"flush position always", &r.FlushAlways, 500},
		{"raw insert position", &r.RawInsert, 2000},
		{"watermark survives its connection", &r.WatermarkSurvives, 2000},
		{"timeline ignored", &r.TimelineIgnored, 1000},
		{"check inside the transaction", &c.CheckInside, 500},
		{"epoch ignored", &b.EpochIgnored, 1000},
		{"leadership ignored", &r.LeadershipIgnored, 1000},
		{"redo of a write", &c.RedoWrite, 500},
		{"bracket ignored", &r.BracketIgnored, 500},
		{"no guard from a replica to the primary", &r.NoGuard, 2000},
		{"no guard for numbers that are given out again", &r.NoReuseGuard, 5000},
	} {
		t.Run(test.rule, func(t *testing.T) {
			*test.on = true
			defer func() { *test.on = false }()
			began := time.Now()
			for n := range test.most {
				p := newPlan(*seed + uint64(n))
				if res := play(t, p, false); res.failure == "" {
					continue
				}
				found := time.Since(began)
				small, res := shrink(t, p, 1500)
				t.Logf("found by schedule %d, after %s; %d events are left of %d: %s", n+1, found.Round(time.Millisecond), len(small.events), len(p.events),
					res.failure)
				if len(small.events) > mostLeft {
					t.Errorf("%d events are left, more than a reader wants to read", len(small.events))
				}
				if testing.Verbose() {
					t.Log(report(small, res))
				}
				return
			}
			t.Errorf("%d schedules, and nobody noticed", test.most)
		})
	}
}

// mostLeft is how many events may be left of a schedule that was shrunk.
const mostLeft = 20
