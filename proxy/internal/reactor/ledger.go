package reactor

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// ledger counts the backends of all loops against the limits. A connection
// needs a slot of each count that it falls under, and gets all of them or none,
// so that nobody holds one while it waits for another. Whoever cannot have them
// is put into a queue, and slots that become free go to the first there who can
// use them: by give, not by asking again.
//
// The lock is taken when connections are opened and closed, and by backends
// that are given back while somebody waits for a slot; never else.
type ledger struct {
	// hungry is how many claims are in the queue.
	hungry atomic.Int64

	mu     sync.Mutex // guards the fields below
	counts map[countKey]*count
	queue  []*claim
	limits Limits
}

// countKey names a count. Of what does not matter for its kind nothing is set.
type countKey struct {
	kind           Kind
	user, database string
	node           string
}

// count is how many backends there are that fall under one limit. The numbers
// are written under the ledger's lock and may be read without it.
type count struct {
	key    countKey
	open   atomic.Int64
	max    atomic.Int64 // 0 means no bound
	claims atomic.Int64 // that fall under it
	// waiting is how many clients wait; it is counted for KindPool only.
	waiting atomic.Int64
	// reserve is how many more than max there may be for claims that ask for
	// the reserve, min how many are kept open.
	reserve, min atomic.Int64
}

func (n *count) full(reserve bool) bool { return n.excess(reserve) >= 0 }

// excess is how many backends there are above the bound; below 0 there is room.
func (n *count) excess(reserve bool) int64 {
	most := n.max.Load()
	if most == 0 {
		return -1
	}
	if reserve {
		most += n.reserve.Load()
	}
	return n.open.Load() - most
}

// over is how many backends are too many: those of the reserve, or of a limit
// that was lowered.
func (n *count) over() int64 {
	if n.max.Load() == 0 {
		return 0
	}
	return n.open.Load() - n.max.Load()
}

// claim is what one pool of one loop has of the ledger.
type claim struct {
	counts [5]*count // in the order of Kind
	loop   *Loop
	pool   *pool
	// need is how many more connections the pool could use now. Only its loop
	// writes it: before it looks whether there is room, as give looks at need
	// after it has made room, so that one of the two sees the other.
	need atomic.Int64
	// since is when need was last 0, by Loop.clock.
	since atomic.Int64
	// got is when the pool last got a connection, by Loop.clock. Only its loop
	// uses it.
	got int64

	// Guarded by the ledger's lock.
	queued  bool
	reserve bool // the reserve may be used
	held    int  // slots: of backends, of dials, and granted
	granted int  // of which the loop does not know yet
	retired bool // its loop has ended
}

func newLedger(x Limits) *ledger { return &ledger{counts: make(map[countKey]*count), limits: x} }

// enter makes a claim for the pool of a loop.
func (b *ledger) enter(l *Loop, p *pool, k tenantKey, node string) *claim {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := &claim{loop: l, pool: p}
	for i, key := range [...]countKey{
		{KindPool, k.user, k.database, node}, {kind: KindUser, user: k.user}, {kind: KindDatabase, database: k.database},
		{kind: KindNode, node: node}, {kind: KindTotal},
	} {
		n := b.counts[key]
		if n == nil {
			n = &count{key: key}
			b.counts[key] = n
			b.bound(n)
		}
		n.claims.Add(1)
		c.counts[i] = n
	}
	return c
}

// leave ends a claim that holds nothing any more.
func (b *ledger) leave(c *claim) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dequeue(c)
	c.retired = true
	for _, n := range c.counts {
		if n.claims.Add(-1) == 0 {
			delete(b.counts, n.key)
		}
	}
}

// bound gives n its limits.
func (b *ledger) bound(n *count) {
	most, x := 0, &b.limits
	switch n.key.kind {
	case KindPool:
		p := x.pool(tenantKey{n.key.user, n.key.database})
		most = p.Size
		n.reserve.Store(int64(p.Reserve))
		n.min.Store(int64(min(p.Min, p.Size)))
	case KindUser:
		most = x.MaxUser
	case KindDatabase:
		most = x.MaxDatabase
	case KindNode:
		most = x.MaxNode
	case KindTotal:
		most = x.MaxServer
	}
	n.max.Store(int64(most))
}

// setLimits replaces the limits. Whoever fits now gets its slots.
func (b *ledger) setLimits(x Limits) {
	b.mu.Lock()
	b.limits = x
	for _, n := range b.counts {
		b.bound(n)
	}
	woken := b.grant()
	b.mu.Unlock()
	wake(woken)
}

// blocked returns the first count that has no room for c, nil if all have.
func (c *claim) blocked(reserve bool) *count {
	for _, n := range c.counts {
		if n.full(reserve && n.key.kind == KindPool) {
			return n
		}
	}
	return nil
}

func (c *claim) add(d int64) {
	for _, n := range c.counts {
		n.open.Add(d)
	}
	c.held += int(d)
}

