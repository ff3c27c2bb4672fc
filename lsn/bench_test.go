package lsn_test

import (
	"testing"

	"github.com/pgroute/pgroute/lsn"
)

// nobody is a Waiter that does nothing.
type nobody struct{ _ byte }

func (*nobody) Wake(uint64, error) {}

// TestHotPathsDoNotAllocate holds what the event loops and monitors rely on.
func TestHotPathsDoNotAllocate(t *testing.T) {
	h := mustHistory(t, []lsn.Switch{{1, 0, 0x100}, {2, 0x100, 0x200}}, 3, 0x200, monday)
	h = mustRestart(t, h, tuesday, 0x300)
	floor := h.At(0x400)
	token := lsn.EncodeToken(floor)
	buf := make([]byte, 0, 128)
	text := []byte("16/B374D848")
	w := new(nobody)
	var m, busy lsn.Watermark
	busy.Notify(1<<62, w, 0)
	var at, busyAt lsn.LSN
	var seq uint64
	for _, tc := range []struct {
		name string
		run  func()
	}{
		{"Parse", func() { lsn.Parse("16/B374D848") }},
		{"UnmarshalText", func() { at.UnmarshalText(text) }},
		{"Append", func() { buf = at.Append(buf[:0]) }},
		{"NormalizeInsert", func() { lsn.NormalizeInsert(at, 0) }},
		{"Covers", func() { h.Covers(0x500, floor) }},
		{"At", func() { floor = h.At(0x500) }},
		{"AppendToken", func() { buf = lsn.AppendToken(buf[:0], floor) }},
		{"ParseToken", func() { lsn.ParseToken(token) }},
		{"Load", func() { m.Load() }},
		{"Advance", func() { at++; m.Advance(at) }},
		{"Advance while somebody waits for more", func() { busyAt++; busy.Advance(busyAt) }},
		{"Notify of what is reached", func() { m.Notify(1, w, 1) }},
		{"Notify and Advance", func() { at++; m.Notify(m.Load()+1, w, 1); m.Advance(m.Load() + 1) }},
		{"Notify and Cancel", func() { seq++; m.Notify(1<<63, w, seq); m.Cancel(w, seq) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if n := testing.AllocsPerRun(100, tc.run); n != 0 {
				t.Errorf("%v allocations", n)
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		lsn.Parse("16/B374D848")
	}
}

func BenchmarkAppend(b *testing.B) {
	b.ReportAllocs()
	buf := make([]byte, 0, 32)
	for b.Loop() {
		buf = lsn.LSN(0x16B374D848).Append(buf[:0])
	}
}

func BenchmarkParseToken(b *testing.B) {
	b.ReportAllocs()
	token := lsn.EncodeToken(somewhere)
	for b.Loop() {
		lsn.ParseToken(token)
	}
}

func BenchmarkAppendToken(b *testing.B) {
	b.ReportAllocs()
	buf := make([]byte, 0, lsn.TokenLen)
	for b.Loop() {
		buf = lsn.AppendToken(buf[:0], somewhere)
	}
}

func BenchmarkCovers(b *testing.B) {
	h := mustHistory(b, []lsn.Switch{{1, 0, 0x100}, {2, 0x100, 0x200}}, 3, 0x200, monday)
	old := lsn.Position{SystemID: cluster, Timeline: 1, LSN: 0x80, Incarnation: 1}
	for _, bc := range []struct {
		name  string
		floor lsn.Position
	}{{"current", h.At(0x300)}, {"ancestor", old}} {
		b.Run(bc.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				h.Covers(0x400, bc.floor)
			}
		})
	}
}

func BenchmarkWatermarkLoad(b *testing.B) {
	b.ReportAllocs()
	var m lsn.Watermark
	m.Advance(7)
	for b.Loop() {
		m.Load()
	}
}

func BenchmarkWatermarkAdvance(b *testing.B) {
	for _, waiters := range []int{0, 1000} {
		name := "nobody waits"
		if waiters > 0 {
			name = "all wait for more"
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var m lsn.Watermark
			w := new(nobody)
			for i := range waiters {
				m.Notify(1<<62, w, uint64(i))
			}
			l := lsn.LSN(0)
			for b.Loop() {
				l++
				m.Advance(l)
			}
		})
	}
}

// BenchmarkWatermarkWake is one registration and its wake-up, beside a
// thousand others.
func BenchmarkWatermarkWake(b *testing.B) {
	b.ReportAllocs()
	var m lsn.Watermark
	w := new(nobody)
	for i := range uint64(1000) {
		m.Notify(1<<62+lsn.LSN(i), w, i)
	}
	l := lsn.LSN(0)
	for b.Loop() {
		l++
		m.Notify(l, w, 1)
		m.Advance(l)
	}
}

func BenchmarkWatermarkCancel(b *testing.B) {
	b.ReportAllocs()
	var m lsn.Watermark
	w := new(nobody)
	for i := range uint64(1000) {
		m.Notify(1<<62+lsn.LSN(i), w, i)
	}
	for b.Loop() {
		m.Notify(1<<61, w, 5000)
		m.Cancel(w, 5000)
	}
}
