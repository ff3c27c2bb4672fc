package verify_test

import (
	"testing"
	"time"

	"github.com/pgroute/pgroute/internal/verify"
)

const ms = time.Millisecond

// story makes a history by hand. Each line is one operation; times are in
// milliseconds.
type story []verify.Op

// do adds an operation of a process, from and until.
func (s *story) do(process int, from, until int, op verify.Op) {
	op.Process, op.Client, op.Start, op.End = process, process, time.Duration(from)*ms, time.Duration(until)*ms
	if op.Target == "" {
		op.Target = "a"
	}
	if op.Outcome == "" {
		op.Outcome = verify.OK
	}
	if op.Scope == "" {
		op.Scope = "connection"
	}
	*s = append(*s, op)
}

func write(key string, n int, value string) verify.Op {
	return verify.Op{Workload: verify.Register, Kind: verify.KindWrite, Key: key, Value: value, Wrote: []verify.Version{{Key: key, N: n, Value: value}}}
}

func failed(op verify.Op, outcome verify.Outcome) verify.Op {
	op.Wrote, op.Outcome = nil, outcome
	return op
}

func cas(key string, n int, old, value string) verify.Op {
	op := write(key, n, value)
	op.Kind, op.Old = verify.KindCAS, old
	return op
}

func refused(op verify.Op) verify.Op {
	op.Wrote, op.Refused = nil, true
	return op
}

// read is one on a replica.
func read(level, key string, n int, value string) verify.Op {
	return verify.Op{Workload: verify.Register, Kind: verify.KindRead, Level: level, Key: key, Role: "replica", Saw: []verify.Version{{Key: key, N: n, Value: value}}}
}

func onPrimary(op verify.Op) verify.Op {
	op.Role = "primary"
	return op
}

func through(target string, op verify.Op) verify.Op {
	op.Target = target
	return op
}

func appended(key string, n int, value string) verify.Op {
	return verify.Op{Workload: verify.Append, Kind: verify.KindAppend, Key: key, Value: value, Wrote: []verify.Version{{Key: key, N: n, Value: value}}}
}

func list(level, key string, elements ...string) verify.Op {
	return verify.WithList(verify.Op{Workload: verify.Append, Kind: verify.KindRead, Level: level, Key: key, Role: "replica"}, elements...)
}

func booked(key, customer string) verify.Op {
	return verify.Op{Workload: verify.Booking, Kind: verify.KindBook, Key: key, Value: customer, Wrote: []verify.Version{{Key: key, N: 1, Value: customer}}}
}

func bank(level string, changes map[int]int64, versions map[int]int) verify.Op {
	return verify.WithBank(verify.Op{Workload: verify.Bank, Kind: verify.KindRead, Level: level, Role: "replica"}, changes, versions)
}

func told(op verify.Op, code string) verify.Op {
	op.Told = []string{code}
	return op
}

var (
	connect = verify.Op{Kind: verify.KindConnect}
	final   = verify.Op{Kind: verify.KindFinal, Level: verify.Primary, Role: "primary"}
	scoped  = func(op verify.Op) verify.Op { op.Scope = "application"; return op }
)

