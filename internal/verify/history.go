package verify

import (
	"cmp"
	"slices"
	"sort"
	"time"
)

// history is what happened in a run, and what survived it. What is derived from
// it is made by index.
type history struct {
	opts      Options
	ops       []Op // in the order of their ends
	truth     *truth
	elapsed   time.Duration
	processes int

	// byValue is the operation that was to write a value.
	byValue map[string]*Op
	// acked are the surviving acknowledged versions, by key; ackedVia those that
	// were acknowledged through one target.
	acked    map[string]ackList
	ackedVia map[via]ackList

	found    map[string]int
	foundAt  map[string]int // by level
	findings []Finding
	checks   []Check
	early    int
	losses   Losses
	detours  []*detour // in the order of their times
}

// via is a key as it is written through one target.
type via struct{ target, key string }

// ack says that version n of a key had been acknowledged at a time.
type ack struct {
	end time.Duration
	n   int
	op  *Op
}

// ackList is in the order of the times; n only grows.
type ackList []ack

// before returns the highest version that was acknowledged before t.
func (l ackList) before(t time.Duration) ack {
	i := sort.Search(len(l), func(i int) bool { return l[i].end >= t })
	if i == 0 {
		return ack{}
	}
	return l[i-1]
}

// maxFindings is how many of one kind are kept; all are counted.
const maxFindings = 20

// find notes a finding.
func (h *history) find(f Finding) {
	if h.found == nil {
		h.found, h.foundAt = map[string]int{}, map[string]int{}
	}
	h.found[f.Kind]++
	h.foundAt[f.Level]++
	if h.found[f.Kind] > maxFindings {
		return
	}
	slices.SortStableFunc(f.Ops, func(a, b Op) int { return cmp.Compare(a.Start, b.Start) })
	h.findings = append(h.findings, f)
}

// check runs one check and notes what it looked at.
func (h *history) check(name string, run func() (looked, undecided int)) {
	before := h.total()
	looked, undecided := run()
	h.checks = append(h.checks, Check{Name: name, Looked: looked, Undecided: undecided, Findings: h.total() - before})
}

func (h *history) total() (n int) {
	for _, c := range h.found {
		n += c
	}
	return n
}

// index prepares the checks.
func (h *history) index() {
	h.byValue = map[string]*Op{}
	h.acked, h.ackedVia = map[string]ackList{}, map[via]ackList{}
	for i := range h.ops {
		op := &h.ops[i]
		if op.write() {
			h.byValue[op.Value] = op
		}
		for _, v := range op.Wrote {
			if !h.survived(v) {
				continue
			}
			a := ack{op.End, v.N, op}
			h.acked[v.Key] = h.acked[v.Key].add(a)
			h.ackedVia[via{op.Target, v.Key}] = h.ackedVia[via{op.Target, v.Key}].add(a)
		}
	}
	h.findDetours()
}

// add keeps the list such that n grows.
func (l ackList) add(a ack) ackList {
	if len(l) > 0 && l[len(l)-1].n >= a.n {
		return l
	}
	return append(l, a)
}

// survived reports whether a version is part of the primary's history.
func (h *history) survived(v Version) bool {
	value, ok := h.truth.version(v.Key, v.N)
	return ok && value == v.Value
}

// survivedBalance reports whether the k-th account that a read of the bank saw
// had that balance at that version.
func (h *history) survivedBalance(op *Op, k int) bool {
	list := h.truth.balances[op.Saw[k].Key]
	n := op.Saw[k].N
	return n >= 0 && n < len(list) && k < len(op.balances) && list[n] == op.balances[k]
}

// shown returns which surviving version a read showed. Of what was lost only
// lists tell which one that is.
func (h *history) shown(op *Op, k int) (n int, ok bool) {
	v := op.Saw[k]
	switch {
	case op.Workload == Bank:
		return v.N, h.survivedBalance(op, k)
	case v.N == 0 && v.Value == "" || h.survived(v):
		return v.N, true
	case op.Workload == Append:
		stored := h.truth.versions[v.Key]
		for n < len(op.list) && n < len(stored) && op.list[n] == stored[n] {
			n++
		}
		return n, true
	}
	return 0, false
}
