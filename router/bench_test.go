package router_test

import (
	"context"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/pgroute/pgroute/router"
)

// begin returns a running router over c, outside of a bubble.
func begin(b *testing.B, c *cluster) *router.Router {
	src := newSource(router.Candidates{Nodes: c.nodes})
	src.begin()
	r, err := router.New(router.Config{Source: src, Prober: c, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- r.Run(ctx) }()
	b.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	})
	if err := r.WaitTopology(ctx, func(t *router.Topology) bool { return t.Replicas() == len(c.nodes)-1 }); err != nil {
		b.Fatal(err)
	}
	return r
}

func BenchmarkTicket(b *testing.B) {
	r := begin(b, newCluster("a", "b"))
	b.ReportAllocs()
	for b.Loop() {
		r.Ticket()
	}
}

// BenchmarkCoveredRead is all that the router does for a read that a replica
// can serve at once.
func BenchmarkCoveredRead(b *testing.B) {
	r := begin(b, newCluster("a", "b"))
	var c router.Chain
	c.Init(r, router.NewSession(), true)
	if _, err := r.WaitTicket(context.Background(), r.Ticket()); err != nil {
		b.Fatal(err)
	}
	q := router.Request{Wait: time.Second}
	w := newWaiter()
	now := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		r.Begin(&q, &c, now)
		d, done := r.Decide(&q, &c, now, w)
		if !done || !d.Node.Covers(d.Floor, 0, 0) {
			b.Fatal("not covered")
		}
		c.SawReplica(d.Node)
		d.Done()
	}
}
