package lab_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/pgroute/pgroute/internal/booklab/api"
	"github.com/pgroute/pgroute/internal/booklab/lab"
	"github.com/pgroute/pgroute/internal/cluster"
)

// Every part can be taken away and brought back: afterwards everybody knows
// everybody again, and bookings work.
func TestEveryPartComesBack(t *testing.T) {
	l := lab.ForTest(t, lab.Options{})
	client := &api.Client{HTTP: &http.Client{Timeout: patience}}
	program, err := client.Slots(t.Context(), l.URL())
	if err != nil {
		t.Fatal(err)
	}
	slot, room := program.Slots[0].ID, program.Rooms[0].ID
	book := func(customer string) {
		t.Helper()
		seats, err := client.Seats(t.Context(), l.URL(), slot, room, api.How{Level: "strong"})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range seats.Seats {
			if s.Taken {
				continue
			}
			if _, err := client.Book(t.Context(), l.URL(), strings.ReplaceAll(customer, " ", "-"), api.Wish{Slot: slot, Seat: s.ID, Customer: customer}); err != nil {
				t.Fatal(err)
			}
			return
		}
		t.Fatal("no seat is free")
	}
	book("the first")
	replica := l.Cluster.Replicas()[0]
	for _, tt := range []struct {
		name       string
		away, back func(context.Context) error
	}{
		{"a sidecar", func(context.Context) error { return l.Sidecars[0].Kill() }, l.Sidecars[0].Start},
		{"an instance over a sidecar", func(context.Context) error { return l.Instances[0].Kill() }, l.Instances[0].Start},
		{"an instance over the library", func(context.Context) error { return l.Instances[2].Stop() }, l.Instances[2].Start},
		{"the balancer", func(context.Context) error { return l.Balancer.Kill() }, l.Balancer.Start},
		{"a replica", func(context.Context) error { return replica.Stop(cluster.Kill) }, replica.Start},
		{"the replay of a replica", replica.PauseReplay, replica.ResumeReplay},
		{"ZooKeeper", func(context.Context) error { return l.ZooKeeper.Kill() }, l.ZooKeeper.Start},
	} {
		if err := tt.away(t.Context()); err != nil {
			t.Fatalf("%s goes away: %v", tt.name, err)
		}
		if err := tt.back(t.Context()); err != nil {
			t.Fatalf("%s comes back: %v", tt.name, err)
		}
		if err := l.WaitReady(t.Context()); err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		book(tt.name)
	}
	if l.Instances[2].Over != nil || l.Instances[2].Via() != "library" || l.Instances[0].Over != l.Sidecars[0] || l.Instances[1].Over != l.Sidecars[1] {
		t.Error("the instances are not over two sidecars and the library")
	}
	if !strings.Contains(l.DSN(l.Sidecars[1]), l.Sidecars[1].Addr) {
		t.Errorf("DSN %s", l.DSN(l.Sidecars[1]))
	}
}
