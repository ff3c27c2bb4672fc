package simulation

import (
	"bytes"
	"time"

	"github.com/pgroute/pgroute/router"
)

// judge compares an answer with what it had to show. What the rightful primary
// has lost cannot be shown by anyone.
func (w *world) judge(a *app, s *stmt) {
	x := s.answer
	if x.primary {
		w.cover.primaryReads++
	} else {
		w.cover.replicaReads++
	}
	level := a.levelOf(s)
	w.cover.levels[level]++
	must, seen := s.must.own, s.must.seen.without(x.exempt)
	must.join(s.must.others.without(x.exempt))
	shown := x.visible
	shown.join(x.own)
	if x.primary {
		waived := a.unproven.without(x.acked)
		if !seen.and(waived).and(x.legit).without(shown).empty() {
			w.cover.wentBack++
		}
		seen = seen.without(waived)
	}
	if missing := must.and(x.legit).without(shown); !missing.empty() {
		w.failf("a %s read of %s on %s does not show %s, which was acknowledged to whom it had to see before it was sent at %s", level, a.name, x.s.name,
			missing, stamp(s.sent))
	}
	if missing := seen.and(x.legit).without(shown); !missing.empty() {
		w.failf("a %s read of %s on %s does not show %s, which this client saw before", level, a.name, x.s.name, missing)
	}
}

// checkSend looks at what the machine sends to a server: a write must go to a
// primary that is proven to lead, on a connection of its era (I6).
func (w *world) checkSend(c *peer, data []byte) {
	s := c.lease
	if s == nil {
		w.failf("%s sends to nobody", c.app.name)
		return
	}
	insert := bytes.Contains(data, []byte("insert"))
	if !insert && !(bytes.Contains(data, []byte("commit")) && !c.app.txWrites.empty()) {
		return
	}
	t := w.r.Topology()
	switch {
	case !s.Primary:
		w.failf("a write of %s is sent to %s, which was dialled as a replica (I6)", c.app.name, s.Node.Name)
	case s.Era != t.Era():
		w.failf("a write of %s is sent on %s, of era %d; it is era %d now (I6)", c.app.name, s.conn.name, s.Era, t.Era())
	case t.Primary != s.Node || !t.Leads(w.loop.now()):
		w.failf("a write of %s is sent to %s, which is not proven to lead: %s (I6)", c.app.name, s.Node.Name, t)
	case w.plan.named && w.named == w.legit.name && s.conn.s != w.legit && w.now > w.namedAt+fencedAfter:
		w.failf("a write of %s is sent to %s, which has been deposed for %s (I6)", c.app.name, s.Node.Name, w.now-w.namedAt)
	}
}

// fencedAfter is by when a deposed primary gets no write any more, whoever is
// silent: the source's proof, and then that of the servers, has ended.
const fencedAfter = sourceValid + 2*healthInterval + probeTimeout + 50*time.Millisecond

// decided looks at a decision.
func (w *world) decided(c *peer, d *router.Decision) {
	w.cover.reasons[d.Reason]++
	if d.Node != nil {
		w.tracef("proxy", "routes %s to %s: %s, after %s", c.app.name, d.Node.Name, d.Reason, d.Waited)
	}
	if d.Reason == router.ReasonNotCovered && !d.Stale && w.calmSince >= 0 && w.now-w.calmSince > 50*time.Millisecond && d.Waited > calmWait && d.Waited < 2*w.plan.wait {
		w.failf("a read of %s waited %s in vain: nothing was written for %s, and every replica had replayed everything", c.app.name, d.Waited,
			w.now-w.calmSince)
	}
}

// calmWait is what a read waits at most when nothing is in the way.
const calmWait = 8 * time.Millisecond

// calm finds out since when the cluster has been without trouble and its
// replicas level with the primary.
func (w *world) calm() {
	t := w.r.Topology()
	known := len(t.Nodes) == servers && w.now > w.noisy && t.Primary != nil && t.Primary.Name == w.legit.name && t.Replicas() == servers-1
	for i, s := range w.servers {
		known = known && t.Nodes[i].Incarnation() == s.incarnation
		ok := s.reachable() && s.slow == 0 && !s.paused && s.lag == 0
		if ok && s != w.legit {
			ok = s.standby && s.upstream == w.legit && s.reported == w.legit.end()
		}
		if !ok || !known || w.silent || w.plan.named && w.named != w.legit.name {
			w.calmSince = -1
			return
		}
	}
	if w.calmSince < 0 {
		w.calmSince = w.now
	}
}
