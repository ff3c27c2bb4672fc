package zookeeper

import "testing"

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
