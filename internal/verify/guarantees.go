package verify

import (
	"fmt"
	"slices"
	"time"
)

// sight is a version that a process must not go behind.
type sight struct {
	n    int
	role string // of the server that showed it
	op   *Op    // which showed it, or wrote it
	// foreign: another process saw it.
	foreign bool
	kind    string // the finding if it is missing
}

// sights are those of one process, by key.
type sights map[string]sight

// note keeps the higher version. What a primary shows stays shown there.
func (s sights) note(key string, at sight) {
	old, ok := s[key]
	if !ok || at.n > old.n || at.n == old.n && at.role == "primary" {
		s[key] = at
	}
}

// view is what one process has seen.
type view struct {
	// since: all that was acknowledged to anybody before is there.
	since time.Duration
	seen  sights
	// recent are the keys that it saw or wrote last.
	recent []string
}

// recentKeys is how many keys a write is taken to depend on.
const recentKeys = 8

// maxSights bounds the keys that a process remembers. The oldest are retired by
// then.
const maxSights = 512

func (v *view) note(key string, at sight) {
	if len(v.seen) > maxSights {
		kept := sights{}
		for _, k := range v.recent {
			kept[k] = v.seen[k]
		}
		v.seen = kept
	}
	v.seen.note(key, at)
	if i := slices.Index(v.recent, key); i >= 0 {
		v.recent = slices.Delete(v.recent, i, i+1)
	}
	v.recent = append(v.recent, key)
	if len(v.recent) > recentKeys {
		v.recent = slices.Delete(v.recent, 0, 1)
	}
}

// maxCauses is of how many writes it is remembered what they depend on. Few are
// shown for the first time so much later.
const maxCauses = 50_000

// cause is what a write depends on.
type cause struct {
	key  string
	n    int
	role string
	op   *Op
}

// guarantees checks reads one after the other.
type guarantees struct {
	h     *history
	views map[int]*view
	// causes is what the writer of a value had seen when it began to write it, of
	// the latest writes, whose values are queue.
	causes map[string][]cause
	queue  []string
	given  map[*token]*view
	looked map[string]int
}

// checkGuarantees judges every read by what it had to show.
func (h *history) checkGuarantees() (looked map[string]int) {
	g := &guarantees{h: h, views: map[int]*view{}, causes: map[string][]cause{}, given: map[*token]*view{}, looked: map[string]int{}}
	// The beginnings of writes, in their order, between the ends of all.
	var begins []*Op
	for i := range h.ops {
		if h.ops[i].write() {
			begins = append(begins, &h.ops[i])
		}
	}
	slices.SortStableFunc(begins, func(a, b *Op) int { return int(a.Start - b.Start) })
	for i := range h.ops {
		op := &h.ops[i]
		for len(begins) > 0 && begins[0].Start <= op.End {
			g.begin(begins[0])
			begins = begins[1:]
		}
		g.end(op)
	}
	return g.looked
}

// view returns that of op's process.
func (g *guarantees) view(op *Op) *view {
	v := g.views[op.Process]
	if v == nil {
		v = &view{seen: sights{}}
		g.views[op.Process] = v
	}
	return v
}

// begin notes what a write depends on.
func (g *guarantees) begin(op *Op) {
	v := g.view(op)
	if len(v.recent) == 0 {
		return
	}
	list := make([]cause, len(v.recent))
	for i, key := range v.recent {
		at := v.seen[key]
		list[i] = cause{key, at.n, at.role, at.op}
	}
	g.causes[op.Value], g.queue = list, append(g.queue, op.Value)
	if len(g.queue) > maxCauses {
		delete(g.causes, g.queue[0])
		g.queue = g.queue[1:]
	}
}

// end takes account of a finished operation.
func (g *guarantees) end(op *Op) {
	if op.Outcome != OK {
		return
	}
	v := g.view(op)
	switch op.Kind {
	case KindConnect:
		v.since = op.Start
	case KindGive:
		given := &view{since: op.Start, seen: sights{}}
		for _, key := range v.recent {
			at := v.seen[key]
			at.foreign = true
			given.seen[key] = at
		}
		g.given[op.token] = given
	case KindTake:
		if given := g.given[op.token]; given != nil {
			v.since = max(v.since, given.since)
			for key, at := range given.seen {
				v.seen.note(key, at)
			}
		}
	case KindRead:
		for k := range op.Saw {
			g.judge(op, k, v)
		}
		for k := range op.Saw {
			g.saw(op, k, v)
		}
	default:
		for _, w := range op.Wrote {
			if g.h.survived(w) {
				v.note(w.Key, sight{n: w.N, role: "primary", op: op, kind: OwnWriteMissing})
			}
		}
	}
}

