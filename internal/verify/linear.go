package verify

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// model is what a register or a list does, one operation after the other. The
// state of a list is its elements, joined.
var model = porcupine.Model{
	Init: func() any { return "" },
	Step: func(state, input, _ any) (bool, any) {
		op, now := input.(*linearOp), state.(string)
		switch op.kind {
		case KindRead:
			return now == op.shown, now
		case KindCAS:
			if op.refused {
				return now != op.old, now
			}
			return now == op.old, op.value
		case KindAppend:
			if now == "" {
				return true, op.value
			}
			return true, now + "," + op.value
		default:
			return true, op.value
		}
	},
}

// linearOp is one operation on one key.
type linearOp struct {
	kind, value, old, shown string
	refused                 bool
	op                      *Op // nil: the final read
}

// checkLinear checks the writes and the reads at one level, key by key.
func (h *history) checkLinear(level string) (looked, undecided int) {
	byKey := map[string][]*Op{}
	var keys []string
	for i := range h.ops {
		op := &h.ops[i]
		if op.Workload != Register && op.Workload != Append || !op.write() && (op.Kind != KindRead || op.Level != level) {
			continue
		}
		if byKey[op.Key] == nil {
			keys = append(keys, op.Key)
		}
		byKey[op.Key] = append(byKey[op.Key], op)
	}
	for _, key := range keys {
		list := h.linearOps(level, byKey[key])
		if len(list) == 0 {
			continue
		}
		looked++
		result := porcupine.CheckOperationsTimeout(model, list, h.opts.CheckTime)
		if result == porcupine.Illegal {
			list, result = h.linearElsewhere(list)
		}
		switch result {
		case porcupine.Unknown:
			undecided++
		case porcupine.Illegal:
			h.notLinearizable(level, key, list)
		}
	}
	return looked, undecided
}

// linearOps returns what took effect on one key. Writes that were lost are left
// out, with the reads that saw them: their writers are judged elsewhere.
func (h *history) linearOps(level string, ops []*Op) (list []porcupine.Operation) {
	seen := map[string]time.Duration{} // the first end of who was shown a value
	onReplica := false
	for _, op := range ops {
		onReplica = onReplica || level == Strong && op.Kind == KindRead && op.Role == "replica"
		values := op.list
		if op.Workload == Register && op.Outcome == OK {
			switch {
			case op.Kind == KindRead:
				values = []string{op.Saw[0].Value}
			case op.Kind == KindCAS && !op.Refused:
				values = []string{op.Old}
			}
		}
		for _, v := range values {
			if at, ok := seen[v]; !ok || op.End < at {
				seen[v] = op.End
			}
		}
	}
	key, workload := ops[0].Key, ops[0].Workload
	last := int64(math.MinInt64)
	reads := 0
	for _, op := range ops {
		in := h.linearOp(op)
		if in == nil || op.Kind == KindRead && onReplica && op.Role != "replica" {
			// Reads on the primary beside those of others on replicas are judged by
			// what was acknowledged, and by what their own connection saw.
			continue
		}
		end := int64(op.End)
		if op.Outcome == Unknown {
			// It has survived; so it took effect before somebody was shown it, or
			// before the data was read back.
			at, ok := seen[op.Value]
			end = int64(at)
			if !ok {
				end = math.MaxInt64
			}
		}
		if op.Kind == KindRead {
			reads++
		}
		last = max(last, int64(op.End))
		list = append(list, porcupine.Operation{ClientId: op.Process, Input: in, Call: int64(op.Start), Return: end})
	}
	if reads == 0 {
		return nil
	}
	// What is there at the end was read after everything else.
	stored := h.truth.versions[key]
	final := &linearOp{kind: KindRead, shown: strings.Join(stored, ",")}
	if workload == Register && len(stored) > 0 {
		final.shown = stored[len(stored)-1]
	}
	last = max(last, int64(h.elapsed)) + 1
	for i := range list {
		list[i].Return = min(list[i].Return, last)
	}
	return append(list, porcupine.Operation{ClientId: -1, Input: final, Call: last, Return: last + 1})
}

// linearElsewhere checks what is not linearizable again without the reads that a
// detour explains, and returns what it checked.
func (h *history) linearElsewhere(list []porcupine.Operation) ([]porcupine.Operation, porcupine.CheckResult) {
	rest, apart := h.apartFromDetours(list)
	if len(apart) == 0 {
		return list, porcupine.Illegal
	}
	for _, op := range apart {
		h.detourOf(op).unjudged[op] = true
	}
	return rest, porcupine.CheckOperationsTimeout(model, rest, h.opts.CheckTime)
}

