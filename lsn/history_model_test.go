package lsn_test

import (
	"math/rand/v2"
	"testing"

	"github.com/pgroute/pgroute/lsn"
)

// modelCluster is a cluster that knows the truth: which record stands where on
// the current line. A record is a number that is never used again and takes
// recordSize bytes, so the record that ends at l is log[l/recordSize-1].
type modelCluster struct {
	t        *testing.T
	rng      *rand.Rand
	log      []int
	written  int
	h        lsn.History
	timeline uint32
	begin    lsn.LSN
	newest   uint32           // the highest timeline that was ever made
	clock    int64            // the last incarnation
	kept     int              // records that a crash cannot take
	crashed  map[uint32]int64 // per timeline, the incarnation after its last crash
}

const recordSize = 8

// modelFloor is a floor and the record that was the last one when it was set.
type modelFloor struct {
	at     lsn.Position
	record int
}

func newModelCluster(t *testing.T, rng *rand.Rand) *modelCluster {
	c := &modelCluster{t: t, rng: rng, timeline: 1, newest: 1, clock: 1000, crashed: make(map[uint32]int64)}
	c.write()
	c.kept = len(c.log)
	c.h = mustHistory(t, nil, 1, 0, c.clock)
	return c
}

func (c *modelCluster) end() lsn.LSN { return lsn.LSN(len(c.log) * recordSize) }

func (c *modelCluster) write() {
	for range 1 + c.rng.IntN(4) {
		c.written++
		c.log = append(c.log, c.written)
	}
}

func (c *modelCluster) floor() modelFloor {
	return modelFloor{c.h.At(c.end()), c.log[len(c.log)-1]}
}

// crash loses a tail that no restart or promotion made durable, and restarts.
// If late, the restart's position is seen only after some writes.
func (c *modelCluster) crash(late bool) {
	c.log = c.log[:c.kept+c.rng.IntN(len(c.log)-c.kept+1)]
	from := c.end()
	c.write() // the checkpoint that ends recovery
	c.kept = len(c.log)
	if late {
		from = c.end()
	}
	c.clock++
	c.crashed[c.timeline] = c.clock
	c.h = mustRestart(c.t, c.h, c.clock, from)
}

// promote makes a standby the primary that has received only a part of the
// log. It may never have heard of the current timeline, or of some before it.
func (c *modelCluster) promote() {
	c.log = c.log[:1+c.rng.IntN(len(c.log))]
	fork := c.end()
	var past []lsn.Switch
	for _, s := range append(c.h.Past(), lsn.Switch{Timeline: c.timeline, Begin: c.begin, End: fork}) {
		if s.Begin > fork {
			break
		}
		s.End = min(s.End, fork)
		past = append(past, s)
		if s.End == fork {
			break
		}
	}
	c.newest++
	c.clock++
	c.timeline, c.begin = c.newest, fork
	c.h = mustHistory(c.t, past, c.timeline, c.begin, c.clock)
	c.write()
	c.kept = len(c.log)
}

// check compares Covers with the truth, for a node that has replayed n records
// of the current line.
func (c *modelCluster) check(f modelFloor, n int, late bool) lsn.Coverage {
	index := func(log []int) bool {
		for _, record := range log {
			if record == f.record {
				return true
			}
		}
		return false
	}
	exists, has := index(c.log), index(c.log[:n])
	// A crash on a timeline that was left since, or a restart that was seen
	// late: the loss may go unreported, but nothing that survived may.
	unproven := late || f.at.Timeline != c.timeline && c.crashed[f.at.Timeline] > f.at.Incarnation
	got := c.h.Covers(lsn.LSN(n*recordSize), f.at)
	ok := true
	switch got {
	case lsn.CoverageYes:
		ok = has || unproven && !exists
	case lsn.CoverageNo:
		ok = !has && (exists || unproven)
	case lsn.CoverageLost:
		ok = !exists
	}
	if !ok {
		c.t.Fatalf("Covers = %v for a node with %d of %d records, floor %v, record %d: exists %v, the node has it %v\n%v",
			got, n, len(c.log), f.at, f.record, exists, has, c.h)
	}
	return got
}

// TestCoversNeverLies lets clusters live through random writes, crashes and
// asynchronous failovers, and compares every answer with what is in the WAL.
func TestCoversNeverLies(t *testing.T) {
	var answers [4]int
	for seed := range uint64(400) {
		rng := rand.New(rand.NewPCG(seed, 1))
		c := newModelCluster(t, rng)
		late := seed%4 == 3
		var floors []modelFloor
		for range 40 {
			switch p := rng.IntN(10); {
			case p < 7:
				c.write()
			case p < 9:
				c.crash(late)
			default:
				c.promote()
			}
			floors = append(floors, c.floor())
			for _, f := range floors {
				for range 3 {
					answers[c.check(f, rng.IntN(len(c.log)+1), late)]++
				}
			}
		}
	}
	for coverage, n := range answers {
		t.Logf("%v: %d", lsn.Coverage(coverage), n)
		if n < 1000 {
			t.Errorf("only %d answers were %v: the model does not test it", n, lsn.Coverage(coverage))
		}
	}
}
