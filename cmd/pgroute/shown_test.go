package main

import (
	"strings"
	"testing"

	"github.com/pgroute/pgroute/proxy"
)

// There is one list of keys, so none can be missing from SHOW CONFIG; secrets
// are in it without their values.
func TestEveryKeyIsShown(t *testing.T) {
	start := loaded(t, "monitor: postgres://monitor:monitorsecret@h/d\nzookeeper_auth: user:zksecret\nloops: 2\nwait: 5ms\npeer: [1=a:1, 2=b:2]\nrules:\n- user: u\n  wait: 1s\n", "--max-lag", "1MB")
	now := loaded(t, "loops: 3\nwait: 6ms\nzone: z\n")
	shown := map[string]proxy.Setting{}
	for _, x := range now.shown(start) {
		if shown[x.Key].Key != "" {
			t.Errorf("%s is shown twice", x.Key)
		}
		shown[x.Key] = x
		if strings.Contains(x.Value, "secret") {
			t.Errorf("%s shows a secret: %s", x.Key, x.Value)
		}
	}
	for _, k := range keys() {
		if x := shown[k.name]; x.Key == "" || x.Default != k.def {
			t.Errorf("%s is shown as %+v", k.name, x)
		}
	}
	if n := len(keys()) + 1; len(shown) != n {
		t.Errorf("%d are shown, want %d", len(shown), n)
	}
	for _, want := range []proxy.Setting{
		{Key: "wait", Value: "6ms", Default: "100ms", Changeable: true, Origin: "file"},
		{Key: "zone", Value: "z", Changeable: true, Origin: "file"},
		{Key: "rules", Value: "0", Default: "0", Changeable: true, Origin: "default"},
		// What only a restart changes is what it was at the start.
		{Key: "loops", Value: "2", Default: "1", Origin: "file"},
		{Key: "max_lag", Value: "1MB", Default: "16MiB", Origin: "flag"},
		{Key: "monitor", Value: hidden, Origin: "file"},
		{Key: "zookeeper_auth", Value: hidden, Origin: "file"},
	} {
		if got := shown[want.Key]; got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	for _, x := range start.shown(start) {
		if x.Key == "peer" && x.Value != "1=a:1,2=b:2" || x.Key == "rules" && x.Value != "1" {
			t.Errorf("%+v", x)
		}
	}
}
