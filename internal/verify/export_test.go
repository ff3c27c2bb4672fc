package verify

// Judge checks a history that a test made by hand. What survived is given as
// the versions of each key; the balances of accounts follow from ledger, whose
// rows are id, source, its version, destination, its version and amount.
func Judge(o Options, ops []Op, versions map[string][]string, ledger ...Entry) *Report {
	o.Targets = append(o.Targets, Target{Name: "a", DSN: "postgres://u@h/d"})
	if err := o.validate(); err != nil {
		panic(err)
	}
	t := newTruth()
	for key, list := range versions {
		for i, v := range list {
			t.put("", key, i+1, v)
		}
	}
	var rows []entry
	for _, e := range ledger {
		rows = append(rows, entry{e.ID, e.Src, e.SrcN, e.Dst, e.DstN, e.Amount})
	}
	t.settle(rows, nil, nil)
	h := &history{opts: o, ops: sorted([]*client{{ops: ops}}), truth: t}
	return h.report()
}

// Entry is a row of the ledger.
type Entry struct {
	ID                   string
	Src, SrcN, Dst, DstN int
	Amount               int64
}

// WithList returns op with what it was shown of a list.
func WithList(op Op, list ...string) Op {
	op.list, op.Saw = list, []Version{listVersion(op.Key, list)}
	return op
}

// WithBank returns op with what it was shown of the bank: the changes of its
// accounts since the beginning, and their versions.
func WithBank(op Op, changes map[int]int64, versions map[int]int) Op {
	op.Saw, op.balances = nil, nil
	for i := range accounts {
		op.Saw = append(op.Saw, Version{Key: accountKey(i), N: versions[i]})
		op.balances = append(op.balances, startBalance+changes[i])
	}
	return op
}

// WithToken returns a pair of operations with one token.
func WithToken(give, take Op) (Op, Op) {
	t := &token{process: give.Process, target: give.Target}
	give.token, take.token = t, t
	return give, take
}

// OutcomeOf is what an error means for a write.
func OutcomeOf(err error) Outcome { return judge(err) }
