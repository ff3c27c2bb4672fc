package router

import (
	"cmp"
	"fmt"
	"strings"
	"time"
)

// ballot is everything that decides which server is the primary. It is a
// value, and elect a pure function of it, so that every case can be written
// down as a test.
type ballot struct {
	nodes []claim
	// named is true if the source names the primary; name is whom it names.
	// why says why it names nobody, if it does.
	named bool
	name  string
	why   string
	// confirmed is when the source last proved that it speaks for the present,
	// validFor how long that lasts, 0 for ever.
	confirmed time.Time
	validFor  time.Duration

	// departed are the servers that the source has named before.
	departed []string

	now time.Time
	// age is how old an answer of a server may be to count as present, for
	// proofs that need every server.
	age time.Duration
	// patience is true while servers that have not been reached yet are waited
	// for.
	patience bool

	// incumbent is the index of the last primary, -1 if there was none or it
	// is not among the nodes. systemID is that of the cluster, timeline the
	// highest that a primary was elected on; both 0 before the first.
	incumbent int
	systemID  uint64
	timeline  uint32
}

// claim is what one server says of itself.
type claim struct {
	name string
	// tried is true once the first attempt to reach it ended, answers while it
	// answers; st is its last answer.
	tried, answers bool
	st             Status
}

// verdict is the result of an election.
type verdict struct {
	primary int // -1: none
	// reason says why there is none.
	reason string
	// until is when the proof ends, zero if it does not age.
	until time.Time
	// systemID is that of the cluster, 0 if it is not known yet.
	systemID uint64
	// foreign are servers of another cluster, fenced are servers that claim to
	// be the primary and must not be; by their index in the ballot.
	foreign, fenced NodeSet
}

// primary reports whether c says that it is a primary of cluster systemID.
func (c *claim) primary(systemID uint64) bool {
	return c.answers && !c.st.InRecovery && c.st.SystemID == systemID
}

func elect(b *ballot) verdict {
	v := verdict{primary: -1, systemID: b.systemID}
	if v.systemID == 0 {
		v.systemID = b.guessSystem()
	}
	for i := range b.nodes {
		if c := &b.nodes[i]; c.answers && v.systemID != 0 && c.st.SystemID != v.systemID {
			v.foreign |= 1 << i
		}
	}
	if !b.named {
		b.electByAsking(&v)
		return v
	}
	if mutantLeadershipIgnored() {
		b.validFor = 0
	}
	if b.validFor > 0 && !b.now.Before(b.confirmed.Add(b.validFor)) {
		if b.electInSilence(&v); v.primary < 0 {
			v.until = time.Time{}
		}
		return v
	}
	b.electNamed(&v)
	if v.primary >= 0 && b.validFor > 0 {
		v.until = b.confirmed.Add(b.validFor)
	}
	return v
}

// guessSystem returns the cluster's system identifier when no primary was
// elected before: that of the server that the source names, else of most.
func (b *ballot) guessSystem() uint64 {
	votes := make(map[uint64]int)
	var best uint64
	for i := range b.nodes {
		c := &b.nodes[i]
		if !c.answers {
			continue
		}
		if b.named && c.name == b.name {
			return c.st.SystemID
		}
		if votes[c.st.SystemID]++; best == 0 || votes[c.st.SystemID] > votes[best] {
			best = c.st.SystemID
		}
	}
	if b.named && b.patience {
		return 0 // the named server has not been heard yet
	}
	return best
}

// electNamed elects whom a source that speaks for the present names, if that
// server proves it (I6).
func (b *ballot) electNamed(v *verdict) {
	leader := -1
	for i := range b.nodes {
		if b.nodes[i].name == b.name {
			leader = i
		}
	}
	for i := range b.nodes {
		if c := &b.nodes[i]; i != leader && c.primary(v.systemID) {
			v.fenced |= 1 << i
		}
	}
	if b.name == "" {
		v.reason = cmp.Or(b.why, "the source names no primary")
		return
	}
	if leader < 0 {
		v.reason = fmt.Sprintf("the source names %s, which it does not list", b.name)
		return
	}
	if v.reason = b.refusal(leader, v); v.reason == "" {
		v.primary = leader
	}
}

