package client

import (
	"maps"
	"testing"

	"github.com/pgroute/pgroute/router"
)

// The reads of a node that has gone are not its successor's, which has its ID; a
// server that comes back goes on counting.
func TestReadsAreTheirNodes(t *testing.T) {
	a, b, again := &router.Node{ID: 3}, &router.Node{ID: 3}, &router.Node{ID: 3}
	a.Name, b.Name, again.Name = "a", "b", "b"
	var s Stats
	count := func() map[string]uint64 {
		got := make(map[string]uint64)
		s.EachRead(func(node string, _ router.Role, _ router.Reason, n uint64) { got[node] += n })
		return got
	}
	for i, x := range []struct {
		n    *router.Node
		want map[string]uint64
	}{
		{a, map[string]uint64{"a": 1}},
		{a, map[string]uint64{"a": 2}},
		{b, map[string]uint64{"": 2, "b": 1}},
		{again, map[string]uint64{"": 2, "b": 2}},
	} {
		s.Read(x.n, router.RoleReplica, 0)
		if got := count(); !maps.Equal(got, x.want) {
			t.Errorf("after read %d: %v, not %v", i, got, x.want)
		}
	}
}
