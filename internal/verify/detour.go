package verify

import (
	"fmt"
	"math"
	"time"
)

// Detour is a time in which the cluster was on a history that it left again, for
// one that it had left before: a server that was cut off came back as the
// primary with its own data. Who wrote there before was rightly told of a loss,
// and reads rightly did not show it; nobody could know that it would be there
// again.
type Detour struct {
	From time.Duration `json:"from"`
	To   time.Duration `json:"to"`
	// Twice is how many versions were made a second time, after the first was
	// acknowledged, and lost. Example is the first of them.
	Twice   int    `json:"twice"`
	Example string `json:"example"`
	// Unjudged is how many operations are not judged by what the final history has
	// from before the detour.
	Unjudged int `json:"unjudged"`
}

// String says what it was, in a line.
func (d Detour) String() string {
	return fmt.Sprintf("the cluster went back to a history that it had left: from %.3fs to %.3fs it was on another one, which is lost (%d versions were made twice, such as %s); %d operations of that time are not judged by what came back",
		d.From.Seconds(), d.To.Seconds(), d.Twice, d.Example, d.Unjudged)
}

// detour is one while it is found and used.
type detour struct {
	Detour
	// left is when the first write on the lost history was acknowledged, last when
	// the last one was.
	left, last time.Duration
	unjudged   map[*Op]bool
}

// detourReach bounds what belongs to a detour: how long before its first lost
// write, between two of them, and after the last one.
const detourReach = 30 * time.Second

// findDetours finds the detours, where writes may be lost. Each is a run of
// acknowledged writes that are all lost, from the surviving one before to the
// surviving one after them. That alone is any failover that loses writes. The
// proof that the cluster went back is a version that was made twice, under the
// lock of its row: first by a surviving write, and after that was acknowledged by
// one of the run. A surviving write that began within ends the run: what is
// written on two servers by turns is no detour.
func (h *history) findDetours() {
	if !h.opts.MayLose {
		return
	}
	made := map[Version]*Op{} // by surviving writes, without their values
	var d *detour
	var survived time.Duration // the end of the last surviving write
	end := func(at time.Duration) {
		if d != nil && d.Twice > 0 {
			d.To = min(at, d.last+detourReach)
			h.detours = append(h.detours, d)
		}
		d = nil
	}
	for i := range h.ops {
		op := &h.ops[i]
		if op.Outcome != OK || len(op.Wrote) == 0 {
			continue
		}
		if h.truth.has(op.Value) {
			for _, v := range op.Wrote {
				made[Version{Key: v.Key, N: v.N}] = op
			}
			survived = op.End
			if d != nil && op.Start > d.left {
				end(op.End)
			}
			continue
		}
		if d != nil && op.End-d.last > detourReach {
			end(op.End)
		}
		if d == nil {
			d = &detour{left: op.End, unjudged: map[*Op]bool{}}
			d.From = max(survived, op.End-detourReach)
		}
		d.last = op.End
		for _, v := range op.Wrote {
			first := made[Version{Key: v.Key, N: v.N}]
			if first == nil || first.End >= op.Start {
				continue
			}
			if d.Twice++; d.Twice == 1 {
				d.Example = fmt.Sprintf("%s by %s and by %s", Version{Key: v.Key, N: v.N}, first.Value, v.Value)
			}
		}
	}
	end(math.MaxInt64)
}

func (d *detour) covers(op *Op) bool { return op.Start < d.To && op.End > d.From }

// detourOf returns the detour that op ran in, or nil.
func (h *history) detourOf(op *Op) *detour {
	for _, d := range h.detours {
		if d.covers(op) {
			return d
		}
	}
	return nil
}

// astray reports whether what op was answered is explained by a detour: op ran
// in it, and what speaks against the answer, before, began before any write of
// the detour was acknowledged.
func (h *history) astray(op, before *Op) bool {
	for _, d := range h.detours {
		if d.covers(op) && before.Start < d.left {
			d.unjudged[op] = true
			return true
		}
	}
	return false
}
