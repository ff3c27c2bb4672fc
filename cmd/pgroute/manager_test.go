package main

import (
	"testing"
	"time"

	"github.com/pgroute/pgroute/router"
)

func TestDescribeManager(t *testing.T) {
	for _, tt := range []struct {
		m    router.Management
		s    router.Switchover
		want string
	}{
		{router.Management{}, router.Switchover{}, ""},
		{router.Management{}, router.Switchover{Leader: "p"}, "switchover of p now"},
		{router.Management{Manager: "Patroni"}, router.Switchover{}, "managed by Patroni"},
		{router.Management{Manager: "Patroni", Paused: true, Failsafe: true, Synchronous: router.Synchronous{Standbys: []string{"a", "b"}, Quorum: 1}},
			router.Switchover{Leader: "p", At: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)},
			"managed by Patroni; paused: nobody takes over when the primary fails; failsafe mode; synchronous: a, b (quorum 1); switchover of p at 2026-01-02T03:04:05Z"},
		{router.Management{Manager: "Patroni", Standby: true}, router.Switchover{Leader: "p", Candidate: "a"},
			"managed by Patroni; a standby cluster: it takes no writes; switchover of p to a now"},
	} {
		if got := describeManager(&router.Topology{Management: &tt.m, Switchover: tt.s}); got != tt.want {
			t.Errorf("got  %q\nwant %q", got, tt.want)
		}
	}
}
