package simulation

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pgroute/pgroute/proxy/internal/client"
	"github.com/pgroute/pgroute/router"
)

// coverage counts what has happened, to show that schedules reach what they
// are to test.
type coverage struct {
	statements, primaryReads, replicaReads           int
	failovers, lossy, kills, recoveries, rebuilds    int
	asyncCommits, asyncLost, freezes, partitions     int
	cuts, silences, reconnects, cancels, disconnects int
	waits, primaryWaits, readings, outdated          int
	failedDials, leaseTimeouts, topologies           int
	refusedWrites, splitAcks                         int
	lostTold, maybeLost, maybeKept                   int
	turns, items, probes, unseen, wentBack           int
	steps, given, taken                              int
	redone                                           map[string]uint64
	reasons                                          [router.ReasonWrite + 1]int
	levels                                           [8]int
	errors                                           map[string]int
	hopeless, budgetFull, nudges, tickets, positions uint64
	looks, guardWaits, unproven, refused             uint64
	commits                                          [router.OutcomeNotAsked + 1]uint64
}

// add takes what the router and the machines have counted themselves.
func (c *coverage) add(s router.Stats, m *client.Stats) {
	c.hopeless, c.budgetFull, c.nudges, c.tickets, c.positions = s.Hopeless, s.BudgetFull, s.Nudges, s.Tickets, s.PositionCalls
	c.looks, c.guardWaits, c.unproven, c.refused = s.Looks, s.GuardWaits, s.GuardUnproven, s.GuardRefused
	for o, n := range s.Commits {
		c.commits[o] = n
	}
	c.redone = map[string]uint64{}
	m.EachRedo(func(code string, n uint64) { c.redone[code] += n })
}

// merge adds what another schedule has covered.
func (c *coverage) merge(o *coverage) {
	for _, p := range []struct{ a, b *int }{
		{&c.statements, &o.statements}, {&c.primaryReads, &o.primaryReads}, {&c.replicaReads, &o.replicaReads}, {&c.failovers, &o.failovers},
		{&c.lossy, &o.lossy}, {&c.kills, &o.kills}, {&c.recoveries, &o.recoveries}, {&c.rebuilds, &o.rebuilds}, {&c.asyncCommits, &o.asyncCommits},
		{&c.asyncLost, &o.asyncLost}, {&c.freezes, &o.freezes}, {&c.partitions, &o.partitions}, {&c.cuts, &o.cuts}, {&c.silences, &o.silences},
		{&c.reconnects, &o.reconnects}, {&c.cancels, &o.cancels}, {&c.disconnects, &o.disconnects}, {&c.waits, &o.waits},
		{&c.primaryWaits, &o.primaryWaits}, {&c.readings, &o.readings}, {&c.outdated, &o.outdated}, {&c.failedDials, &o.failedDials},
		{&c.leaseTimeouts, &o.leaseTimeouts}, {&c.topologies, &o.topologies}, {&c.refusedWrites, &o.refusedWrites}, {&c.splitAcks, &o.splitAcks},
		{&c.lostTold, &o.lostTold}, {&c.maybeLost, &o.maybeLost}, {&c.maybeKept, &o.maybeKept},
		{&c.turns, &o.turns}, {&c.items, &o.items}, {&c.probes, &o.probes}, {&c.unseen, &o.unseen}, {&c.wentBack, &o.wentBack},
		{&c.steps, &o.steps}, {&c.given, &o.given}, {&c.taken, &o.taken},
	} {
		*p.a += *p.b
	}
	c.hopeless += o.hopeless
	c.budgetFull += o.budgetFull
	c.nudges += o.nudges
	c.tickets += o.tickets
	c.positions += o.positions
	c.looks += o.looks
	c.guardWaits += o.guardWaits
	c.unproven += o.unproven
	c.refused += o.refused
	for i, n := range o.commits {
		c.commits[i] += n
	}
	for i := range c.reasons {
		c.reasons[i] += o.reasons[i]
	}
	for i := range c.levels {
		c.levels[i] += o.levels[i]
	}
	if c.errors == nil {
		c.errors, c.redone = map[string]int{}, map[string]uint64{}
	}
	for k, n := range o.errors {
		c.errors[k] += n
	}
	for k, n := range o.redone {
		c.redone[k] += n
	}
}

func (c *coverage) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "statements %d: reads on replicas %d, on the primary %d; waits for a replica %d, for a primary %d, for a reading %d\n", c.statements,
		c.replicaReads, c.primaryReads, c.waits, c.primaryWaits, c.readings)
	fmt.Fprintf(&b, "failovers %d (%d lost acknowledged writes), kills %d, recoveries %d, rebuilt or rewound servers %d, records lost in crashes %d\n", c.failovers,
		c.lossy, c.kills, c.recoveries, c.rebuilds, c.asyncLost)
	fmt.Fprintf(&b, "frozen servers %d, partitions %d, cut connections %d, silences %d, failed dials %d, reconnects %d, disconnects %d, cancels %d\n", c.freezes,
		c.partitions, c.cuts, c.silences, c.failedDials, c.reconnects, c.disconnects, c.cancels)
	fmt.Fprintf(&b, "asynchronous commits %d, acknowledged beside a second primary %d, writes that a server refused %d\n", c.asyncCommits, c.splitAcks, c.refusedWrites)
	fmt.Fprintf(&b, "told: lost %d, may be lost %d (and was), may be lost %d (and was not); not told, because nobody could know: %d\n", c.lostTold, c.maybeLost,
		c.maybeKept, c.unseen)
	fmt.Fprintf(&b, "what a replica showed: looks %d, reads that waited for one %d, went on unproven %d (and back %d), were refused %d\n", c.looks, c.guardWaits,
		c.unproven, c.wentBack, c.refused)
	fmt.Fprintf(&b, "clocks set while their servers ran %d, tokens given %d and taken %d\n", c.steps, c.given, c.taken)
	b.WriteString("COMMITs without an answer:")
	for i, n := range c.commits {
		fmt.Fprintf(&b, " %s %d", router.Outcome(i), n)
	}
	fmt.Fprintf(&b, "\nturns of the simulator %d, steps of the model %d, calls of the prober %d\n", c.turns, c.items, c.probes)
	fmt.Fprintf(&b, "topologies %d, outdated decisions %d, lease timeouts %d, tickets %d, position calls %d, nudges %d, hopeless %d, budget full %d\n", c.topologies,
		c.outdated, c.leaseTimeouts, c.tickets, c.positions, c.nudges, c.hopeless, c.budgetFull)
	b.WriteString("reads by level:")
	for i, n := range c.levels[:5] {
		fmt.Fprintf(&b, " %s %d", router.Level(i), n)
	}
	b.WriteString("\ndecisions:")
	for i, n := range c.reasons {
		if n > 0 {
			fmt.Fprintf(&b, " %s %d", router.Reason(i), n)
		}
	}
	b.WriteString("\nredone:")
	for _, k := range slices.Sorted(maps.Keys(c.redone)) {
		fmt.Fprintf(&b, " %s %d", k, c.redone[k])
	}
	b.WriteString("\nerrors:")
	for _, k := range slices.Sorted(maps.Keys(c.errors)) {
		fmt.Fprintf(&b, " %s %d", k, c.errors[k])
	}
	return b.String()
}
