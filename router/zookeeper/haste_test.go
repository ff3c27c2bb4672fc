package zookeeper

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestHaste(t *testing.T) {
	for _, test := range []struct {
		view view
		path string
		want haste
	}{
		{&patroniView{path: "/service/demo"}, "/service/demo/failover", atOnce},
		{&patroniView{path: "/service/demo"}, "/service/demo/leader", atOnce},
		{&patroniView{path: "/service/demo"}, "/service/demo/members/pg1", calm},
		{&patroniView{path: "/service/demo"}, "/service/demo/history", soon},
		{&ownView{path: "/pgroute"}, "/pgroute/primary", atOnce},
		{&ownView{path: "/pgroute"}, "/pgroute/switchover", atOnce},
		{&ownView{path: "/pgroute"}, "/pgroute/nodes/pg1", calm},
		{&ownView{path: "/pgroute"}, "/pgroute/nodes", calm},
	} {
		if got := test.view.haste(test.path); got != test.want {
			t.Errorf("%s: %d, want %d", test.path, got, test.want)
		}
	}
}

// The first of many urgent changes waits for nothing, and those that follow at
// its heels for one another, whether or not others are settling.
func TestUrgentChangesHaveAPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &watcher{watches: newWatches((&patroniView{path: "/service/demo"}).haste)}
		for _, wait := range []time.Duration{0, coalesce, coalesce} {
			begin := time.Now()
			if !v.hurry(t.Context()) || time.Since(begin) != wait {
				t.Errorf("read after %s, want %s", time.Since(begin), wait)
			}
		}
		v.watches.urgent <- struct{}{}
		begin := time.Now()
		if !v.settle(t.Context()) || time.Since(begin) != coalesce {
			t.Errorf("after a change that is not urgent: read after %s, want %s", time.Since(begin), coalesce)
		}
		time.Sleep(coalesce)
		begin = time.Now()
		if !v.hurry(t.Context()) || time.Since(begin) != 0 {
			t.Errorf("after a rest: read after %s", time.Since(begin))
		}
	})
}