// apartFromDetours parts the reads that a detour explains from the rest.
func (h *history) apartFromDetours(list []porcupine.Operation) (rest []porcupine.Operation, apart []*Op) {
	for _, o := range list {
		op := o.Input.(*linearOp).op
		if op == nil || op.Kind != KindRead || !h.missesWhatWas(op, list) {
			rest = append(rest, o)
			continue
		}
		apart = append(apart, op)
	}
	return rest, apart
}

// missesWhatWas reports whether a read ran in a detour and showed less of its key
// than others had acknowledged, or been shown, before anything was acknowledged
// there.
func (h *history) missesWhatWas(op *Op, list []porcupine.Operation) bool {
	d := h.detourOf(op)
	if d == nil {
		return false
	}
	n, _ := h.shown(op, 0) // linearOps left out what was shown and lost
	if h.acked[op.Key].before(d.left).n > n {
		return true
	}
	return slices.ContainsFunc(list, func(o porcupine.Operation) bool {
		other := o.Input.(*linearOp).op
		if other == nil || other.Kind != KindRead || other.Start >= d.left {
			return false
		}
		saw, _ := h.shown(other, 0)
		return saw > n
	})
}

// linearOp returns what an operation was, nil if it took no effect.
func (h *history) linearOp(op *Op) *linearOp {
	in := &linearOp{kind: op.Kind, value: op.Value, old: op.Old, refused: op.Refused, op: op}
	switch {
	case op.Kind == KindRead:
		if op.Outcome != OK || h.sawLost(op) {
			return nil
		}
		in.shown = strings.Join(op.list, ",")
		if op.Workload == Register {
			in.shown = op.Saw[0].Value
		}
	case op.Outcome == Failed, !op.Refused && !h.truth.has(op.Value):
		return nil
	case op.Refused && h.opts.MayLose:
		return nil // it may have found what was lost
	}
	return in
}

// sawLost reports whether a read was shown something that was written and lost.
func (h *history) sawLost(op *Op) bool {
	values := op.list
	if op.Workload == Register {
		values = []string{op.Saw[0].Value}
	}
	return slices.ContainsFunc(values, func(v string) bool { return v != "" && h.byValue[v] != nil && !h.truth.has(v) })
}

// notLinearizable notes the finding, with as few operations as explain it.
func (h *history) notLinearizable(level, key string, list []porcupine.Operation) {
	list = shrink(list, h.opts.CheckTime)
	f := Finding{Kind: NotLinearizable, Level: level, Key: key}
	for _, o := range list {
		in := o.Input.(*linearOp)
		if in.op == nil {
			f.Ops = append(f.Ops, Op{Client: -1, Kind: KindRead, Key: key, Level: Primary, Outcome: OK, Start: time.Duration(o.Call), End: time.Duration(o.Return),
				Saw: []Version{{key, len(h.truth.versions[key]), in.shown}}})
			continue
		}
		f.Workload = in.op.Workload
		f.Ops = append(f.Ops, *in.op)
	}
	f.What = fmt.Sprintf("no order of the operations on %s explains what the reads at %s were shown; without any of these %d it would be explained", key, level, len(list))
	h.find(f)
}

// shrink leaves out what is not needed to make the history wrong: reads, and
// then writes that nobody who is left was shown. It stops when time is up.
func shrink(list []porcupine.Operation, patience time.Duration) []porcupine.Operation {
	began := time.Now()
	for i := 0; i < len(list) && time.Since(began) < patience; {
		if !removable(list, i) {
			i++
			continue
		}
		less := slices.Delete(slices.Clone(list), i, i+1)
		if porcupine.CheckOperationsTimeout(model, less, patience) == porcupine.Illegal {
			// What was needed before may not be now.
			list, i = less, 0
			continue
		}
		i++
	}
	return list
}

// removable reports whether the i-th operation may be left out without making
// another one inexplicable.
func removable(list []porcupine.Operation, i int) bool {
	in := list[i].Input.(*linearOp)
	if in.kind == KindRead || in.refused {
		return true
	}
	for _, o := range list {
		other := o.Input.(*linearOp)
		if other != in && (other.old == in.value || slices.Contains(strings.Split(other.shown, ","), in.value)) {
			return false
		}
	}
	return true
}