// take takes the slots of one connection. If it cannot have them it puts the
// claim into the queue: granted is called in its loop then, once there is room
// and it needs some.
func (b *ledger) take(c *claim, reserve bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if c.blocked(reserve) == nil {
		c.add(1)
		if c.queued { // it was not the first's turn
			i := slices.Index(b.queue, c)
			b.queue = append(slices.Delete(b.queue, i, i+1), c)
		}
		return true
	}
	c.reserve = reserve
	if !c.queued && !c.retired {
		c.queued = true
		b.queue = append(b.queue, c)
		b.hungry.Add(1)
	}
	return false
}

// refill takes the slots of a connection that nobody waits for, as long as
// there are fewer than are to be kept open.
func (b *ledger) refill(c *claim) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := c.counts[KindPool]
	if p.open.Load() >= p.min.Load() || c.blocked(false) != nil {
		return false
	}
	for _, h := range b.queue {
		if h.need.Load() > 0 && c.shares(h) {
			return false // somebody needs it more
		}
	}
	c.add(1)
	return true
}

// give gives the slots of one connection back.
func (b *ledger) give(c *claim) {
	b.mu.Lock()
	var woken []*claim
	if !c.retired {
		c.add(-1)
		woken = b.grant()
	}
	b.mu.Unlock()
	wake(woken)
}

// grant gives free slots to those who wait and can use them, the first first.
// It returns whom to tell once the lock is free.
func (b *ledger) grant() (woken []*claim) {
	if len(b.queue) == 0 {
		return nil
	}
	rest := b.queue[:0]
	for _, c := range b.queue {
		if c.need.Load() > 0 && c.blocked(c.reserve) == nil {
			c.add(1)
			c.granted++
			c.queued = false
			b.hungry.Add(-1)
			woken = append(woken, c)
			continue
		}
		rest = append(rest, c)
	}
	clear(b.queue[len(rest):])
	b.queue = rest
	return woken
}

// wake tells the loops of claims that were granted slots.
func wake(list []*claim) {
	for _, c := range list {
		c.loop.granted(c.pool)
	}
}

// accept notes that the loop knows of a grant.
func (b *ledger) accept(c *claim) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c.granted--
}

func (b *ledger) dequeue(c *claim) {
	if c.queued {
		c.queued = false
		b.hungry.Add(-1)
		b.queue = slices.DeleteFunc(b.queue, func(x *claim) bool { return x == c })
	}
}

// retire gives back all that a claim holds, when its loop ends.
func (b *ledger) retire(c *claim) {
	b.mu.Lock()
	b.dequeue(c)
	c.add(int64(-c.held))
	c.granted, c.retired = 0, true
	woken := b.grant()
	b.mu.Unlock()
	wake(woken)
}

// waits reports whether c is in the queue and could use a slot.
func (b *ledger) waits(c *claim) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return c.queued && c.need.Load() > 0
}

// shares reports whether a connection of c is in the way of h: it falls under a
// count that is full.
func (c *claim) shares(h *claim) bool {
	for i, n := range c.counts {
		if n == h.counts[i] && n.full(h.reserve && i == int(KindPool)) {
			return true
		}
	}
	return false
}

// suffices reports whether closing one connection of c makes room for h.
func (c *claim) suffices(h *claim) bool {
	for i, n := range h.counts {
		if x := n.excess(h.reserve && i == int(KindPool)); x > 0 || x == 0 && n != c.counts[i] {
			return false
		}
	}
	return c.shares(h)
}

// slice is how long a pool that has no connection at all waits, while all are
// busy, until one of another pool is closed for it, and how long that pool has
// used its own undisturbed then.
const slice = 200 * time.Millisecond

// yield reports whether a connection of c that was given back should be closed,
// because a pool of another loop, user, database or node waits for a slot that
// it has. If nobody waits for the connection itself (busy is false) it should.
// Else the pools get equally many, and where there are not enough for one
// each they take turns.
func (b *ledger) yield(c *claim, busy bool, now int64) bool {
	if b.hungry.Load() == 0 {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, h := range b.queue {
		if h == c || h.need.Load() <= 0 {
			continue
		}
		if !busy {
			if c.shares(h) {
				return true
			}
			continue
		}
		turn := now - max(h.since.Load(), c.got)
		if c.suffices(h) && (c.held > h.held+1 || h.held == 0 && turn >= int64(slice)) {
			return true
		}
	}
	return false
}

// open returns how many backends there are for a database.
func (b *ledger) open(database string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := b.counts[countKey{kind: KindDatabase, database: database}]; n != nil {
		return int(n.open.Load())
	}
	return 0
}

// why says which limit is in the way of c, and what it is.
func (b *ledger) why(c *claim) (k Kind, most int64, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := c.blocked(c.reserve); n != nil {
		most = n.max.Load()
		if n.key.kind == KindPool {
			most += n.reserve.Load()
		}
		return n.key.kind, most, true
	}
	return 0, 0, false
}

// inTheWay reports whether closing an idle connection of c helps h.
func (b *ledger) inTheWay(c, h *claim) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return c.shares(h)
}

// contested reports whether a count that is full belongs to other pools too.
// Only c's loop asks.
func (c *claim) contested() bool {
	for i, n := range c.counts {
		if n.claims.Load() > 1 && n.full(i == int(KindPool) && c.pool.reserve) {
			return true
		}
	}
	return false
}
