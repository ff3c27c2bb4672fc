package verify

import (
	"fmt"
	"slices"
)

// checkWrites compares what was acknowledged and what failed with what is there.
func (h *history) checkWrites() (looked, undecided int) {
	for _, f := range h.truth.odd {
		h.find(f)
	}
	for key, list := range h.truth.versions {
		for i, value := range list {
			v := Version{key, i + 1, value}
			switch op := h.byValue[value]; {
			case value == "":
				h.find(Finding{Kind: OddValue, Key: key, What: fmt.Sprintf("nothing is stored for %s, but for later ones", v)})
			case op == nil:
				h.find(Finding{Kind: OddValue, Key: key, What: fmt.Sprintf("%s is stored, and nobody wrote it", v)})
			case op.Outcome == Failed || op.Refused:
				h.find(Finding{Kind: FailedWriteThere, Workload: op.Workload, Key: key, Ops: []Op{*op},
					What: fmt.Sprintf("the client was told that it had not written, and %s is stored", v)})
			}
		}
	}
	claimed := map[Version]*Op{}
	own := map[via]*Op{} // the last write of a process to a key
	for i := range h.ops {
		op := &h.ops[i]
		if !op.write() {
			continue
		}
		looked++
		if op.Workload == Booking && op.Refused && len(h.truth.versions[op.Key]) == 0 && !h.soldUnseen(op.Key) {
			h.find(Finding{Kind: OddValue, Workload: Booking, Key: op.Key, Ops: []Op{*op}, What: op.Key + " was refused, and nobody has it"})
		}
		for _, v := range op.Wrote {
			at := Version{Key: v.Key, N: v.N}
			h.checkClaim(claimed[at], op, v)
			if claimed[at] == nil || !h.survived(Version{v.Key, v.N, claimed[at].Value}) {
				claimed[at] = op
			}
			p := via{fmt.Sprint(op.Process), v.Key}
			if before := own[p]; before != nil && versionOf(before, v.Key) >= v.N && h.survived(v) && h.truth.has(before.Value) {
				h.find(Finding{Kind: WritesReordered, Workload: op.Workload, Key: v.Key, Ops: []Op{*before, *op},
					What: fmt.Sprintf("a connection wrote version %d, and after that version %d", versionOf(before, v.Key), v.N)})
			}
			own[p] = op
		}
	}
	return looked, 0
}

// checkClaim demands that no two acknowledged writes made the same version,
// unless one of them was lost.
func (h *history) checkClaim(other, op *Op, v Version) {
	if other == nil || h.opts.MayLose && (!h.truth.has(other.Value) || !h.truth.has(op.Value)) {
		if there := h.truth.at[v.Value]; len(there) > 0 && !slices.Contains(there, v) {
			h.find(Finding{Kind: OddValue, Workload: op.Workload, Key: v.Key, Ops: []Op{*op}, What: fmt.Sprintf("it was acknowledged as %s, and is stored as %v", v, there)})
		}
		return
	}
	f := Finding{Kind: LostUpdate, Workload: op.Workload, Key: v.Key, Ops: []Op{*other, *op},
		What: fmt.Sprintf("both %s and %s were acknowledged as %s", other.Value, op.Value, Version{Key: v.Key, N: v.N})}
	if op.Workload == Booking {
		f.Kind, f.What = DoubleBooking, fmt.Sprintf("%s was sold to %s and to %s", v.Key, other.Value, op.Value)
	}
	h.find(f)
}

// soldUnseen reports whether a booking without a known or a lasting outcome may
// have held a seat.
func (h *history) soldUnseen(key string) bool {
	for i := range h.ops {
		op := &h.ops[i]
		if op.Key == key && op.Kind == KindBook && (op.Outcome == Unknown || op.Outcome == OK && !op.Refused) {
			return true
		}
	}
	return false
}

// versionOf returns the version of key that op wrote, or -1.
func versionOf(op *Op, key string) int {
	for _, v := range op.Wrote {
		if v.Key == key {
			return v.N
		}
	}
	return -1
}