// refusal says why node i, which should lead, may not.
func (b *ballot) refusal(i int, v *verdict) string {
	c := &b.nodes[i]
	switch {
	case !c.tried:
		return c.name + " has not been reached yet"
	case !c.answers:
		return c.name + " does not answer"
	case v.foreign.has(i):
		return fmt.Sprintf("%s has the system identifier %d instead of %d", c.name, c.st.SystemID, v.systemID)
	case c.st.InRecovery:
		return c.name + " is in recovery"
	case c.st.Timeline == 0:
		return "the timeline of " + c.name + " is not known"
	case c.st.Timeline < b.timeline:
		return fmt.Sprintf("%s is on timeline %d, below timeline %d of an earlier primary", c.name, c.st.Timeline, b.timeline)
	}
	return ""
}

// electByAsking elects without a source that names anyone: the incumbent while
// it answers, but nobody as soon as a second server claims to be the primary;
// when the incumbent is gone, the highest timeline.
func (b *ballot) electByAsking(v *verdict) {
	var claims []int
	for i := range b.nodes {
		c := &b.nodes[i]
		if b.incumbent < 0 && b.patience && !c.tried {
			v.reason = c.name + " has not been reached yet"
			return
		}
		if c.primary(v.systemID) {
			claims = append(claims, i)
		}
	}
	incumbent := b.incumbent >= 0 && b.nodes[b.incumbent].primary(v.systemID)
	switch {
	case len(b.nodes) == 0:
		v.reason = "the source has not named any server yet"
		return
	case len(claims) == 0:
		v.reason = "no server says that it is the primary"
		return
	case incumbent && len(claims) > 1:
		v.reason = "several servers say that they are the primary: " + b.names(claims)
		for _, i := range claims {
			if i != b.incumbent {
				v.fenced |= 1 << i
			}
		}
		return
	}
	best := claims[0]
	for _, i := range claims[1:] {
		switch a, c := b.nodes[i].st.Timeline, b.nodes[best].st.Timeline; {
		case a > c:
			best = i
		case a == c:
			v.reason = "several servers say that they are the primary: " + b.names(claims)
		}
	}
	tied := 0
	for _, i := range claims {
		if b.nodes[i].st.Timeline == b.nodes[best].st.Timeline {
			tied++
		}
		if i != best {
			v.fenced |= 1 << i
		}
	}
	if tied > 1 {
		return // v.reason says so
	}
	if v.reason = b.refusal(best, v); v.reason == "" {
		v.primary = best
	}
}

// electInSilence elects while a source that names the primary does not answer:
// only if every known server answers, exactly one is a primary, none is on a
// higher timeline, and none has departed that may be back and lead by now.
func (b *ballot) electInSilence(v *verdict) {
	const silent = "the source is silent, and "
	if len(b.departed) > 0 {
		v.reason = silent + b.departed[0] + ", which it named before, may lead by now"
		return
	}
	leader := -1
	var highest uint32
	for i := range b.nodes {
		c := &b.nodes[i]
		end := c.st.At.Add(b.age)
		switch {
		// What was answered while the source still spoke may be what it was
		// going to say otherwise: a process that was stopped meanwhile must ask
		// everybody anew. Who is asked at the usual pace is not held up by it.
		case !c.answers || !b.now.Before(end) || c.st.At.Before(b.confirmed.Add(b.validFor/2)):
			v.reason = silent + c.name + " does not answer"
			return
		case v.until.IsZero() || end.Before(v.until):
			v.until = end
		}
		if v.foreign.has(i) {
			continue
		}
		highest = max(highest, c.st.Timeline)
		if c.st.InRecovery {
			continue
		}
		if leader >= 0 {
			v.fenced |= 1<<i | 1<<leader
			v.reason = silent + "several servers say that they are the primary: " + b.names([]int{leader, i})
			return
		}
		leader = i
	}
	if leader < 0 {
		v.reason = silent + "no server says that it is the primary"
		return
	}
	if v.reason = b.refusal(leader, v); v.reason != "" {
		v.reason = silent + v.reason
		return
	}
	if b.nodes[leader].st.Timeline < highest {
		v.reason = silent + "a server is on a higher timeline than " + b.nodes[leader].name
		return
	}
	v.primary = leader
}

// unnamed says who is named instead of the only server that says that it is a
// primary; "" if several say so, or the source names nobody by its nature.
func (b *ballot) unnamed(v *verdict) string {
	claims := 0
	for i := range b.nodes {
		if b.nodes[i].primary(v.systemID) {
			claims++
		}
	}
	switch {
	case !b.named || claims > 1:
		return ""
	case b.name == "":
		return "but the source names nobody"
	}
	return "but the source names " + b.name
}

func (b *ballot) names(list []int) string {
	names := make([]string, len(list))
	for i, k := range list {
		names[i] = b.nodes[k].name
	}
	return strings.Join(names, ", ")
}
