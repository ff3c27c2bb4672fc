package main

import (
	"strings"
	"testing"
)

func TestReadsJudgements(t *testing.T) {
	out := `============== running regression test queries        ==============
test test_setup                   ... ok          601 ms
parallel group (2 tests):  varchar boolean
     boolean                      ... ok          123 ms
     varchar                      ... FAILED       99 ms
     random                       ... failed (ignored)   20 ms
 3 of 4 tests failed, 1 of these failures ignored.
`
	found := outcomes{}
	for _, m := range judgement.FindAllStringSubmatch(out, -1) {
		found[m[1]] = outcome(m[2])
	}
	want := outcomes{"test_setup": "ok", "boolean": "ok", "varchar": "FAILED", "random": "failed (ignored)"}
	if len(found) != len(want) {
		t.Fatalf("found %v, want %v", found, want)
	}
	for name := range want {
		if found[name] != want[name] {
			t.Errorf("%s: %q, want %q", name, found[name], want[name])
		}
	}
}

func TestReadsTAP(t *testing.T) {
	for _, tc := range []struct {
		name, out               string
		passed, failed, skipped int
	}{
		{"all well", "1..2\nok 1 - a\nok 2 - b\n", 2, 0, 0},
		{"one fails", "1..2\nok 1 - a\nnot ok 2 - b\n", 1, 1, 0},
		{"it ended early", "1..3\nok 1 - a\nok 2 - b\n", 2, 1, 0},
		{"it said nothing", "", 0, 1, 0},
		{"the plan comes last, one is skipped, one is to do", "ok 1 # skip no server\nnot ok 2 # TODO later\n1..2\n", 1, 0, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			found := outcomes{}
			addTAP(found, "x", tc.out)
			if p, f, s := found.count(passed), found.count(failed), found.count(skipped); p != tc.passed || f != tc.failed || s != tc.skipped {
				t.Errorf("passed %d, failed %d, skipped %d; want %d, %d, %d", p, f, s, tc.passed, tc.failed, tc.skipped)
			}
		})
	}
}

// TestDifferencesAreTold: a test that passes directly only makes the run fail,
// one that fails either way does not.
func TestDifferencesAreTold(t *testing.T) {
	for _, tc := range []struct {
		name            string
		direct, proxied outcomes
		unexpected      bool
		told            string
	}{
		{"the same", outcomes{"a": passed, "b": failed}, outcomes{"a": passed, "b": failed}, false, "failed both ways: b"},
		{"one fails", outcomes{"a": passed}, outcomes{"a": failed}, true, "s a: passed directly, failed through pgroute"},
		{"one did not run", outcomes{"a": passed}, outcomes{}, true, "s a: passed directly, not run through pgroute"},
		{"one is better", outcomes{"a": failed}, outcomes{"a": passed}, false, "s a: failed directly, passed through pgroute"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newSheet()
			s.add("s", tc.direct, tc.proxied, reads{})
			if got := s.unexpected(); got != tc.unexpected {
				t.Errorf("unexpected is %v, want %v", got, tc.unexpected)
			}
			var b strings.Builder
			s.print(&b)
			if !strings.Contains(b.String(), tc.told) {
				t.Errorf("%q is not in\n%s", tc.told, b.String())
			}
		})
	}
}