// Each bad history is noticed, by the check whose matter it is, and the same
// history without what is wrong in it is not.
func TestJudge(t *testing.T) {
	type truth = map[string][]string
	onlyX := truth{"x": {"1"}}
	tests := []struct {
		name   string
		opts   verify.Options
		tell   func(s *story, bad bool)
		truth  truth
		ledger []verify.Entry
		want   string // what is found if it is bad; empty: there is no bad one
		also   string // may be found besides
	}{
		{name: "own write is missing on the same connection", truth: onlyX, want: verify.OwnWriteMissing, tell: func(s *story, bad bool) {
			s.do(1, 0, 10, write("x", 1, "1"))
			s.do(1, 11, 12, pick(bad, read(verify.Session, "x", 0, ""), read(verify.Session, "x", 1, "1")))
		}},
		{name: "own write is missing on another connection of the application", truth: onlyX, want: verify.OwnWriteMissing, tell: func(s *story, bad bool) {
			s.do(1, 0, 10, write("x", 1, "1"))
			// Through another target, or with the scope connection, it may be missing.
			s.do(2, 11, 12, pick(bad, scoped(read(verify.Session, "x", 0, "")), read(verify.Session, "x", 0, "")))
			s.do(3, 11, 12, scoped(through("b", read(verify.Session, "x", 0, ""))))
		}},
		{name: "a read that is not after the write may miss it", truth: onlyX, tell: func(s *story, bad bool) {
			s.do(1, 0, 10, write("x", 1, "1"))
			s.do(2, 9, 12, scoped(read(verify.Session, "x", 0, "")))
			s.do(3, 9, 12, read(verify.Strong, "x", 0, ""))
			s.do(4, 5, 6, read(verify.Strong, "x", 0, ""))
		}},
		{name: "a new connection misses what was acknowledged before", truth: onlyX, want: verify.OwnWriteMissing, tell: func(s *story, bad bool) {
			s.do(1, 0, 10, write("x", 1, "1"))
			s.do(2, pickInt(bad, 11, 9), 12, connect)
			s.do(2, 13, 14, read(verify.Session, "x", 0, ""))
		}},
		{name: "a token misses what was acknowledged before", truth: onlyX, want: verify.OwnWriteMissing, tell: func(s *story, bad bool) {
			s.do(1, 0, 10, write("x", 1, "1"))
			give, take := verify.WithToken(verify.Op{Kind: verify.KindGive, Target: "a"}, verify.Op{Kind: verify.KindTake, Target: "b"})
			s.do(4, pickInt(bad, 11, 9), 12, give)
			s.do(2, 13, 14, take)
			s.do(2, 15, 16, through("b", read(verify.Session, "x", 0, "")))
		}},
		{name: "a token misses what was shown to its giver", truth: onlyX, want: verify.WentBack, tell: func(s *story, bad bool) {
			s.do(1, 0, 100, write("x", 1, "1"))
			s.do(2, 1, 2, read(verify.Session, "x", 1, "1"))
			give, take := verify.WithToken(verify.Op{Kind: verify.KindGive, Target: "a"}, verify.Op{Kind: verify.KindTake, Target: "b"})
			s.do(2, 3, 4, give)
			s.do(3, 5, 6, take)
			s.do(3, 7, 8, through("b", pick(bad, read(verify.Session, "x", 0, ""), read(verify.Session, "x", 1, "1"))))
		}},
		{name: "backwards between two replicas", truth: truth{"x": {"1", "2"}}, want: verify.WentBack, tell: func(s *story, bad bool) {
			s.do(1, 0, 10, write("x", 1, "1"))
			s.do(1, 11, 20, write("x", 2, "2"))
			s.do(2, 21, 22, read(verify.Session, "x", 2, "2"))
			s.do(2, 23, 24, pick(bad, read(verify.Session, "x", 1, "1"), read(verify.Session, "x", 2, "2")))
			// At bounded and eventual it may.
			s.do(2, 25, 26, read(verify.Bounded, "x", 1, "1"))
			s.do(2, 25, 26, read(verify.Eventual, "x", 1, "1"))
		}},
		{name: "a commit that is not acknowledged is hidden by the primary", truth: onlyX, want: verify.WentBack, tell: func(s *story, bad bool) {
			s.do(1, 0, 100, write("x", 1, "1"))
			s.do(2, 1, 2, read(verify.Session, "x", 1, "1"))
			s.do(2, 3, 4, onPrimary(pick(bad, read(verify.Session, "x", 0, ""), read(verify.Session, "x", 1, "1"))))
		}},
		{name: "which is no finding without the guard", truth: onlyX, opts: verify.Options{Unguarded: true}, tell: func(s *story, bad bool) {
			s.do(1, 0, 100, write("x", 1, "1"))
			s.do(2, 1, 2, read(verify.Session, "x", 1, "1"))
			s.do(2, 3, 4, onPrimary(read(verify.Session, "x", 0, "")))
		}},
		{name: "nor is it one between two connections", truth: onlyX, tell: func(s *story, bad bool) {
			s.do(1, 0, 100, write("x", 1, "1"))
			s.do(2, 1, 2, read(verify.Strong, "x", 1, "1"))
			give, take := verify.WithToken(verify.Op{Kind: verify.KindGive, Target: "a"}, verify.Op{Kind: verify.KindTake, Target: "b"})
			s.do(2, 3, 4, give)
			s.do(3, 5, 6, take)
			s.do(3, 7, 8, onPrimary(read(verify.Strong, "x", 0, "")))
			s.do(4, 7, 8, onPrimary(scoped(read(verify.Strong, "x", 0, ""))))
		}},
		{name: "but is one once the commit is acknowledged", truth: onlyX, want: verify.WentBack, tell: func(s *story, bad bool) {
			s.do(1, 0, 3, write("x", 1, "1"))
			s.do(2, 1, 2, read(verify.Session, "x", 1, "1"))
			s.do(2, 4, 5, onPrimary(pick(bad, read(verify.Session, "x", 0, ""), read(verify.Session, "x", 1, "1"))))
		}},
		{name: "a connection's writes change places", truth: truth{"x": {"2", "1"}}, want: verify.WritesReordered, tell: func(s *story, bad bool) {
			s.do(1, 0, 1, write("x", 2, "1"))
			s.do(pickInt(bad, 1, 2), 2, 3, write("x", 1, "2"))
		}},
		{name: "the cause of what was shown is missing", truth: truth{"x": {"1"}, "y": {"2"}}, want: verify.CauseMissing, tell: func(s *story, bad bool) {
			s.do(1, 0, 10, write("x", 1, "1"))
			s.do(2, 11, 12, read(verify.Session, "x", 1, "1"))
			s.do(2, 13, 14, write("y", 1, "2"))
			s.do(3, 15, 16, read(verify.Session, "y", pickInt(bad, 1, 0), pick(bad, "2", "")))
			s.do(3, 17, 18, read(verify.Session, "x", 0, ""))
		}},
		{name: "stale beyond the bound", truth: onlyX, opts: verify.Options{Staleness: 50 * ms}, want: verify.TooStale, tell: func(s *story, bad bool) {
			s.do(1, 0, 10, write("x", 1, "1"))
			s.do(2, pickInt(bad, 61, 60), 70, read(verify.Bounded, "x", 0, ""))
		}},
		{name: "stale at strong", truth: onlyX, want: verify.StaleStrong, also: verify.NotLinearizable, tell: func(s *story, bad bool) {
			s.do(1, 0, 10, write("x", 1, "1"))
			s.do(2, 11, 12, pick(bad, read(verify.Strong, "x", 0, ""), read(verify.Strong, "x", 1, "1")))
		}},
		{name: "stale at primary", truth: onlyX, want: verify.StaleStrong, also: verify.NotLinearizable, tell: func(s *story, bad bool) {
			s.do(1, 0, 10, write("x", 1, "1"))
			s.do(2, 11, 12, onPrimary(pick(bad, read(verify.Primary, "x", 0, ""), read(verify.Primary, "x", 1, "1"))))
		}},
		{name: "two readers at strong disagree on the order of time", truth: onlyX, want: verify.NotLinearizable, tell: func(s *story, bad bool) {
			s.do(1, 0, 100, write("x", 1, "1"))
			s.do(2, 1, 2, read(verify.Strong, "x", 1, "1"))
			s.do(3, pickInt(bad, 3, 1), 4, read(verify.Strong, "x", 0, ""))
		}},
		{name: "lists at strong are linearizable too", truth: truth{"l": {"1", "2"}}, want: verify.NotLinearizable, tell: func(s *story, bad bool) {
			s.do(1, 0, 100, appended("l", 1, "1"))
			s.do(4, 0, 100, appended("l", 2, "2"))
			s.do(2, 1, 2, list(verify.Strong, "l", "1", "2"))
			s.do(3, pickInt(bad, 3, 1), 4, list(verify.Strong, "l", "1"))
		}},
		{name: "compare and set that found what was not there", truth: truth{"x": {"1", "2", "3"}}, want: verify.NotLinearizable, tell: func(s *story, bad bool) {
			s.do(1, 0, 10, write("x", 1, "1"))
			s.do(2, 11, 20, write("x", 2, "2"))
			s.do(3, 21, 30, cas("x", 3, pick(bad, "1", "2"), "3"))
			s.do(4, 31, 32, read(verify.Strong, "x", 3, "3"))
		}},
		{name: "compare and set that missed what was there", truth: onlyX, want: verify.NotLinearizable, tell: func(s *story, bad bool) {
			s.do(1, 0, 10, write("x", 1, "1"))
			s.do(2, 11, 20, refused(cas("x", 2, pick(bad, "1", "0"), "2")))
			s.do(4, 31, 32, read(verify.Strong, "x", 1, "1"))
		}},
		{name: "unknown writes may take effect late, or never", truth: truth{"x": {"1", "2", "3"}}, tell: func(s *story, bad bool) {
			s.do(1, 0, 10, failed(write("x", 1, "1"), verify.Unknown))
			s.do(2, 0, 10, failed(write("x", 1, "never"), verify.Unknown))
			s.do(3, 0, 10, failed(write("x", 3, "3"), verify.Unknown))
			s.do(4, 11, 12, read(verify.Strong, "x", 0, ""))
			s.do(4, 13, 14, read(verify.Strong, "x", 1, "1"))
			s.do(5, 15, 16, write("x", 2, "2"))
			s.do(4, 17, 18, read(verify.Strong, "x", 2, "2"))
			s.do(4, 19, 20, read(verify.Strong, "x", 3, "3"))
		}},
		{name: "an unknown write that came and went", truth: truth{"x": {"1", "2"}}, want: verify.NotLinearizable, also: verify.WentBack, tell: func(s *story, bad bool) {
			s.do(1, 0, 10, write("x", 1, "1"))
			s.do(2, 0, 11, failed(write("x", 2, "2"), verify.Unknown))
			s.do(4, 20, 21, read(verify.Strong, "x", 2, "2"))
			s.do(5, 22, 23, pick(bad, read(verify.Strong, "x", 1, "1"), read(verify.Strong, "x", 2, "2")))
		}},
		{name: "lost update", truth: truth{"x": {"1"}}, want: verify.LostUpdate, also: verify.WriteMissing, tell: func(s *story, bad bool) {
			s.do(1, 0, 10, write("x", 1, "1"))
			if bad {
				s.do(2, 0, 10, write("x", 1, "2"))
			}
		}},
		{name: "double booking", truth: truth{"seat": {"ann"}}, want: verify.DoubleBooking, also: verify.WriteMissing, tell: func(s *story, bad bool) {
			s.do(1, 0, 10, booked("seat", "ann"))
			s.do(2, 5, 15, pick(bad, booked("seat", "bob"), refused(booked("seat", "bob"))))
		}},
		{name: "refused, and nobody has it", truth: truth{"seat": {"ann"}, "other": nil}, want: verify.OddValue, tell: func(s *story, bad bool) {
			s.do(1, 0, 10, booked("seat", "ann"))
			s.do(2, 5, 15, refused(booked(pick(bad, "other", "seat"), "bob")))
		}},
		{name: "money is made", want: verify.MoneyChanged, ledger: []verify.Entry{{ID: "t", Src: 0, SrcN: 1, Dst: 1, DstN: 1, Amount: 5}}, tell: func(s *story, bad bool) {
			s.do(1, 0, 10, verify.Op{Workload: verify.Bank, Kind: verify.KindTransfer, Value: "t", Wrote: []verify.Version{{Key: "account0", N: 1, Value: "t"}, {Key: "account1", N: 1, Value: "t"}}})
			s.do(2, 5, 6, bank(verify.Eventual, map[int]int64{0: -int64(pickInt(bad, 0, 5)), 1: 5}, map[int]int{0: pickInt(bad, 0, 1), 1: 1}))
		}},
		{name: "a balance that its account never had", want: verify.MoneyChanged, ledger: []verify.Entry{{ID: "t", Src: 0, SrcN: 1, Dst: 1, DstN: 1, Amount: 5}}, tell: func(s *story, bad bool) {
			s.do(1, 0, 10, failed(verify.Op{Workload: verify.Bank, Kind: verify.KindTransfer, Value: "t"}, verify.Unknown))
			s.do(2, 5, 6, bank(verify.Eventual, map[int]int64{0: -int64(pickInt(bad, 6, 5)), 1: int64(pickInt(bad, 6, 5))}, map[int]int{0: 1, 1: 1}))
		}},
		{name: "a balance of a transfer that failed, and not one that a failover discarded", want: verify.MoneyChanged, ledger: []verify.Entry{{ID: "t", Src: 0, SrcN: 1, Dst: 1, DstN: 1, Amount: 5}}, tell: func(s *story, bad bool) {
			s.do(1, 0, 20, verify.Op{Workload: verify.Bank, Kind: verify.KindTransfer, Value: "t", Wrote: []verify.Version{{Key: "account0", N: 1, Value: "t"}, {Key: "account1", N: 1, Value: "t"}}})
			s.do(2, 0, 10, failed(verify.Op{Workload: verify.Bank, Kind: verify.KindTransfer, Value: "u"}, pick(bad, verify.Failed, verify.Unknown)))
			s.do(3, 5, 6, bank(verify.Session, map[int]int64{0: -6, 1: 6}, map[int]int{0: 1, 1: 1}))
		}},
		{name: "a balance of a transfer that failed, and not of one whose COMMIT was rolled back", want: verify.MoneyChanged, ledger: []verify.Entry{{ID: "t", Src: 0, SrcN: 1, Dst: 1, DstN: 1, Amount: 5}}, tell: func(s *story, bad bool) {
			s.do(1, 0, 20, verify.Op{Workload: verify.Bank, Kind: verify.KindTransfer, Value: "t", Wrote: []verify.Version{{Key: "account0", N: 1, Value: "t"}, {Key: "account1", N: 1, Value: "t"}}})
			s.do(2, 0, 10, failed(verify.Op{Workload: verify.Bank, Kind: verify.KindTransfer, Value: "u", Undone: !bad}, verify.Failed))
			s.do(3, 5, 6, bank(verify.Session, map[int]int64{0: -6, 1: 6}, map[int]int{0: 1, 1: 1}))
		}},
		{name: "a snapshot that is older than the session", want: verify.OwnWriteMissing, ledger: []verify.Entry{{ID: "t", Src: 0, SrcN: 1, Dst: 1, DstN: 1, Amount: 5}}, tell: func(s *story, bad bool) {
			s.do(1, 0, 10, verify.Op{Workload: verify.Bank, Kind: verify.KindTransfer, Value: "t", Wrote: []verify.Version{{Key: "account0", N: 1, Value: "t"}, {Key: "account1", N: 1, Value: "t"}}})
			s.do(pickInt(bad, 1, 2), 11, 12, bank(verify.Session, nil, nil))
		}},
		{name: "a list in another order", truth: truth{"l": {"1", "2"}}, want: verify.OddValue, tell: func(s *story, bad bool) {
			s.do(1, 0, 10, appended("l", 1, "1"))
			s.do(2, 0, 10, appended("l", 2, "2"))
			s.do(3, 1, 2, pick(bad, list(verify.Eventual, "l", "2", "1"), list(verify.Eventual, "l", "1", "2")))
		}},
		{name: "a value that nobody wrote", truth: onlyX, want: verify.OddValue, tell: func(s *story, bad bool) {
			s.do(1, 0, 10, write("x", 1, "1"))
			s.do(3, 1, 2, read(verify.Eventual, "x", 1, pick(bad, "7", "1")))
		}},
		{name: "a value whose write failed is shown", truth: onlyX, want: verify.OddValue, tell: func(s *story, bad bool) {
			s.do(1, 0, 10, write("x", 1, "1"))
			s.do(2, 0, 10, failed(write("x", 1, "2"), pick(bad, verify.Failed, verify.Unknown)))
			s.do(3, 1, 2, read(verify.Eventual, "x", 1, "2"))
		}},
		{name: "a failed write took effect", truth: onlyX, want: verify.FailedWriteThere, tell: func(s *story, bad bool) {
			s.do(1, 0, 10, failed(write("x", 1, "1"), pick(bad, verify.Failed, verify.Unknown)))
		}},
		{name: "a refused write took effect: it was done twice", truth: onlyX, want: verify.FailedWriteThere, tell: func(s *story, bad bool) {
			s.do(1, 0, 10, pick(bad, refused(cas("x", 1, "", "1")), cas("x", 1, "", "1")))
		}},
		{name: "an append was done twice", truth: truth{"l": {"1", "1"}}, want: verify.OddValue, tell: func(s *story, bad bool) {
			if bad {
				s.do(1, 0, 10, appended("l", 2, "1"))
			}
		}},
		{name: "an acknowledged write is missing", truth: truth{}, want: verify.WriteMissing, tell: func(s *story, bad bool) {
			s.do(1, 0, 10, pick(bad, write("x", 1, "1"), failed(write("x", 1, "1"), verify.Unknown)))
		}},
		{name: "where nothing may be lost, telling does not help", truth: truth{}, want: verify.WriteMissing, tell: func(s *story, bad bool) {
			if bad {
				s.do(1, 0, 10, write("x", 1, "1"))
				s.do(1, 20, 21, told(final, "PR002"))
			}
		}},
		{name: "a lost write is not told", truth: truth{}, opts: verify.Options{MayLose: true}, want: verify.WriteMissing, tell: func(s *story, bad bool) {
			s.do(1, 0, 10, write("x", 1, "1"))
			s.do(1, 20, 21, pick(bad, final, told(final, "PR002")))
		}},
		{name: "it may also be told as a maybe", truth: truth{}, opts: verify.Options{MayLose: true}, tell: func(s *story, bad bool) {
			s.do(1, 0, 10, write("x", 1, "1"))
			s.do(1, 20, 21, told(final, "PR003"))
			// Nobody is left to be told.
			s.do(2, 0, 10, write("x", 2, "2"))
		}},
		{name: "a later write went through, and the earlier one is lost untold", truth: truth{"x": {"2"}}, opts: verify.Options{MayLose: true}, want: verify.WriteMissing, tell: func(s *story, bad bool) {
			s.do(1, 0, 10, write("x", 1, "1"))
			s.do(1, 20, 21, pick(bad, write("x", 1, "2"), told(write("x", 1, "2"), "PR002")))
		}},
		{name: "PR002 for a write that is there", truth: onlyX, opts: verify.Options{MayLose: true}, want: verify.WrongLost, tell: func(s *story, bad bool) {
			s.do(1, 0, 10, write("x", 1, "1"))
			s.do(1, 20, 21, told(final, pick(bad, "PR002", "PR003")))
		}},
		{name: "who wrote nothing is told", truth: truth{}, opts: verify.Options{MayLose: true}, want: verify.ToldWithoutWrite, tell: func(s *story, bad bool) {
			s.do(2, 0, 10, write("x", 1, "1"))
			s.do(2, 20, 21, told(final, "PR002"))
			s.do(pickInt(bad, 1, 2), 22, 23, told(final, "PR003"))
		}},
		{name: "what was shown of a lost branch does not count", truth: truth{"x": {"1", "3"}, "l": {"1a", "3a"}}, opts: verify.Options{MayLose: true}, want: verify.StaleStrong, tell: func(s *story, bad bool) {
			s.do(1, 0, 1, write("x", 1, "1"))
			s.do(1, 2, 3, write("x", 2, "2"))
			s.do(2, 4, 5, read(verify.Strong, "x", 2, "2"))
			s.do(1, 6, 7, told(final, "PR002"))
			s.do(2, 8, 9, read(verify.Strong, "x", pickInt(bad, 0, 1), pick(bad, "", "1")))
			s.do(1, 10, 11, write("x", 2, "3"))
			s.do(2, 12, 13, read(verify.Strong, "x", 2, "3"))
			s.do(5, 0, 1, appended("l", 1, "1a"))
			s.do(5, 2, 3, appended("l", 2, "2a"))
			s.do(6, 4, 5, list(verify.Strong, "l", "1a", "2a"))
			s.do(5, 6, 7, told(final, "PR002"))
			s.do(6, 8, 9, list(verify.Strong, "l", pickList(bad, nil, []string{"1a"})...))
			s.do(5, 10, 11, appended("l", 2, "3a"))
		}, also: verify.NotLinearizable},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for _, bad := range []bool{false, true} {
				if bad && test.want == "" {
					continue
				}
				var s story
				test.tell(&s, bad)
				versions := test.truth
				if test.name == "an append was done twice" && !bad {
					versions = nil
				}
				r := verify.Judge(test.opts, s, versions, test.ledger...)
				switch {
				case !bad && len(r.Findings) > 0:
					t.Errorf("the good history: %s", text(t, r))
				case bad && r.Found[test.want] == 0:
					t.Errorf("the bad history: no %s: %s", test.want, text(t, r))
				}
				for kind := range r.Found {
					if bad && kind != test.want && kind != test.also {
						t.Errorf("the bad history: %s beside %s: %s", kind, test.want, text(t, r))
					}
				}
			}
		})
	}
}

func pick[T any](bad bool, yes, no T) T {
	if bad {
		return yes
	}
	return no
}

func pickInt(bad bool, yes, no int) int            { return pick(bad, yes, no) }
func pickList(bad bool, yes, no []string) []string { return pick(bad, yes, no) }
