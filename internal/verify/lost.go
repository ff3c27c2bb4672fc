package verify

import (
	"fmt"

	"github.com/pgroute/pgroute/internal/sqlstate"
)

// teller follows what one process has written and what it was told.
type teller struct {
	last    *Op   // the last acknowledged write, even if it changed nothing
	waiting []*Op // acknowledged, missing, and not told of yet
}

// checkLosses looks for acknowledged writes that are missing, and at what their
// writers were told.
func (h *history) checkLosses() (looked, undecided int) {
	all := map[int]*teller{}
	for i := range h.ops {
		op := &h.ops[i]
		t := all[op.Process]
		if t == nil {
			t = &teller{}
			all[op.Process] = t
		}
		// What came with an operation is about the one before.
		for _, code := range op.Told {
			h.told(t, op, code)
		}
		if op.write() && op.Outcome == OK {
			looked++
			t.last = op
			if !op.Refused && !h.truth.has(op.Value) {
				h.losses.Lost++
				t.waiting = append(t.waiting, op)
				continue
			}
		}
		// Here it could have been told: its server is one that survived.
		if len(t.waiting) > 0 && op.Outcome == OK && (op.Kind == KindFinal || op.write() && !op.Refused) {
			for _, w := range t.waiting {
				h.missing(w, *op)
			}
			t.waiting = nil
		}
	}
	for _, t := range all {
		for _, w := range t.waiting {
			if h.opts.MayLose {
				h.losses.Gone++
			} else {
				h.missing(w)
			}
		}
	}
	return looked, 0
}

// told judges a PR002 or PR003 that came with op.
func (h *history) told(t *teller, op *Op, code string) {
	lost := code == sqlstate.WriteLost
	if lost {
		h.losses.Warnings++
	} else {
		h.losses.MaybeWarnings++
	}
	if t.last == nil {
		h.find(Finding{Kind: ToldWithoutWrite, Ops: []Op{*op}, What: fmt.Sprintf("a connection that has written nothing was told %s", code)})
		return
	}
	there := t.last.Refused || h.truth.has(t.last.Value)
	switch {
	case there && lost && h.astray(op, t.last):
		// It was lost when that was said.
	case there && lost:
		h.find(Finding{Kind: WrongLost, Workload: t.last.Workload, Key: t.last.Key, Ops: []Op{*t.last, *op},
			What: fmt.Sprintf("%s is there, or wrote nothing, and its writer was told that it is lost", t.last.Value)})
	case there:
		h.losses.Needless++
	}
	for _, w := range t.waiting {
		switch {
		case !h.opts.MayLose:
			h.missing(w, *op)
		case lost:
			h.losses.Told++
		default:
			h.losses.MaybeTold++
		}
	}
	t.waiting = nil
}

// missing is the finding that an acknowledged write is not there.
func (h *history) missing(w *Op, more ...Op) {
	f := Finding{Kind: WriteMissing, Workload: w.Workload, Key: w.Key, Ops: append([]Op{*w}, more...)}
	f.What = fmt.Sprintf("%s was acknowledged and is not there", w.Value)
	if h.opts.MayLose {
		f.What += "; its writer was not told, although its connection went on"
	}
	h.find(f)
}
