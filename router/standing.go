package router

import "time"

// The bits of Node.standing: what speaks against a replica that counts. Without
// any of them a client that reads there goes on without looking around.
const (
	standsEjected uint32 = 1 << iota
	standsTrial
	// standsAbroad: it is in another zone than the router, and a replica of the
	// own zone counts.
	standsAbroad
	// standsWarming: it came back a short while ago.
	standsWarming
)

// Preferences are what makes a router prefer one replica over another. They
// never decide whether a replica may serve a read.
type Preferences struct {
	// Zone is where the router is, as the source spells it. Its replicas come
	// first. "" means that zones do not matter.
	Zone string
	// SlowStart is how long a replica that came back is given more and more of
	// its share of the reads. 0 means 10 s, a negative value means that it gets
	// all of it at once.
	SlowStart time.Duration
}

// Prefer replaces the preferences.
func (r *Router) Prefer(p Preferences) {
	fill(&p.SlowStart, 10*time.Second)
	p.SlowStart = max(p.SlowStart, 0)
	if old := r.prefs.Swap(&p); old != nil && *old != p {
		r.review()
	}
}

// Preferences returns those in force, with their defaults filled in.
func (r *Router) Preferences() Preferences { return *r.prefs.Load() }

// Standing is how a node stands with a router at one time, for people.
type Standing struct {
	// State sums it up in one word (see NodeStates): primary, serving, warming (it
	// has come back a short while ago), trial (its breaker is half open), ejected
	// (it serves what no other covers), open (its breaker), no_reads, down (it does
	// not answer) or out (it does not count as a replica for another reason).
	State string
	// Breaker is closed, open or trial.
	Breaker string
	// Ejected says why the replica is not preferred: lag, paused, delayed or
	// stalled; "" if it is.
	Ejected string
	// NoReads says why the source wants no reads there, "" if it does not mind.
	NoReads string
	// Zone is where the source says that the node is, "" if it does not.
	Zone string
	// Weight is what the source says, Effective what a slow start leaves of it.
	Weight    int
	Effective float64
}

// NodeStates returns the words of Standing.State, for whoever shows one number
// for each. The slice belongs to the caller.
func NodeStates() []string {
	return []string{"primary", "serving", "warming", "trial", "ejected", "open", "no_reads", "down", "out"}
}

// Standing returns how n stands at the time now.
func (n *Node) Standing(now time.Time) Standing {
	a, bits, breaker := n.attrs.Load(), n.standing.Load(), n.health.state.Load()
	s := Standing{Breaker: breakerNames[breaker], NoReads: a.noReads, Zone: a.zone, Weight: a.weight}
	t := n.r.topo.Load()
	counts := n.Eligible()
	if counts && bits&standsEjected != 0 {
		s.Ejected = ejectionNames[n.ejected.Load()]
	}
	if counts {
		s.Effective = float64(a.weight) * float64(n.warmth(now)) / fullWarmth
	}
	switch {
	case n == t.Primary:
		s.State, s.Effective = "primary", 0
	case n.Role() == RoleUnknown:
		s.State = "down"
	case breaker == breakerOpen:
		s.State = "open"
	case a.noReads != "":
		s.State = "no_reads"
	case !counts:
		s.State = "out"
	case s.Ejected != "":
		s.State = "ejected"
	case breaker == breakerTrial:
		s.State = "trial"
	case n.warmth(now) < fullWarmth:
		s.State = "warming"
	default:
		s.State = "serving"
	}
	return s
}

// standLocked works out how n stands in t. home is true if a replica of the own
// zone counts.
func (n *Node) standLocked(fx *effects, t *Topology, now time.Time, home bool) {
	f := &n.facts
	if !t.eligible.has(n.ID) {
		f.counted = false
		// A new era alone, or a monitor's connection that broke, leaves the
		// server's caches as they were.
		f.trouble = f.trouble || f.served && (!f.answers || n.health.open() || n.NoReads() != "")
		n.standing.Store(0)
		return
	}
	trial := n.health.state.Load() == breakerTrial
	prefs := n.r.prefs.Load()
	switch first := !f.served; {
	case first && now.Sub(n.r.started) > prefs.SlowStart, // new to a router that has found its way
		!first && !f.counted && (f.trouble || f.life != f.st.Incarnation),
		f.onTrial && !trial:
		back := now // of its own: only what is stored is allocated
		n.returned.Store(&back)
	}
	f.counted, f.served, f.trouble, f.onTrial, f.life = true, true, false, trial, f.st.Incarnation
	n.ejectLocked(fx, now)
	n.ejected.Store(uint32(f.ejected))
	var bits uint32
	if f.ejected != ejectedNot {
		bits |= standsEjected
	}
	if trial {
		bits |= standsTrial | standsWarming
	}
	if home && n.Zone() != prefs.Zone {
		bits |= standsAbroad
	}
	if n.warmedUp(now) < fullWarmth {
		bits |= standsWarming
	}
	n.standing.Store(bits)
}

// Warmth is counted in parts of fullWarmth. A replica that is back begins with
// leastWarmth of its share.
const (
	fullWarmth  = 256
	leastWarmth = fullWarmth / 16
)

// warmth returns how much of its share n may have at the time now. It depends
// on that and on when the node came back only; on trial it is the least.
func (n *Node) warmth(now time.Time) int64 {
	switch bits := n.standing.Load(); {
	case bits&standsTrial != 0:
		return leastWarmth
	case bits&standsWarming == 0:
		return fullWarmth
	}
	return n.warmedUp(now)
}

func (n *Node) warmedUp(now time.Time) int64 {
	back, slow := n.returned.Load(), n.r.prefs.Load().SlowStart
	if back == nil {
		return fullWarmth
	}
	since := now.Sub(*back)
	if since >= slow {
		return fullWarmth
	}
	return max(leastWarmth, int64(float64(since)/float64(slow)*fullWarmth))
}
