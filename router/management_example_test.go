package router_test

import (
	"fmt"
	"time"

	"github.com/pgroute/pgroute/router"
)

// Whoever knows of a switchover before it begins holds new work back, and lets
// running transactions end.
func ExampleSwitchover() {
	noon := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	c := router.Candidates{
		NamesPrimary: true,
		Primary:      "pg1",
		Switchover:   router.Switchover{Leader: "pg1", Candidate: "pg2", At: noon},
	}
	for _, now := range []time.Time{noon.Add(-time.Hour), noon} {
		fmt.Println("hold new work back:", c.Switchover.Due(now, 100*time.Millisecond))
	}
	// Output:
	// hold new work back: false
	// hold new work back: true
}

// What the cluster's manager says is there for a status page.
func ExampleManagement() {
	m := router.Management{Manager: "Patroni", Paused: true, Synchronous: router.Synchronous{Standbys: []string{"pg2"}}}
	fmt.Println(m.Manager, "is paused:", m.Paused)
	fmt.Println("commits wait for", m.Synchronous.Standbys)
	// Output:
	// Patroni is paused: true
	// commits wait for [pg2]
}
