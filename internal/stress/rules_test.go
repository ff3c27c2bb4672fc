package stress_test

import (
	"context"
	"errors"
	"testing"

	"github.com/pgroute/pgroute/internal/cluster"
)

// rule is one of the rules that every answer depends on, with a test that a
// proxy without it fails. The test knows no luck: servers are held where the
// rule matters.
type rule struct {
	mutant string // the switch that takes the rule away
	says   string
	check  func(*lab) error
}

var rules = []rule{
	{"NoFloor", "a replica serves a read only if it covers the floor", readOwnWrite},
	{"NoTicket", "a write takes a ticket before it is acknowledged", readOtherConnection},
	{"CheckInside", "the floor is checked before REPEATABLE READ takes its snapshot", readInSnapshot},
	{"FlushAlways", "a ticket is answered with the insert position", readUnflushed},
	{"RawInsert", "insert positions are normalised", readAtPageBoundary},
	{"WatermarkSurvives", "a watermark dies with its connection", readAfterRestore},
	{"TimelineIgnored", "a replica counts only on the current timeline", readAcrossTimelines},
	{"NoConnectTicket", "a client that connects takes a ticket", readAfterReconnect},
	{"NoNotifyTicket", "a forwarded notification takes a ticket", readAfterNotification},
	{"UnguardedAlign", "a read waits until its settings are in force", readAsNewRole},
	{"FreeMove", "a client changes its replica only with a ticket", readAfterMove},
	{"NoGuard", "the primary shows what a replica showed before it is read", readAfterReplica},
	{"NoReuseGuard", "a transaction's number counts only in the history that gave it out", commitGivenOutAgain},
}

// TestRules holds the servers where each rule matters, and finds it kept.
func TestRules(t *testing.T) {
	c := startLab(t)
	for _, r := range rules {
		t.Run(r.mutant, func(t *testing.T) {
			if err := r.try(t, c); err != nil {
				t.Errorf("%s: %v", r.says, err)
			}
		})
	}
}

// try runs the rule's test and cures the servers afterwards.
func (r *rule) try(t *testing.T, c *cluster.Cluster) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	l := &lab{t: t, ctx: ctx, c: c, src: newSource(c.Nodes()...)}
	err := r.check(l)
	return errors.Join(err, l.cure())
}
