package router_test

import (
	"fmt"
	"testing"

	"github.com/pgroute/pgroute/router"
)

func TestNamesAreReadBack(t *testing.T) {
	check := func(zero, want string, parse func(string) (fmt.Stringer, error), names ...string) {
		t.Helper()
		if zero != want {
			t.Errorf("the zero value is %s, want %s", zero, want)
		}
		for _, name := range names {
			v, err := parse(name)
			if err != nil || v.String() != name {
				t.Errorf("%s: %v %v", name, v, err)
			}
		}
		for _, name := range []string{"", "nonsense", names[0] + " "} {
			if v, err := parse(name); err == nil {
				t.Errorf("%q was read as %s", name, v)
			}
		}
	}
	check(router.Level(0).String(), "session", func(s string) (fmt.Stringer, error) { return router.ParseLevel(s) },
		"eventual", "bounded", "session", "strong", "primary")
	check(router.Scope(0).String(), "application", func(s string) (fmt.Stringer, error) { return router.ParseScope(s) },
		"application", "connection")
	check(router.OnTimeout(0).String(), "primary", func(s string) (fmt.Stringer, error) { return router.ParseOnTimeout(s) },
		"primary", "error", "stale")
	check(router.Monotonic(0).String(), "connection", func(s string) (fmt.Stringer, error) { return router.ParseMonotonic(s) },
		"connection", "session", "off")
	check(router.PositionKind(0).String(), "insert", func(s string) (fmt.Stringer, error) { return router.ParsePositionKind(s) },
		"insert", "flush")
}

func TestReasonsAreTheClosedSet(t *testing.T) {
	want := []string{"none", "covered", "waited", "proof", "level", "transaction", "pinned", "not_covered", "no_replica", "redo", "hint", "write"}
	if len(want) != router.NumReasons {
		t.Fatalf("%d reasons, want %d", router.NumReasons, len(want))
	}
	for i, name := range want {
		if got := router.Reason(i).String(); got != name {
			t.Errorf("reason %d is %s, want %s", i, got, name)
		}
	}
	if got := router.Reason(200).String(); got != "unknown(200)" {
		t.Errorf("an unknown reason is %s", got)
	}
}