// saw notes what a read was shown, and what that depends on.
func (g *guarantees) saw(op *Op, k int, v *view) {
	key := op.Saw[k].Key
	n, ok := g.h.shown(op, k)
	if !ok {
		return
	}
	v.note(key, sight{n: n, role: op.Role, op: op, kind: WentBack})
	if n != op.Saw[k].N || op.Level == Eventual || op.Level == Bounded {
		return
	}
	for _, c := range g.causes[op.Saw[k].Value] {
		v.seen.note(c.key, sight{n: c.n, role: c.role, op: c.op, foreign: true, kind: CauseMissing})
	}
}

// need is what a read had to show of a key, and why.
type need struct {
	n    int
	kind string
	why  string
	op   *Op // which made it
}

func (n *need) atLeast(a ack, kind, why string) {
	if a.n > n.n {
		*n = need{a.n, kind, why, a.op}
	}
}

// judge compares the k-th version that a read was shown with what it needs.
func (g *guarantees) judge(op *Op, k int, v *view) {
	n, ok := g.h.shown(op, k)
	if op.Level == Eventual || !ok {
		return
	}
	g.looked[op.Level]++
	key := op.Saw[k].Key
	var must need
	if op.Level == Bounded {
		bound := g.h.opts.Staleness
		must.atLeast(g.h.acked[key].before(op.Start-bound), TooStale, fmt.Sprintf("was acknowledged more than %v before", bound))
		g.report(op, key, n, must)
		return
	}
	if op.Level == Strong || op.Level == Primary {
		must.atLeast(g.h.acked[key].before(op.Start), StaleStrong, "was acknowledged before the read began")
	}
	must.atLeast(g.h.acked[key].before(v.since), OwnWriteMissing, "was acknowledged before the connection, or the giver of its token, began")
	if op.Scope == "application" {
		must.atLeast(g.h.ackedVia[via{op.Target, key}].before(op.Start), OwnWriteMissing, "was acknowledged through the same target before the read began")
	}
	g.report(op, key, n, must)
	if at, ok := v.seen[key]; ok && n < at.n && must.n <= n {
		g.behind(op, key, n, at)
	}
}

// report notes a finding if the read showed less than it must.
func (g *guarantees) report(op *Op, key string, n int, must need) {
	if n >= must.n || g.h.astray(op, must.op) {
		return
	}
	g.h.find(Finding{Kind: must.kind, Workload: op.Workload, Level: op.Level, Key: key, Ops: []Op{*must.op, *op},
		What: fmt.Sprintf("%s was shown at version %d, and version %d %s", key, n, must.n, must.why)})
}

// behind judges a read that showed less than its process had seen, or than it
// knew of by what it saw.
func (g *guarantees) behind(op *Op, key string, n int, at sight) {
	// A replica shows a commit a moment before the primary does. The step from one
	// to the other is guarded for each connection by itself.
	if g.h.acked[key].before(op.Start).n < at.n && at.role != "primary" && op.Role != "replica" &&
		(g.h.opts.Unguarded || at.foreign || op.Role == "" || at.role == "") {
		g.h.early++
		return
	}
	if g.h.astray(op, at.op) {
		return
	}
	f := Finding{Kind: at.kind, Workload: op.Workload, Level: op.Level, Key: key, Ops: []Op{*at.op, *op}}
	switch {
	case at.kind == CauseMissing:
		f.What = fmt.Sprintf("%s was shown at version %d to a connection that had seen a write whose writer knew version %d", key, n, at.n)
	case at.foreign:
		f.What = fmt.Sprintf("%s was shown at version %d after the token of a connection that had seen version %d", key, n, at.n)
	case at.kind == OwnWriteMissing:
		f.What = fmt.Sprintf("%s was shown at version %d to the connection that wrote version %d", key, n, at.n)
	default:
		f.What = fmt.Sprintf("%s was shown at version %d, and before that at version %d on the same connection", key, n, at.n)
	}
	g.h.find(f)
}
