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
			[]candidate{{weight: 1, covered: true}, {weight: 1, covered: true, last: true, outstanding: 9}}, 1},
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
