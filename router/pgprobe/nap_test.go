package pgprobe_test

import (
	"testing"
	"time"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/router"
)

// A nap is not over before its time, but for a signal. How late it ends depends
// on the machine; the log tells.
func TestNap(t *testing.T) {
	c := start(t, cluster.Options{Replicas: -1})
	probe, ok := connect(t, monitorDSN, addr(c.Primary())).(router.Napper)
	if !ok {
		t.Fatal("a probe cannot nap")
	}
	const each, naps = 200 * time.Microsecond, 50
	early := 0
	began := time.Now()
	for range naps {
		asleep := time.Now()
		probe.Nap(each)
		if time.Since(asleep) < each {
			early++
		}
	}
	t.Logf("%v each", time.Since(began)/naps)
	if early > naps/2 {
		t.Errorf("%d of %d naps ended early", early, naps)
	}
}
