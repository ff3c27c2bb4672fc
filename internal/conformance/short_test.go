package main

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// shortSchedule is the part of PostgreSQL's regression suite that tries hardest
// what a pooler may break: transactions, prepared statements, cursors, settings,
// temporary tables, COPY, locks, roles, two-phase commit.
const shortSchedule = `test: test_setup
test: boolean int4 timestamptz
test: transactions prepare portals_p2
test: temp guc namespace
test: prepared_xacts
test: advisory_lock copyselect copydml
test: largeobject plancache combocid
test: async dbsize tidscan
`

// TestShort runs a part of the suite through pgroute with fewer server
// connections than there are clients in all, so that tests get connections that
// others have used.
func TestShort(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	work, err := newWorkdir(filepath.Join(root, "build", "conformance"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(work.remove)
	s := suites[0]
	if reason := s.missing(work); reason != "" || !work.has(serverDir) {
		t.Skipf("PostgreSQL's regression suite was not fetched (%s): run scripts/conformance.sh --suite", reason)
	}
	if err := work.unpack(); err != nil {
		t.Fatal(err)
	}
	if err := work.buildProxy(t.Context(), root); err != nil {
		t.Fatal(err)
	}
	target, err := newTarget(t.Context(), work, throughProxy, s, []string{"--pool-size", "4"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := target.close(); err != nil {
			t.Error(err)
		}
	})
	dir, err := work.folder("short")
	if err != nil {
		t.Fatal(err)
	}
	found, err := regress(t.Context(), work, target, dir, shortSchedule)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Fields(strings.ReplaceAll(shortSchedule, "test:", ""))
	slices.Sort(want)
	if !slices.Equal(found.names(), want) {
		t.Errorf("the tests %v ran, want %v", found.names(), want)
	}
	for _, name := range found.names() {
		if found[name] != passed {
			t.Errorf("%s: %s; the differences are in build/conformance/kept", name, found[name])
		}
	}
	served, err := target.reads(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d tests; %d reads on replicas, %d on the primary", len(found), served.replica, served.primary)
}
