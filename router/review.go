package router

import (
	"cmp"
	"fmt"
	"slices"
	"sync/atomic"
	"time"
)

// effects are what has to be done after Router.mu was released.
type effects struct {
	topo   *Topology // published, nil if nothing changed
	old    *Topology
	newEra bool
	wake   bool   // who waits for a node should look again
	ticket uint64 // its answer has to be reviewed, 0: none
	logs   []logLine
}

type logLine struct {
	warn bool
	text string
	args []any
}

func (fx *effects) info(text string, args ...any) {
	fx.logs = append(fx.logs, logLine{false, text, args})
}

func (fx *effects) warn(text string, args ...any) {
	fx.logs = append(fx.logs, logLine{true, text, args})
}

// review looks at everything that is known and publishes what follows.
func (r *Router) review() { r.update(func() {}) }

// update changes facts and reviews them.
func (r *Router) update(change func()) { r.updateWith(func(*effects) { change() }) }

// updateWith is update for a change that has something to tell.
func (r *Router) updateWith(change func(*effects)) {
	var fx effects
	r.mu.Lock()
	change(&fx)
	r.reviewLocked(&fx, time.Now())
	r.mu.Unlock()
	r.carryOut(&fx)
}

// carryOut does what may not be done under the lock.
func (r *Router) carryOut(fx *effects) {
	for _, l := range fx.logs {
		if l.warn {
			r.log.Warn(l.text, l.args...)
		} else {
			r.log.Info(l.text, l.args...)
		}
	}
	if fx.ticket != 0 {
		r.oracle.review.Store(fx.ticket)
		r.oracle.urge(fx.ticket)
	}
	if fx.topo == nil {
		return
	}
	r.tokens.wakeAll()
	if fx.newEra {
		// Whoever waits for a position of the old primary looks again.
		r.oracle.interrupt(fx.topo.era)
		r.sights.interrupt(fx.topo.era)
		r.sights.alone.waiters.wakeAll()
		r.oracle.waiters.wakeAll()
	}
	for _, n := range fx.topo.Nodes {
		vacated := fx.topo.Primary == nil && fx.old.Primary != nil
		if fx.newEra || vacated || n == fx.topo.awaited && n != fx.old.awaited {
			n.KickIdentify() // it has to prove that it follows, or leads
		}
		if fx.newEra || fx.wake {
			n.wakeWaiters()
		}
	}
	for _, n := range fx.old.Nodes {
		if !slices.Contains(fx.topo.Nodes, n) {
			n.wakeWaiters()
		}
	}
	if trace := r.cfg.Trace.Topology; trace != nil {
		trace(fx.topo)
	}
}

// reviewLocked elects the primary, decides which nodes count as replicas, and
// publishes the topology if anything changed.
func (r *Router) reviewLocked(fx *effects, now time.Time) {
	old := r.topo.Load()
	b := r.ballotLocked(now, old)
	v := elect(&b)
	r.complainLocked(fx, &b, &v)

	t := &Topology{Epoch: old.Epoch, Nodes: r.nodes, Reason: v.reason, systemID: r.candidates.SystemID, era: old.era, eras: old.eras, until: v.until,
		Switchover: r.candidates.Switchover, announced: old.announced, announcement: r.candidates.Announcement, Management: old.Management}
	if t.Switchover != old.Switchover || t.announcement != old.announcement {
		t.announced = now
	}
	if m := &r.candidates.Management; !m.Equal(t.Management) {
		copied := *m
		t.Management = &copied
	}
	if v.primary >= 0 {
		n := r.nodes[v.primary]
		t.Primary, t.Leadership = n, true
		if !old.era.is(n, &n.facts.st) {
			t.era = newEra(old.era, n, &n.facts.st)
			t.eras = append(slices.Clone(old.eras[max(0, len(old.eras)-maxEras+1):]), t.era)
			r.timeline = max(r.timeline, t.era.timeline)
			fx.newEra = true
		}
	}
	if t.Primary == nil && b.named {
		if i := slices.IndexFunc(r.nodes, func(n *Node) bool { return n.Name == b.name }); i >= 0 {
			t.awaited, t.named = r.nodes[i], old.named
		}
	}
	if t.awaited != old.awaited {
		t.named = now
	}
	t.lastGood = t.Primary
	if n := t.era.node; t.lastGood == nil && n != nil && n.facts.answers && slices.Contains(r.nodes, n) && t.era.is(n, &n.facts.st) {
		t.lastGood = n
	}
	if fx.newEra && old.Primary != nil {
		// Between two primaries there is a moment with none, for everyone.
		t.Epoch++
		r.publishLocked(&Topology{Epoch: t.Epoch, Nodes: old.Nodes, Reason: "the primary is changing", era: old.era,
			eras: old.eras, eligible: old.eligible, Switchover: t.Switchover, Management: t.Management})
	}
	if fx.newEra || t.Primary != old.Primary {
		t.Epoch++
	}
	for _, n := range r.nodes {
		if n.countsLocked(t) && r.comesFromLocked(fx, n, t) {
			t.eligible.Add(n)
		}
	}
	home := r.homeLocked(t)
	for _, n := range r.nodes {
		n.standLocked(fx, t, now, home)
	}
	fx.old = old
	if t.same(old) && !fx.newEra && t.until.Equal(old.until) {
		return
	}
	changed := !t.same(old)
	fx.wake = t.eligible != old.eligible || t.lastGood != old.lastGood || t.Primary != old.Primary
	// Before this is published: whoever sees a topology finds the nodes that it
	// counts as replicas eligible. Nobody can hold a floor of a new era yet.
	for _, n := range r.nodes {
		if t.eligible.has(n.ID) {
			n.okEra.Store(t.era.n)
		} else {
			n.okEra.Store(0)
		}
	}
	r.publishLocked(t)
	fx.topo = t
	if !changed {
		fx.topo = nil // only the proof was renewed
	} else {
		fx.info("topology changed", "topology", t.String())
	}
}

