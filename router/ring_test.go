package router

import (
	"sync"
	"testing"

	"github.com/pgroute/pgroute/lsn"
)

func TestRingAnswersWithTheNextAnswer(t *testing.T) {
	var a ring
	if _, ok := a.answer(1); ok {
		t.Error("answered before any answer")
	}
	a.put(1, Floor{Era: 1, LSN: 10})
	a.put(5, Floor{Era: 2, LSN: 50, Unproven: true, insert: 55}) // 2 to 4 died
	for gen, want := range map[uint64]Floor{1: {Era: 1, LSN: 10}, 2: {Era: 2, LSN: 50, Unproven: true, insert: 55},
		5: {Era: 2, LSN: 50, Unproven: true, insert: 55}} {
		if got, ok := a.answer(gen); !ok || got != want {
			t.Errorf("ticket %d: %+v %v, want %+v", gen, got, ok, want)
		}
	}
	for _, gen := range []uint64{0, 6} {
		if f, ok := a.answer(gen); ok {
			t.Errorf("ticket %d: %+v", gen, f)
		}
	}
}

func TestRingNeverAnswersTooLow(t *testing.T) {
	var a ring
	// Every generation is its own LSN; some are skipped.
	gen := uint64(0)
	for i := range 300_000 {
		gen++
		switch {
		case i%1000 == 0:
			gen += 70
		case i%100_001 == 0:
			gen += 5000
		}
		a.put(gen, Floor{Era: 1, LSN: lsn.LSN(gen)})
	}
	for old := uint64(1); old <= gen; old += 7 {
		f, ok := a.answer(old)
		if !ok || uint64(f.LSN) < old {
			t.Fatalf("ticket %d of %d: %s %v", old, gen, f.LSN, ok)
		}
		if age := gen - old; age < 60_000 && uint64(f.LSN)-old > 5100 {
			t.Fatalf("ticket %d of %d was answered with %d", old, gen, f.LSN)
		}
	}
}

func TestRingUnderRace(t *testing.T) {
	var a ring
	const most = 200_000
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for {
				last := a.last.Load()
				for back := uint64(0); back < 3000 && back < last; back += 11 {
					f, ok := a.answer(last - back)
					if !ok || uint64(f.LSN) < last-back || uint64(f.LSN) != uint64(f.insert) || f.Era != uint64(f.LSN)/1000 {
						t.Errorf("ticket %d: %+v %v", last-back, f, ok)
						return
					}
				}
				if last == most {
					return
				}
			}
		})
	}
	for gen := uint64(1); gen <= most; gen++ {
		a.put(gen, Floor{Era: gen / 1000, LSN: lsn.LSN(gen), insert: lsn.LSN(gen)})
	}
	wg.Wait()
}
