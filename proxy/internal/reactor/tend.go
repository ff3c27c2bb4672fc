package reactor

import (
	"slices"
	"time"
)

const (
	// minPace and maxPace bound how often a loop looks after its pools.
	minPace = 50 * time.Millisecond
	maxPace = 30 * time.Second
	// seekPause is between two times that one pool asks others for a slot.
	seekPause = 10 * time.Millisecond
	// refillWait is how long nobody dials only to keep connections open, after
	// a dial has failed.
	refillWait = 5 * time.Second
)

// pulse has the pools looked after at that time at the latest.
func (l *Loop) pulse(at time.Time) {
	if at.Before(l.tending) {
		l.tending = at
	}
}

// keepPace makes the loop look after pools with limits x often enough.
func (l *Loop) keepPace(x *PoolLimits) {
	for _, d := range []time.Duration{x.IdleTimeout, x.Lifetime} {
		if d > 0 {
			l.pace = max(min(l.pace, d/10), minPace)
		}
	}
	l.sentry.keepPace(&x.Watch)
}

// tend closes idle backends that are old, unused for long or too many, and
// opens those that are to be kept open.
func (l *Loop) tend() {
	now := l.env.Now
	l.tending = now.Add(l.pace)
	topology := l.cfg.Router.Topology()
	for _, t := range l.tenants {
		for _, p := range t.pools {
			if p != nil {
				l.tendPool(p, slices.Contains(topology.Nodes, p.node) && (p.node == topology.Primary || p.node.Eligible()))
			}
		}
	}
	l.former = slices.DeleteFunc(l.former, func(p *pool) bool {
		if p.size > 0 || p.dialing > 0 || p.queue.n > 0 || p.hungry {
			return false
		}
		l.group.ledger.leave(p.claim)
		return true
	})
}

// tendPool is tend for one pool. serves is true while its node does: else
// nothing is kept open there.
func (l *Loop) tendPool(p *pool, serves bool) {
	now, x, all := l.env.Now, &p.tenant.limit, p.claim.counts[KindPool]
	keep := int64(0)
	if serves {
		keep = all.min.Load()
	}
	for x.IdleTimeout > 0 && len(p.idle) > 0 && now.Sub(p.idle[0].idleAt) >= x.IdleTimeout && all.open.Load() > keep {
		l.part(p.idle[0])
	}
	for i := len(p.idle) - 1; i >= 0; i-- {
		if s := p.idle[i]; s.old(now) || p.over(false) {
			l.part(s)
		}
	}
	if p.queue.n > 0 {
		l.grow(p)
		if p.seekDue && p.hungry {
			l.seek(p)
		}
	}
	if keep == 0 || p.size == 0 && p.dialing == 0 && all.open.Load() > 0 {
		return // another loop uses it, or nobody
	}
	if now.Before(p.refill) {
		l.pulse(p.refill)
		return
	}
	for l.group.ledger.refill(p.claim) {
		p.dialing++
		l.opens(p)
	}
}

// seek asks for a slot that an idle backend of another pool has. What is lent
// now is looked at when it is given back; see ledger.yield.
func (l *Loop) seek(p *pool) {
	if !p.claim.contested() {
		return // nobody else has what it needs
	}
	if due := p.sought.Add(seekPause); l.env.Now.Before(due) {
		p.seekDue = true
		l.pulse(due)
		return
	}
	p.sought, p.seekDue = l.env.Now, false
	l.group.seek(p.claim, slices.Index(l.group.loops, l), 0)
}

// seek asks the loops, one after the other, to close an idle backend that is in
// the way of c: the next only if this one has none, so that no more are closed
// than are needed.
func (g *Group) seek(c *claim, first, asked int) {
	for ; asked < len(g.loops); asked++ {
		l := g.loops[(first+asked)%len(g.loops)]
		select {
		case <-l.done:
			continue
		default:
		}
		l.post(mail{kind: mailCall, fn: func() {
			if g.ledger.waits(c) && !l.closeFor(c) {
				g.seek(c, first, asked+1)
			}
		}})
		return
	}
}

// closeFor closes the backend that has been idle longest of those in the way of h.
func (l *Loop) closeFor(h *claim) bool {
	var oldest *server
	for _, t := range l.tenants {
		for _, p := range t.pools {
			if p == nil || p.claim == h || len(p.idle) == 0 || oldest != nil && !p.idle[0].idleAt.Before(oldest.idleAt) {
				continue
			}
			if l.group.ledger.inTheWay(p.claim, h) {
				oldest = p.idle[0]
			}
		}
	}
	if oldest == nil {
		return false
	}
	l.part(oldest)
	return true
}

// granted tells the loop that the ledger has given p a slot. It may be called
// from any goroutine.
func (l *Loop) granted(p *pool) {
	l.post(mail{kind: mailCall, fn: func() { l.accept(p) }})
}

// accept uses a slot that was granted, or gives it back.
func (l *Loop) accept(p *pool) {
	l.group.ledger.accept(p.claim)
	p.hungry = false
	if p.dialing < p.queue.n && (p.size == 0 || !l.env.Now.Before(p.full)) {
		p.dialing++
		l.opens(p)
	} else {
		l.group.ledger.give(p.claim)
	}
	l.grow(p)
}

// retire gives back what the pools of a loop that ends have of the ledger.
func (l *Loop) retire() {
	for _, t := range l.tenants {
		for _, p := range t.pools {
			if p != nil {
				l.group.ledger.retire(p.claim)
			}
		}
	}
	for _, p := range l.former {
		l.group.ledger.retire(p.claim)
	}
}

// Connections returns how many backends there are for a database, those that
// are being opened too.
func (g *Group) Connections(database string) int { return g.ledger.open(database) }

// SetLimits replaces the limits, also for who waits already. Backends that are
// too many are closed as they become free.
func (g *Group) SetLimits(x Limits) {
	g.limits.Store(&x)
	g.ledger.setLimits(x)
	for _, l := range g.loops {
		l.post(mail{kind: mailCall, fn: l.limitsChanged})
	}
}

func (l *Loop) limitsChanged() {
	x := l.group.limits.Load()
	l.pace, l.sentry = maxPace, sentry{}
	for k, t := range l.tenants {
		t.limit = x.pool(k)
		l.keepPace(&t.limit)
		for _, p := range t.pools {
			if p == nil {
				continue
			}
			for _, c := range p.queue.all() {
				l.armLease(c)
			}
		}
	}
	l.pulse(l.env.Now)
}
