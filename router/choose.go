package router

import "time"

// candidate is a replica that may serve a read, at the moment of choosing.
type candidate struct {
	node *Node
	// covered is true if it may serve the read now.
	covered bool
	// last is true if the client read there last.
	last bool
	// rank says how much it is wanted.
	rank rank
	// weight is its share relative to the others, at least 1.
	weight int64
	// outstanding counts the reads that it serves.
	outstanding int64
}

// rank sorts replicas into classes. A replica of a worse class serves a read
// only if none of a better class covers it.
type rank uint8

const (
	rankHome rank = iota
	// rankAbroad: it is in another zone.
	rankAbroad
	// rankWarming: it is starting slowly, and this read is not one of its
	// share.
	rankWarming
	// rankEjected: see ejection. So is one on trial that has as many reads to
	// prove itself with as it may.
	rankEjected

	ranks = int(rankEjected) + 1
)

const (
	// crowd is how many reads, for each unit of weight, a replica may serve
	// beyond twice what another serves before it counts as crowded beside it.
	// Below that nobody leaves the replica where he was, or the own zone.
	crowd = 4
	// trialReads is how many reads at once may try a node on trial.
	trialReads = 2
)

// rankFor returns the class of n for a read that has drawn lot, at the time
// now. It is deterministic in its arguments and in what is known of n.
func (n *Node) rankFor(lot uint64, now time.Time, last bool) rank {
	bits := n.standing.Load()
	switch {
	case bits == 0:
		return rankHome
	case bits&standsEjected != 0, bits&standsTrial != 0 && n.outstanding.Load() >= trialReads:
		return rankEjected
	case bits&standsWarming != 0 && (!last || bits&standsTrial != 0) && n.draw(lot) >= n.warmth(now):
		// A client that is there already stays: so what grows is the share of
		// the clients, and none of them goes to and fro.
		return rankWarming
	case bits&standsAbroad != 0:
		return rankAbroad
	}
	return rankHome
}

// draw returns n's share of a lot, less than fullWarmth.
func (n *Node) draw(lot uint64) int64 {
	return int64((lot + uint64(n.ID)*0x9e3779b97f4a7c15) * 0xbf58476d1ce4e5b9 >> 56)
}

// choose returns the index of the candidate that should serve a read, -1 if
// none is covered. It is a pure function of its arguments.
//
// Among the best class that covers, the replica where the client was last
// comes first: its caches are warm, and staying never costs a ticket. Else the
// less loaded of two serves that rnd picks, with the weights as odds. Two are
// enough to keep the load even, and unlike the least loaded of all, which all
// who look at once would find the same, they do not draw a herd. The last is
// left if it is crowded beside the one picked, and so is the own zone.
func choose(cands []candidate, rnd uint64) int {
	var odds [ranks]int64
	last, best := -1, ranks
	for i := range cands {
		k := &cands[i]
		if !k.covered {
			continue
		}
		odds[k.rank] += k.weight
		best = min(best, int(k.rank))
		if k.last {
			last = i
		}
	}
	if best == ranks {
		return -1
	}
	pick := lighterOfTwo(cands, rank(best), odds[best], rnd)
	if last >= 0 && int(cands[last].rank) == best && !cands[last].crowded(&cands[pick]) {
		pick = last
	}
	if rank(best) == rankHome && odds[rankAbroad] > 0 {
		abroad := lighterOfTwo(cands, rankAbroad, odds[rankAbroad], rnd)
		if last >= 0 && cands[last].rank == rankAbroad && !cands[last].crowded(&cands[abroad]) {
			abroad = last
		}
		if cands[pick].crowded(&cands[abroad]) {
			return abroad
		}
	}
	return pick
}

// lighterOfTwo picks two covered candidates of a class, whose weights sum up to
// odds, and returns the index of the one with less to do. If they have equally
// much to do the first does it: an idle cluster follows the weights exactly.
func lighterOfTwo(cands []candidate, class rank, odds int64, rnd uint64) int {
	a := pick(cands, class, -1, odds, rnd)
	if odds -= cands[a].weight; odds == 0 {
		return a
	}
	b := pick(cands, class, a, odds, rnd*6364136223846793005+1442695040888963407)
	if cands[b].lighter(&cands[a]) {
		return b
	}
	return a
}

// pick returns one covered candidate of a class, with the weights, which sum
// up to odds, as odds. It is not the one at index not.
func pick(cands []candidate, class rank, not int, odds int64, rnd uint64) int {
	at := int64(rnd >> 32 * uint64(odds) >> 32)
	found := -1
	for i := range cands {
		if k := &cands[i]; k.covered && k.rank == class && i != not {
			if found = i; at < k.weight {
				break
			}
			at -= k.weight
		}
	}
	return found
}

// lighter reports whether k has less to do than o for its weight.
func (k *candidate) lighter(o *candidate) bool {
	return k.outstanding*o.weight < o.outstanding*k.weight
}

// crowded reports whether k has so much more to do than o that it is worth
// leaving.
func (k *candidate) crowded(o *candidate) bool {
	return k.outstanding*o.weight > 2*(o.outstanding+crowd*o.weight)*k.weight
}
