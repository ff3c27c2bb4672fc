package router

// candidate is a replica that may serve a read, at the moment of choosing.
type candidate struct {
	node *Node
	// covered is true if it may serve the read now.
	covered bool
	// last is true if the client read there last.
	last bool
	// weight is its share relative to the others, at least 1.
	weight int
	// outstanding counts the reads that it serves.
	outstanding int64
}

// choose returns the index of the candidate that should serve a read, -1 if
// none is covered. It is a pure function of its arguments.
//
// The replica where the client was last comes first: its caches are warm, and
// staying never costs a ticket. Then comes the least loaded by weight; among
// equals rnd decides, with the weights as odds, so that clients spread.
func choose(cands []candidate, rnd uint64) int {
	best, odds := -1, uint64(0)
	for i := range cands {
		k := &cands[i]
		if !k.covered {
			continue
		}
		if k.last {
			return i
		}
		switch {
		case best < 0 || k.lighter(&cands[best]):
			best, odds = i, uint64(k.weight)
		case !cands[best].lighter(k):
			// Each of the equals replaces its predecessors with its share of
			// the weight so far; the random number is stirred for each.
			odds += uint64(k.weight)
			rnd = rnd*6364136223846793005 + 1442695040888963407
			if (rnd>>33)%odds < uint64(k.weight) {
				best = i
			}
		}
	}
	return best
}

// lighter reports whether k has less to do than o for its weight.
func (k *candidate) lighter(o *candidate) bool {
	return k.outstanding*int64(o.weight) < o.outstanding*int64(k.weight)
}
