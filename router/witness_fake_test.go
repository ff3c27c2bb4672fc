package router_test

import (
	"context"
	"maps"
	"slices"

	"github.com/pgroute/pgroute/router"
)

// xids are a server's transactions: on a primary those that run, on a replica
// those that it shows as committed.
type xids struct {
	// begun is how many have begun, ended the number of the last that has.
	begun, ended uint64
	running      map[uint64]bool
	shows        map[uint64]bool
	awaiting     map[uint64]bool // a synchronous standby
	resting      map[uint64]bool // its connection waits for its client
	unable       bool
	// snapshots, looks and counts count the questions.
	snapshots, looks, counts int
}

// begin begins a transaction on a primary.
func (s *server) begin() (xid uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := &s.xids
	if x.running == nil {
		x.running = make(map[uint64]bool)
	}
	x.begun++
	x.running[x.begun] = true
	return x.begun
}

// end makes a primary show a transaction.
func (s *server) end(xid uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := &s.xids
	delete(x.running, xid)
	x.ended = max(x.ended, xid)
}

// show makes a replica show a transaction.
func (s *server) show(xid uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.xids.shows == nil {
		s.xids.shows = make(map[uint64]bool)
	}
	s.xids.shows[xid] = true
}

// await makes a primary say that a transaction waits for a synchronous standby.
func (s *server) await(xid uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.xids.awaiting = map[uint64]bool{xid: true}
}

// rest makes the connection of a transaction on a primary wait for its client, or
// run a statement again.
func (s *server) rest(xid uint64, rests bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.xids.resting == nil {
		s.xids.resting = make(map[uint64]bool)
	}
	s.xids.resting[xid] = rests
}

// asked returns how often a server was asked for its transactions.
func (s *server) asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.xids.snapshots + s.xids.looks
}

// commit writes a commit record that the named replicas replay, and that the
// primary does not show before it is acknowledged by end.
func (c *cluster) commit(replicas ...string) (xid uint64) {
	xid = c.servers["p"].begin()
	for _, name := range replicas {
		c.servers[name].show(xid)
	}
	return xid
}

func (p *probe) Snapshot(ctx context.Context) (s router.Snapshot, err error) {
	err = p.trip(ctx, func() {
		x := &p.s.xids
		x.snapshots++
		s = router.Snapshot{Xmax: x.ended + 1, Next: x.begun + 1}
		for _, xid := range slices.Sorted(maps.Keys(x.running)) {
			if xid < s.Xmax {
				s.Running = append(s.Running, xid)
			}
		}
		s.Xmin = s.Xmax
		if len(s.Running) > 0 {
			s.Xmin = s.Running[0]
		}
	})
	return s, err
}

// Committing implements router.CommitWitness.
func (p *probe) Committing(ctx context.Context, _ uint64) (list []router.PendingCommit, err error) {
	err = p.trip(ctx, func() {
		x := &p.s.xids
		x.counts++
		for _, xid := range slices.Sorted(maps.Keys(x.running)) {
			if !x.resting[xid] {
				list = append(list, router.PendingCommit{XID: xid, Standby: x.awaiting[xid]})
			}
		}
	})
	return list, err
}

func (p *probe) Early(ctx context.Context, s router.Snapshot) (early []uint64, err error) {
	unable := false
	err = p.trip(ctx, func() {
		p.s.xids.looks++
		unable = p.s.xids.unable
		for _, xid := range slices.Sorted(maps.Keys(p.s.xids.shows)) {
			if s.Hides(xid) {
				early = append(early, xid)
			}
		}
	})
	if err == nil && unable {
		return nil, router.ErrWitnessRefused
	}
	return early, err
}
