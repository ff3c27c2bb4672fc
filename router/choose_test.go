package router

import (
	"math/rand/v2"
	"testing"
)

func TestChoose(t *testing.T) {
	for _, test := range []struct {
		reason string
		cands  []candidate
		want   int
	}{
		{"nobody is there", nil, -1},
		{"nobody covers", []candidate{{weight: 1}, {weight: 1, last: true}}, -1},
		{"the only one that covers", []candidate{{weight: 1, last: true}, {weight: 1, covered: true, outstanding: 9}}, 1},
		{"the last one, although it is busy",
			[]candidate{{weight: 1, covered: true}, {weight: 1, covered: true, last: true, outstanding: 8}}, 1},
		{"not the last one, when it is crowded",
			[]candidate{{weight: 1, covered: true}, {weight: 1, covered: true, last: true, outstanding: 9}}, 0},
		{"the last one, when the other is busy too",
			[]candidate{{weight: 1, covered: true, outstanding: 10}, {weight: 1, covered: true, last: true, outstanding: 20}}, 1},
		{"the own zone, although it is busy",
			[]candidate{{weight: 1, covered: true, rank: rankAbroad}, {weight: 1, covered: true, outstanding: 8}}, 1},
		{"another zone, when all of the own one are crowded",
			[]candidate{{weight: 1, covered: true, rank: rankAbroad}, {weight: 1, covered: true, outstanding: 9},
				{weight: 1, covered: true, outstanding: 19}}, 0},
		{"another zone, when nothing in the own one covers",
			[]candidate{{weight: 1, covered: true, rank: rankAbroad, outstanding: 90}, {weight: 1}}, 0},
		{"the own zone rather than the last one",
			[]candidate{{weight: 1, covered: true}, {weight: 1, covered: true, last: true, rank: rankAbroad}}, 0},
		{"the last one abroad, when the own zone is crowded",
			[]candidate{{weight: 1, covered: true, outstanding: 17}, {weight: 1, covered: true, rank: rankAbroad},
				{weight: 1, covered: true, rank: rankAbroad, last: true, outstanding: 4}}, 2},
		{"one that starts slowly, before one that is behind",
			[]candidate{{weight: 1, covered: true, rank: rankEjected, last: true}, {weight: 1, covered: true, rank: rankWarming, outstanding: 9}}, 1},
		{"one that is behind, when nothing else covers",
			[]candidate{{weight: 1}, {weight: 1, covered: true, rank: rankEjected, outstanding: 9}}, 1},
		{"the least busy", []candidate{{weight: 1, covered: true, outstanding: 2}, {weight: 1, covered: true, outstanding: 1}}, 1},
		{"the least busy for its weight",
			[]candidate{{weight: 1, covered: true, outstanding: 2}, {weight: 4, covered: true, outstanding: 4}}, 1},
	} {
		for range 10 {
			if got := choose(test.cands, rand.Uint64()); got != test.want {
				t.Errorf("%s: %d, want %d", test.reason, got, test.want)
			}
		}
	}
}

func TestChooseSpreadsByWeight(t *testing.T) {
	cands := []candidate{{weight: 1, covered: true}, {weight: 2, covered: true}, {weight: 5, covered: true}, {weight: 9}}
	var counts [4]int
	rnd := rand.New(rand.NewPCG(1, 2))
	const n = 80_000
	for range n {
		counts[choose(cands, rnd.Uint64())]++
	}
	for i, share := range []int{n / 8, n / 4, n * 5 / 8, 0} {
		if d := counts[i] - share; d < -n/100 || d > n/100 {
			t.Errorf("candidate %d was chosen %d times, want about %d", i, counts[i], share)
		}
	}
}

func BenchmarkChoose(b *testing.B) {
	cands := []candidate{{weight: 1, covered: true}, {weight: 1, covered: true}, {weight: 1}}
	b.ReportAllocs()
	var rnd uint64
	for b.Loop() {
		rnd += 0x9e3779b97f4a7c15
		choose(cands, rnd)
	}
}

func TestChooseNeverTakesTheBusierOfTwo(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	for range 10_000 {
		cands := []candidate{
			{weight: 1 + rnd.Int64N(9), covered: true, outstanding: rnd.Int64N(9)},
			{weight: 1 + rnd.Int64N(9), covered: true, outstanding: rnd.Int64N(9)},
		}
		if i := choose(cands, rnd.Uint64()); cands[1-i].lighter(&cands[i]) {
			t.Fatalf("chose %d of %+v", i, cands)
		}
	}
}

// TestChooseDrawsNoHerd lets bursts of clients choose among replicas of which
// one has just become idle, all on the same numbers, as many proxies do that do
// not know of each other. The least loaded of all would get the whole burst.
func TestChooseDrawsNoHerd(t *testing.T) {
	const replicas, burst = 5, 1000
	rnd := rand.New(rand.NewPCG(3, 4))
	cands := make([]candidate, replicas)
	for i := range cands {
		cands[i] = candidate{weight: 1, covered: true, outstanding: 10}
	}
	cands[2].outstanding = 0
	var counts [replicas]int
	for range burst {
		counts[choose(cands, rnd.Uint64())]++
	}
	// It is one of the two that are picked in 2 of 5 cases.
	if got, want := counts[2], burst*2/5; got < want-burst/20 || got > want+burst/20 {
		t.Errorf("of %d reads the idle one gets %d, want about %d", burst, got, want)
	}
	// With numbers that follow, the load evens out and stays even by weight.
	total, busiest := int64(0), int64(0)
	for i := range cands {
		cands[i] = candidate{weight: int64(i + 1), covered: true}
		total += cands[i].weight
	}
	for range 50_000 {
		cands[choose(cands, rnd.Uint64())].outstanding++
		if k := &cands[rnd.IntN(replicas)]; k.outstanding > 0 && rnd.IntN(3) == 0 {
			k.outstanding--
		}
	}
	for i := range cands {
		busiest = max(busiest, cands[i].outstanding/cands[i].weight)
	}
	for i := range cands {
		if got := cands[i].outstanding / cands[i].weight; got < busiest*9/10 {
			t.Errorf("replica %d of weight %d has %d reads for each unit of weight, another has %d", i, cands[i].weight, got, busiest)
		}
	}
}
