package pgprobe_test

import (
	"context"
	"syscall"
	"testing"
	"time"

	"github.com/pgroute/pgroute/internal/cluster"
)

func TestHotCallsDoNotAllocate(t *testing.T) {
	c := start(t, cluster.Options{Replicas: 1})
	primary, replica := connect(t, monitorDSN, addr(c.Primary())), connect(t, monitorDSN, addr(c.Replicas()[0]))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if n := testing.AllocsPerRun(200, func() {
		if _, _, err := primary.Insert(ctx); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("Insert allocates %v times", n)
	}
	if n := testing.AllocsPerRun(200, func() {
		if _, err := replica.Replay(ctx); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("Replay allocates %v times", n)
	}
}

// cpu is the time that this process has spent, for the cost of a call beside
// its latency.
func cpu() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

func BenchmarkInsert(b *testing.B) {
	c := start(b, cluster.Options{Replicas: -1})
	probe := connect(b, monitorDSN, addr(c.Primary()))
	bench(b, func(ctx context.Context) error { _, _, err := probe.Insert(ctx); return err })
}

func BenchmarkReplay(b *testing.B) {
	c := start(b, cluster.Options{Replicas: 1})
	probe := connect(b, monitorDSN, addr(c.Replicas()[0]))
	bench(b, func(ctx context.Context) error { _, err := probe.Replay(ctx); return err })
}

func BenchmarkIdentify(b *testing.B) {
	c := start(b, cluster.Options{Replicas: -1})
	probe := connect(b, monitorDSN, addr(c.Primary()))
	bench(b, func(ctx context.Context) error { _, err := probe.Identify(ctx); return err })
}

func bench(b *testing.B, call func(context.Context) error) {
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	b.ReportAllocs()
	before := cpu()
	for b.Loop() {
		must(b, call(ctx))
	}
	b.ReportMetric(float64((cpu()-before).Nanoseconds())/float64(b.N)/1e3, "cpu-µs/op")
}
