package simulation

import (
	"testing"
	"time"
)

// TestMended plays the schedules that have shown what was wrong once, each with
// several rolls of the dice.
func TestMended(t *testing.T) {
	ms := func(f float64) time.Duration { return time.Duration(f * float64(time.Millisecond)) }
	begin := []event{{op: opBegin, at: ms(5)}, {op: opWrite, id: 0, at: ms(6)}}
	for i := range 12 { // one after the other, while the primary changes
		begin = append(begin, event{op: opWrite, id: 1 + i, at: ms(228)})
	}
	for _, test := range []struct {
		name   string
		plan   plan
		events []event
	}{
		{"a write that waits for a primary is told before it runs that the last one was lost", plan{named: true}, []event{
			{op: opFreeze, who: 1, at: ms(4)}, {op: opWrite, id: 0, at: ms(6)}, {op: opKill, who: 0, at: ms(10)}, {op: opWrite, id: 1, at: ms(12)},
			{op: opThaw, who: 1, at: ms(20)}, {op: opPromote, who: 1, at: ms(30)}, {op: opName, at: ms(40)},
		}},
		{"what was written to a life of the primary that no monitor has seen yet is not lost with the one before", plan{}, []event{
			{op: opWrite, id: 0, flag: true, at: ms(104)}, {op: opKill, who: 0, at: ms(105)}, {op: opStart, who: 0, at: ms(106)},
			{op: opWrite, id: 1, at: ms(107)},
		}},
		{"a write that was kept by one change of the primary is told when the next loses it", plan{}, []event{
			{op: opFreeze, who: 1, at: ms(4)}, {op: opFreeze, who: 2, at: ms(4)}, {op: opWrite, id: 0, at: ms(6)}, {op: opKill, who: 0, at: ms(10)},
			{op: opStart, who: 0, at: ms(60)}, {op: opRead, at: ms(250)}, {op: opKill, who: 0, at: ms(300)}, {op: opThaw, who: 1, at: ms(310)},
			{op: opPromote, who: 1, at: ms(320)}, {op: opFollow, who: 0, at: ms(330)},
		}},
		{"a transaction does not write on when another primary leads and its loop has not heard of it", plan{named: true, mailDelay: true}, append(begin,
			event{op: opPromote, who: 1, at: ms(8)}, event{op: opName, at: ms(230)})},
		{"a COMMIT that a life of the primary runs which no monitor has seen yet is not gone with the one before", plan{}, []event{
			{op: opStall, who: 0, d: ms(150), at: ms(103)}, {op: opKill, who: 0, at: ms(104)}, {op: opStart, who: 0, at: ms(105)},
			{op: opBegin, at: ms(107)}, {op: opWrite, id: 0, at: ms(109)}, {op: opCommit, at: ms(111)},
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for s := range uint64(40) {
				p := test.plan
				p.seed, p.clients, p.shares, p.wait, p.staleness, p.budget = s+1, 1, 1, 15*time.Millisecond, 20*time.Millisecond, 2
				p.events = test.events
				sortEvents(p.events)
				if res := play(t, &p, false); res.failure != "" {
					small, res := shrink(t, &p, 100)
					t.Fatalf("seed %d: %s", s+1, report(small, res))
				}
			}
		})
	}
}
