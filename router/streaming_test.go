package router_test

import (
	"bytes"
	"cmp"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgroute/pgroute/router"
)

// A standby whose WAL receiver is gone for more than a moment is told of once,
// and once when it streams again. One that comes and goes is not back.
func TestReplicaWithoutReceiverIsTold(t *testing.T) {
	var log bytes.Buffer
	told := func() [2]int {
		return [2]int{strings.Count(log.String(), "replica does not stream"), strings.Count(log.String(), "replica streams again")}
	}
	run(t, newCluster("a"), router.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))}, func(w *world) {
		a := w.servers["a"]
		receiver := func(timeline uint32) { a.set(func(st *router.Status) { st.Timeline = timeline }) }
		want := func(when string, streams bool, dont, again int) {
			w.Helper()
			if w.node("a").Streams() != streams || told() != [2]int{dont, again} {
				w.Errorf("%s: it streams: %v, told %v", when, w.node("a").Streams(), told())
			}
		}
		want("at first", true, 0, 0)
		receiver(0)
		w.settle()
		want("a moment without", false, 0, 0)
		receiver(1)
		w.settle()
		want("back at once", true, 0, 0)
		receiver(0)
		time.Sleep(4 * time.Second)
		want("without", false, 1, 0)
		for range 5 {
			receiver(1)
			w.settle()
			receiver(0)
			w.settle()
		}
		want("it comes and goes", false, 1, 0)
		receiver(1)
		time.Sleep(4 * time.Second)
		want("back", true, 1, 1)
	})
}

// What is wrong with servers is counted, once for as long as it lasts.
func TestWrongServersAreCounted(t *testing.T) {
	c := newCluster("a", "b")
	c.servers["b"].set(func(st *router.Status) { st.SystemID++ })
	src := newSource(router.Candidates{Nodes: c.nodes, NamesPrimary: true, Primary: "p", Confirmed: time.Now(), ValidFor: time.Hour})
	run(t, c, router.Config{Source: src}, func(w *world) {
		if st := w.r.Stats(); st.Foreign != 1 || st.Claimants != 0 || st.SourceConfirmed.IsZero() {
			t.Errorf("counted: %d foreign, %d claimants, confirmed %v", st.Foreign, st.Claimants, st.SourceConfirmed)
		}
		w.promote("a")
		w.settle()
		w.settle()
		if st := w.r.Stats(); st.Foreign != 1 || st.Claimants != 1 {
			t.Errorf("counted: %d foreign, %d claimants", st.Foreign, st.Claimants)
		}
	})
}

// The only server that says that it is a primary is no second one because the
// source names nobody, or another, as it does whenever the leadership passes on.
func TestUnnamedPrimaryIsNoSecond(t *testing.T) {
	c := newCluster("a", "b")
	named := func(name string) router.Candidates {
		return router.Candidates{Nodes: c.nodes, NamesPrimary: true, Primary: name, Confirmed: time.Now(), ValidFor: time.Hour}
	}
	src := newSource(named("p"))
	log, text := logger()
	run(t, c, router.Config{Source: src, Logger: log}, func(w *world) {
		for _, name := range []string{"", "a", "stranger"} {
			src.updates <- named(name)
			w.settle()
			want := "but the source names " + cmp.Or(name, "nobody")
			if n := strings.Count(text(), want); n != 1 || w.r.Stats().Claimants != 0 {
				t.Errorf("%q was logged %d times, %d claimants", want, n, w.r.Stats().Claimants)
			}
		}
		w.servers["b"].set(func(st *router.Status) { st.InRecovery = false })
		w.settle()
		if n := strings.Count(text(), "but is not the only one"); n != 2 || w.r.Stats().Claimants != 2 {
			t.Errorf("two claim: logged %d times, %d claimants", n, w.r.Stats().Claimants)
		}
	})
}

// That the source does not name a server any more is no failure of the server.
func TestDepartureIsNoFailure(t *testing.T) {
	c := newCluster("a", "b")
	src := newSource(router.Candidates{Nodes: c.nodes})
	log, text := logger()
	run(t, c, router.Config{Source: src, Logger: log}, func(w *world) {
		src.updates <- router.Candidates{Nodes: slices.DeleteFunc(slices.Clone(c.nodes), func(n router.Candidate) bool { return n.Name == "a" })}
		w.settle()
		if want := `level=INFO msg="the source does not name the server any more" node=a`; strings.Count(text(), want) != 1 || strings.Contains(text(), "level=WARN") {
			t.Error(text())
		}
	})
}

// A source that names another cluster than before is told of. What is known
// stands: the servers say themselves whose they are.
func TestAnotherClusterIsTold(t *testing.T) {
	c := newCluster("a")
	named := func(id uint64) router.Candidates {
		return router.Candidates{Nodes: c.nodes, NamesPrimary: true, Primary: "p", SystemID: id, Confirmed: time.Now(), ValidFor: time.Hour}
	}
	src := newSource(named(0))
	log, text := logger()
	run(t, c, router.Config{Source: src, Logger: log}, func(w *world) {
		var own uint64
		w.servers["p"].set(func(st *router.Status) { own = st.SystemID })
		for _, id := range []uint64{own, own + 1, own + 1, own} {
			src.updates <- named(id)
			w.settle()
		}
		if n := strings.Count(text(), "the source names another cluster"); n != 1 || w.r.Stats().Foreign != 1 || !w.node("a").Eligible() {
			t.Errorf("told %d times, counted %d, %s", n, w.r.Stats().Foreign, w.r.Topology())
		}
	})
}