// checkValues demands that every value that was shown was written, and in the
// order of the history.
func (h *history) checkValues() (looked, undecided int) {
	for i := range h.ops {
		op := &h.ops[i]
		if op.Kind != KindRead || op.Outcome != OK {
			continue
		}
		looked++
		switch op.Workload {
		case Append:
			h.checkList(op)
		case Bank:
			h.checkBalances(op)
		default:
			for _, v := range op.Saw {
				h.checkShown(op, v)
			}
		}
	}
	return looked, 0
}

// checkShown judges one version that a read was shown.
func (h *history) checkShown(op *Op, v Version) {
	if v.N == 0 && v.Value == "" || h.survived(v) {
		return
	}
	from := h.byValue[v.Value]
	f := Finding{Kind: OddValue, Workload: op.Workload, Level: op.Level, Key: v.Key, Ops: []Op{*op}}
	switch {
	case from == nil:
		f.What = fmt.Sprintf("%s was shown, and nobody wrote it", v)
	case from.Outcome == Failed || from.Refused:
		f.What, f.Ops = fmt.Sprintf("%s was shown, and its write failed", v), append(f.Ops, *from)
	case h.truth.has(v.Value):
		f.What, f.Ops = fmt.Sprintf("%s was shown, and is stored as %v", v, h.truth.at[v.Value]), append(f.Ops, *from)
	default:
		return // lost: the writer's matter
	}
	h.find(f)
}

// checkList demands that a list which was shown is the beginning of what is
// stored, but for elements at its end that are lost.
func (h *history) checkList(op *Op) {
	same := 0
	stored := h.truth.versions[op.Key]
	for same < len(op.list) && same < len(stored) && op.list[same] == stored[same] {
		same++
	}
	for i := same; i < len(op.list); i++ {
		value := op.list[i]
		from := h.byValue[value]
		f := Finding{Kind: OddValue, Workload: Append, Level: op.Level, Key: op.Key, Ops: []Op{*op}}
		switch {
		case slices.Contains(op.list[:i], value):
			f.What = fmt.Sprintf("%s is in the list twice", value)
		case from == nil:
			f.What = fmt.Sprintf("%s is in the list, and nobody wrote it", value)
		case from.Outcome == Failed:
			f.What, f.Ops = fmt.Sprintf("%s is in the list, and its write failed", value), append(f.Ops, *from)
		case h.truth.has(value):
			f.What, f.Ops = fmt.Sprintf("%s is element %d of the list, and is stored as %v", value, i+1, h.truth.at[value]), append(f.Ops, *from)
		default:
			continue // lost: the writer's matter
		}
		h.find(f)
		return
	}
}

// checkBalances demands that a snapshot of all accounts has their sum, and that
// each balance is the one of its version.
func (h *history) checkBalances(op *Op) {
	if len(op.balances) == 0 {
		return // before there were accounts
	}
	f := Finding{Kind: MoneyChanged, Workload: Bank, Level: op.Level, Ops: []Op{*op}}
	var sum int64
	for _, b := range op.balances {
		sum += b
	}
	if want := int64(accounts) * startBalance; len(op.balances) != accounts || sum != want {
		f.What = fmt.Sprintf("%d accounts were shown with %d in all, not %d", len(op.balances), sum, want)
		h.find(f)
		return
	}
	for k, v := range op.Saw {
		if h.survivedBalance(op, k) || h.opts.MayLose {
			continue
		}
		if n := len(h.truth.balances[v.Key]); v.N < n && !h.undone(op) {
			f.Key, f.What = v.Key, fmt.Sprintf("%s was shown with %d, which by the ledger had %d", v, op.balances[k], h.truth.balances[v.Key][v.N])
			h.find(f)
			return
		}
	}
}

// undone reports whether a transfer that was not acknowledged although its COMMIT
// was sent, begun before the end of op, is not there: a replica may have shown it
// before a failover discarded it, which breaks no promise, and then another took
// its version.
func (h *history) undone(op *Op) bool {
	return slices.ContainsFunc(h.ops, func(o Op) bool {
		return o.Workload == Bank && o.Kind == KindTransfer && (o.Outcome == Unknown || o.Undone) && o.Start < op.End && !h.truth.has(o.Value)
	})
}