// publishLocked makes t the current topology.
func (r *Router) publishLocked(t *Topology) {
	t.changed = make(chan struct{})
	old := r.topo.Swap(t)
	close(old.changed)
}

// homeLocked reports whether a replica of the router's own zone counts in t.
func (r *Router) homeLocked(t *Topology) bool {
	zone := r.prefs.Load().Zone
	return zone != "" && slices.ContainsFunc(r.nodes, func(n *Node) bool { return t.eligible.has(n.ID) && n.Zone() == zone })
}

// countsLocked reports whether n counts as a replica in t.
func (n *Node) countsLocked(t *Topology) bool {
	f, e := &n.facts, t.era
	follows := f.timeline == e.timeline && f.line == e.line || mutantTimelineIgnored()
	return f.up && e.n != 0 && n != t.Primary && f.st.InRecovery && f.st.SystemID == e.systemID && follows &&
		n.NoReads() == "" && !n.health.open()
}

// ballotLocked collects what an election needs to know.
func (r *Router) ballotLocked(now time.Time, old *Topology) ballot {
	b := ballot{
		named:     r.candidates.NamesPrimary,
		name:      r.candidates.Primary,
		confirmed: r.candidates.Confirmed,
		validFor:  r.candidates.ValidFor,
		now:       now,
		age:       2*r.cfg.HealthInterval + r.cfg.ProbeTimeout,
		patience:  now.Before(r.started.Add(r.cfg.ProbeTimeout)),
		incumbent: -1,
		why:       r.candidates.Reason,
		systemID:  cmp.Or(old.era.systemID, r.candidates.SystemID),
		timeline:  r.timeline,
		nodes:     make([]claim, len(r.nodes)),
		departed:  r.departed.names(),
	}
	for i, n := range r.nodes {
		b.nodes[i] = claim{name: n.Name, tried: n.facts.tried, answers: n.facts.answers, st: n.facts.st}
		if n == old.era.node {
			b.incumbent = i
		}
	}
	return b
}

// complainLocked logs, once each, what is wrong with single nodes.
func (r *Router) complainLocked(fx *effects, b *ballot, v *verdict) {
	for i, n := range r.nodes {
		f, complaint := &n.facts, ""
		var count *atomic.Uint64
		r.streamsLocked(fx, n, b.now, v.primary >= 0)
		switch {
		case v.foreign.has(i):
			complaint = fmt.Sprintf("it belongs to another cluster: system identifier %d instead of %d", f.st.SystemID, v.systemID)
			count = &r.stats.foreign
		case v.fenced.has(i) && v.primary >= 0:
			complaint = fmt.Sprintf("it says that it is a primary, on timeline %d, beside %s", f.st.Timeline, r.nodes[v.primary].Name)
			count = &r.stats.claimants
		case v.fenced.has(i):
			// While the leadership passes on, a single primary that the source does
			// not name, or does not name yet, is as it should be.
			if complaint = b.unnamed(v); complaint == "" {
				complaint, count = "but is not the only one", &r.stats.claimants
			}
			complaint = fmt.Sprintf("it says that it is a primary, on timeline %d, %s", f.st.Timeline, complaint)
		case f.up && f.st.InRecovery && f.timeline == 0 && f.st.Timeline == 0 && !b.patience:
			complaint = "the timeline that it follows cannot be seen: it has no WAL receiver, or the monitor's role lacks pg_monitor"
			if why := n.NoReads(); why != "" {
				complaint = "it shall serve no reads: " + why
			}
		}
		if complaint != "" && complaint != f.complained {
			fx.warn("node is left out", "node", n.Name, "reason", complaint)
			if count != nil {
				count.Add(1)
			}
		}
		f.complained = complaint
	}
}
