package lsn_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/pgroute/pgroute/lsn"
)

// checkScript runs a script of operations, two bytes each, against a Watermark
// and against a sorted list that does the same more slowly.
func checkScript(t *testing.T, script []byte) {
	t.Helper()
	type waiting struct {
		target lsn.LSN
		seq    uint64
	}
	var m lsn.Watermark
	var at lsn.LSN
	var list []waiting // in the order in which they are to be woken
	r := new(recorder)
	seq := uint64(0)
	for ; len(script) >= 2; script = script[2:] {
		arg := lsn.LSN(script[1])
		var want []wake
		switch script[0] % 4 {
		case 0:
			seq++
			if got := m.Notify(arg, r, seq); got != (arg > at) {
				t.Fatalf("Notify(%d) = %v at %d", arg, got, at)
			}
			if arg > at {
				i := slices.IndexFunc(list, func(w waiting) bool { return w.target > arg })
				if i < 0 {
					i = len(list)
				}
				list = slices.Insert(list, i, waiting{arg, seq})
			}
		case 1:
			m.Advance(arg)
			at = max(at, arg)
			for len(list) > 0 && list[0].target <= at {
				want = append(want, wake{list[0].seq, nil})
				list = list[1:]
			}
		case 2:
			old := uint64(arg)
			i := slices.IndexFunc(list, func(w waiting) bool { return w.seq == old })
			if got := m.Cancel(r, old); got != (i >= 0) {
				t.Fatalf("Cancel(%d) = %v", old, got)
			}
			if i >= 0 {
				list = slices.Delete(list, i, i+1)
			}
		case 3:
			m.Reset(errGone)
			at = 0
			for _, w := range list {
				want = append(want, wake{w.seq, errGone})
			}
			list = nil
		}
		if got := r.take(); !slices.Equal(got, want) {
			t.Fatalf("woken %v, want %v", got, want)
		}
		var lowest, highest lsn.LSN
		if len(list) > 0 {
			lowest, highest = list[0].target, list[len(list)-1].target
		}
		gotLowest, _ := m.Lowest()
		gotHighest, _ := m.Highest()
		if m.Load() != at || m.Waiting() != len(list) || gotLowest != lowest || gotHighest != highest {
			t.Fatalf("at %d, %d wait for %d to %d; want at %d, %d for %d to %d",
				m.Load(), m.Waiting(), gotLowest, gotHighest, at, len(list), lowest, highest)
		}
	}
}

func FuzzWatermark(f *testing.F) {
	f.Add([]byte{0, 50, 0, 10, 0, 30, 1, 20, 2, 0, 3, 0, 0, 5, 1, 60})
	f.Add([]byte{1, 9, 0, 9, 0, 8, 3, 1, 0, 8, 1, 3, 1, 200})
	f.Add([]byte{0, 7, 0, 7, 0, 7, 2, 1, 1, 7, 0, 0})
	f.Fuzz(checkScript)
}

func TestWatermarkDoesAsItsModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 300 {
		// Mostly registrations and cancellations, so that many wait at once.
		var script []byte
		for range 20 + rng.IntN(200) {
			op, arg := byte(0), byte(rng.IntN(256))
			switch p := rng.IntN(40); {
			case p < 15:
				op, arg = 2, byte(rng.IntN(100))
			case p < 18:
				op, arg = 1, byte(rng.IntN(80))
			case p == 18:
				op = 3
			}
			script = append(script, op, arg)
		}
		checkScript(t, script)
	}
}
