package verify

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"
)

// report checks the history and sums it up.
func (h *history) report() *Report {
	h.index()
	h.check("acknowledged writes, lost updates, double bookings", h.checkWrites)
	h.check("writes that are missing, and who was told", h.checkLosses)
	h.check("values, lists and sums that reads were shown", h.checkValues)
	h.checkLevels()
	r := &Report{Seed: h.opts.Seed, Elapsed: h.elapsed, Clients: h.opts.Clients, Ops: len(h.ops), Processes: h.processes,
		Findings: h.findings, Found: h.found, Checks: h.checks, Early: h.early, Losses: h.losses}
	for _, t := range h.opts.Targets {
		r.Targets = append(r.Targets, t.Name)
	}
	for _, d := range h.detours {
		d.Unjudged = len(d.unjudged)
		r.Detours = append(r.Detours, d.Detour)
	}
	r.count(h.ops)
	r.note(h)
	return r
}

// checkLevels checks what each level promises.
func (h *history) checkLevels() {
	before := maps.Clone(h.foundAt)
	looked := h.checkGuarantees()
	for _, level := range h.opts.Levels {
		if level == Eventual {
			continue
		}
		name := map[string]string{Bounded: "staleness of reads", Session: "session guarantees", Strong: "what was acknowledged before, and session guarantees",
			Primary: "what was acknowledged before, and session guarantees"}[level] + " at " + level
		h.checks = append(h.checks, Check{Name: name, Looked: looked[level], Findings: h.foundAt[level] - before[level]})
	}
	for _, level := range []string{Strong, Primary} {
		if slices.Contains(h.opts.Levels, level) && (slices.Contains(h.opts.Workloads, Register) || slices.Contains(h.opts.Workloads, Append)) {
			h.check("linearizability at "+level+", by key", func() (int, int) { return h.checkLinear(level) })
		}
	}
}

// sort is what operations are counted by.
type sortOfOp struct{ workload, kind, level string }

// count counts the operations.
func (r *Report) count(ops []Op) {
	counts := map[sortOfOp]*Count{}
	took := map[sortOfOp][]time.Duration{}
	routes := map[Route]int{}
	r.Errors = map[string]Errors{}
	var reads, writes gap
	for i := range ops {
		op := &ops[i]
		s := sortOfOp{op.Workload, op.Kind, op.Level}
		c := counts[s]
		if c == nil {
			c = &Count{Workload: op.Workload, Kind: op.Kind, Level: op.Level}
			counts[s] = c
		}
		switch op.Outcome {
		case OK:
			c.OK++
			took[s] = append(took[s], op.End-op.Start)
		case Failed:
			c.Failed++
			r.failed(op)
		default:
			c.Unknown++
			r.failed(op)
		}
		r.slow(op)
		switch {
		case op.Kind == KindTake && op.Outcome == OK:
			r.Tokens++
			if op.token.target != op.Target {
				r.Handed++
			}
		case op.Kind == KindRead && op.Outcome == OK:
			reads.answer(op.End)
			routes[Route{Level: op.Level, Node: op.Node, Role: op.Role, Reason: op.Reason}]++
		case op.write() && op.Outcome == OK:
			writes.answer(op.End)
		}
	}
	for s, c := range counts {
		c.Latency = latency(took[s])
		r.Counts = append(r.Counts, *c)
	}
	slices.SortFunc(r.Counts, func(a, b Count) int {
		return cmp.Or(cmp.Compare(a.Workload, b.Workload), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Level, b.Level))
	})
	for route, n := range routes {
		route.Reads = n
		r.Routes = append(r.Routes, route)
	}
	slices.SortFunc(r.Routes, func(a, b Route) int {
		return cmp.Or(cmp.Compare(a.Level, b.Level), cmp.Compare(a.Node, b.Node), cmp.Compare(a.Role, b.Role), cmp.Compare(a.Reason, b.Reason))
	})
	for _, g := range []*gap{&reads, &writes} {
		if g.last > 0 && g.last < r.Elapsed {
			g.answer(r.Elapsed)
		}
	}
	r.ReadPause, r.WritePause = reads.longest, writes.longest
}

// failed counts an error.
func (r *Report) failed(op *Op) {
	e := r.Errors[op.SQLState]
	if e.Count == 0 {
		e.Example = op.Err
	}
	e.Count++
	r.Errors[op.SQLState] = e
}

// gap finds the longest time between two answers.
type gap struct {
	last    time.Duration
	longest Pause
}

func (g *gap) answer(at time.Duration) {
	if at-g.last > g.longest.Length {
		g.longest = Pause{From: g.last, Length: at - g.last}
	}
	g.last = at
}

// slowest is how many slow operations are kept.
const slowest = 5

// slow keeps op if it is among those that took longest.
func (r *Report) slow(op *Op) {
	if len(r.Slowest) == slowest && op.End-op.Start <= r.Slowest[slowest-1].End-r.Slowest[slowest-1].Start {
		return
	}
	r.Slowest = append(r.Slowest, *op)
	slices.SortStableFunc(r.Slowest, func(a, b Op) int { return cmp.Compare(b.End-b.Start, a.End-a.Start) })
	r.Slowest = r.Slowest[:min(slowest, len(r.Slowest))]
}

// latency sorts took.
func latency(took []time.Duration) (l Latency) {
	if len(took) == 0 {
		return l
	}
	slices.Sort(took)
	at := func(percent int) time.Duration { return took[(len(took)-1)*percent/100] }
	return Latency{at(50), at(95), at(99), took[len(took)-1]}
}

// note says what the run does not prove.
func (r *Report) note(h *history) {
	onReplica, answered := map[string]int{}, map[string]int{}
	for _, route := range r.Routes {
		answered[route.Level] += route.Reads
		if route.Role == "replica" {
			onReplica[route.Level] += route.Reads
		}
	}
	for _, level := range h.opts.Levels {
		switch {
		case answered[level] == 0:
			r.Notes = append(r.Notes, fmt.Sprintf("no read at %s was answered: nothing is shown about it", level))
		case level != Primary && onReplica[level] == 0:
			r.Notes = append(r.Notes, fmt.Sprintf("no read at %s ran on a replica: little is shown about it", level))
		}
	}
	for _, c := range r.Checks {
		if c.Undecided > 0 {
			r.Notes = append(r.Notes, fmt.Sprintf("%s: %d of %d were not decided in time; they are not known to be right", c.Name, c.Undecided, c.Looked))
		}
	}
	if len(h.ops) >= h.opts.MaxOps {
		r.Notes = append(r.Notes, fmt.Sprintf("the run ended after %d operations, the most that it keeps", len(h.ops)))
	}
}
