package router_test

import (
	"bytes"
	"log/slog"
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
