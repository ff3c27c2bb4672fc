package lsn_test

import (
	"context"
	"errors"
	"math"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"weak"

	"github.com/pgroute/pgroute/lsn"
)

var errGone = errors.New("connection lost")

// wake is one call of Wake.
type wake struct {
	seq uint64
	err error
}

// recorder is a Waiter that remembers its calls.
type recorder struct {
	mu    sync.Mutex // guards the field below
	wakes []wake
}

func (r *recorder) Wake(seq uint64, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wakes = append(r.wakes, wake{seq, err})
}

// take returns the calls since the last take.
func (r *recorder) take() []wake {
	r.mu.Lock()
	defer r.mu.Unlock()
	wakes := r.wakes
	r.wakes = nil
	return wakes
}

func wantWakes(t *testing.T, r *recorder, want ...wake) {
	t.Helper()
	if got := r.take(); !slices.Equal(got, want) {
		t.Fatalf("woken %v, want %v", got, want)
	}
}

func wantNotify(t *testing.T, m *lsn.Watermark, target lsn.LSN, w lsn.Waiter, seq uint64, want bool) {
	t.Helper()
	if got := m.Notify(target, w, seq); got != want {
		t.Fatalf("Notify(%s) = %v, want %v", target, got, want)
	}
}

func TestWatermarkOnlyGrows(t *testing.T) {
	var m lsn.Watermark
	for _, step := range []struct{ advance, want lsn.LSN }{{0, 0}, {5, 5}, {3, 5}, {5, 5}, {9, 9}, {0, 9}} {
		m.Advance(step.advance)
		if got := m.Load(); got != step.want {
			t.Fatalf("Load() = %d after Advance(%d), want %d", got, step.advance, step.want)
		}
	}
}

func TestAdvanceWakesInOrderOfPosition(t *testing.T) {
	var m lsn.Watermark
	r := new(recorder)
	for seq, target := range []lsn.LSN{50, 10, 40, 20, 10, 30, 20} {
		wantNotify(t, &m, target, r, uint64(seq), true)
	}
	m.Advance(9)
	wantWakes(t, r)
	m.Advance(35)
	// Among equal targets the first to come is the first to be woken.
	wantWakes(t, r, wake{1, nil}, wake{4, nil}, wake{3, nil}, wake{6, nil}, wake{5, nil})
	m.Advance(40)
	wantWakes(t, r, wake{2, nil})
	m.Advance(100)
	wantWakes(t, r, wake{0, nil})
}

func TestNotifyOfReachedTargetDoesNotRegister(t *testing.T) {
	var m lsn.Watermark
	r := new(recorder)
	wantNotify(t, &m, 0, r, 1, false)
	m.Advance(10)
	wantNotify(t, &m, 10, r, 2, false)
	wantNotify(t, &m, 9, r, 3, false)
	m.Advance(20)
	m.Reset(nil)
	wantWakes(t, r)
}

func TestResetWakesEveryWaiter(t *testing.T) {
	var m lsn.Watermark
	r := new(recorder)
	m.Advance(10)
	wantNotify(t, &m, 30, r, 1, true)
	wantNotify(t, &m, 20, r, 2, true)
	m.Reset(errGone)
	wantWakes(t, r, wake{2, errGone}, wake{1, errGone})
	if m.Load() != 0 || m.Waiting() != 0 {
		t.Fatalf("Load() = %d, Waiting() = %d after Reset", m.Load(), m.Waiting())
	}
	// The next connection begins below: the old bound is void.
	wantNotify(t, &m, 10, r, 3, true)
	m.Advance(5)
	wantWakes(t, r)
	m.Reset(nil)
	wantWakes(t, r, wake{3, lsn.ErrReset})
}

func TestCloseIsForGood(t *testing.T) {
	var m lsn.Watermark
	r := new(recorder)
	m.Advance(10)
	wantNotify(t, &m, 20, r, 1, true)
	m.Close(errGone)
	wantWakes(t, r, wake{1, errGone})
	m.Advance(30)
	m.Advance(math.MaxUint64)
	m.Reset(errors.New("too late"))
	m.Close(errors.New("too late"))
	if m.Load() != 0 || m.Waiting() != 0 {
		t.Fatalf("Load() = %d, Waiting() = %d after Close", m.Load(), m.Waiting())
	}
	for _, target := range []lsn.LSN{0, 5, 20, math.MaxUint64} {
		wantNotify(t, &m, target, r, 2, true)
		wantWakes(t, r, wake{2, errGone})
	}
	if err := m.Wait(t.Context(), 5); !errors.Is(err, errGone) {
		t.Errorf("Wait = %v after Close", err)
	}

	var plain lsn.Watermark
	plain.Close(nil)
	if err := plain.Wait(t.Context(), 5); !errors.Is(err, lsn.ErrClosed) {
		t.Errorf("Wait = %v after Close(nil)", err)
	}
}

func TestAbsurdPositionDoesNotClose(t *testing.T) {
	var m lsn.Watermark
	r := new(recorder)
	wantNotify(t, &m, math.MaxUint64-1, r, 1, true)
	wantNotify(t, &m, math.MaxUint64, r, 2, true)
	m.Advance(math.MaxUint64)
	wantWakes(t, r, wake{1, nil})
	m.Reset(errGone)
	wantWakes(t, r, wake{2, errGone})
	m.Advance(7)
	if m.Load() != 7 {
		t.Errorf("Load() = %d", m.Load())
	}
}

func TestCancelTakesBackOneRegistration(t *testing.T) {
	var m lsn.Watermark
	r, other := new(recorder), new(recorder)
	wantNotify(t, &m, 10, r, 1, true)
	wantNotify(t, &m, 10, r, 2, true)
	wantNotify(t, &m, 10, other, 1, true)
	if !m.Cancel(r, 1) {
		t.Error("Cancel found no registration")
	}
	if m.Cancel(r, 1) || m.Cancel(r, 3) || m.Cancel(other, 2) {
		t.Error("Cancel found a registration that does not exist")
	}
	m.Advance(10)
	wantWakes(t, r, wake{2, nil})
	wantWakes(t, other, wake{1, nil})
	if m.Cancel(r, 2) {
		t.Error("Cancel took back a registration that was woken")
	}
}

func TestWhoWaits(t *testing.T) {
	var m lsn.Watermark
	r := new(recorder)
	check := func(n int, lowest, highest lsn.LSN) {
		t.Helper()
		gotLowest, some := m.Lowest()
		gotHighest, some2 := m.Highest()
		if m.Waiting() != n || gotLowest != lowest || gotHighest != highest || some != (n > 0) || some2 != (n > 0) {
			t.Errorf("%d wait for %d to %d, want %d for %d to %d", m.Waiting(), gotLowest, gotHighest, n, lowest, highest)
		}
	}
	check(0, 0, 0)
	m.Notify(20, r, 1)
	check(1, 20, 20)
	m.Notify(10, r, 2)
	m.Notify(30, r, 3)
	check(3, 10, 30)
	m.Notify(0, r, 4) // reached: it must not hide the others
	check(3, 10, 30)
	m.Advance(10)
	check(2, 20, 30)
	m.Cancel(r, 3)
	check(1, 20, 20)
	m.Reset(nil)
	check(0, 0, 0)
}

func TestOnWaitFollowsEachRegistration(t *testing.T) {
	calls := 0
	var m lsn.Watermark
	m.OnWait = func() {
		calls++
		if n := m.Waiting(); n != calls { // takes the lock: the hook runs outside of it
			t.Errorf("%d wait in call %d of the hook", n, calls)
		}
	}
	r := new(recorder)
	m.Advance(5)
	m.Notify(5, r, 1)
	if calls != 0 {
		t.Error("the hook was called although nobody waits")
	}
	m.Notify(6, r, 2)
	m.Notify(7, r, 3)
	if calls != 2 {
		t.Errorf("the hook was called %d times for 2 registrations", calls)
	}
	m.Close(nil)
	m.Notify(8, r, 4)
	if calls != 2 {
		t.Error("the hook was called for a closed watermark")
	}
}

// waiterFunc is a Waiter that calls back into the watermark.
type waiterFunc struct{ wake func(seq uint64, err error) }

func (w *waiterFunc) Wake(seq uint64, err error) { w.wake(seq, err) }

func TestWakeMayUseTheWatermark(t *testing.T) {
	var m lsn.Watermark
	resets := 0
	w := new(waiterFunc)
	w.wake = func(seq uint64, err error) {
		if err != nil {
			// Registering again must not be woken by the same Reset.
			if resets++; resets > 1 {
				t.Fatal("one Reset woke a waiter that came after it")
			}
			m.Notify(50, w, seq)
			return
		}
		if m.Load() < 90 {
			m.Notify(m.Load()+10, w, seq)
			m.Advance(m.Load() + 10)
		}
	}
	m.Notify(5, w, 1)
	m.Reset(nil)
	if m.Waiting() != 1 || resets != 1 {
		t.Fatalf("%d wait after %d resets", m.Waiting(), resets)
	}
	m.Advance(50)
	if m.Load() != 90 || m.Waiting() != 0 {
		t.Errorf("Load() = %d, Waiting() = %d", m.Load(), m.Waiting())
	}
}

func TestWait(t *testing.T) {
	cause := errors.New("client left")
	for _, tc := range []struct {
		why  string
		end  func(m *lsn.Watermark, cancel context.CancelCauseFunc)
		want error
	}{
		{"reached", func(m *lsn.Watermark, _ context.CancelCauseFunc) { m.Advance(10) }, nil},
		{"reset", func(m *lsn.Watermark, _ context.CancelCauseFunc) { m.Reset(errGone) }, errGone},
		{"closed", func(m *lsn.Watermark, _ context.CancelCauseFunc) { m.Close(errGone) }, errGone},
		{"cancelled", func(_ *lsn.Watermark, cancel context.CancelCauseFunc) { cancel(cause) }, cause},
	} {
		t.Run(tc.why, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				var m lsn.Watermark
				m.Advance(9)
				result := make(chan error, 1)
				go func() { result <- m.Wait(ctx, 10) }()
				synctest.Wait()
				if m.Waiting() != 1 || len(result) != 0 {
					t.Fatalf("%d wait for a target that is not reached", m.Waiting())
				}
				tc.end(&m, cancel)
				if err := <-result; !errors.Is(err, tc.want) {
					t.Errorf("Wait = %v, want %v", err, tc.want)
				}
				if m.Waiting() != 0 {
					t.Errorf("%d wait after Wait returned", m.Waiting())
				}
			})
		})
	}
}

func TestWaitForReachedTargetIgnoresContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var m lsn.Watermark
	m.Advance(10)
	if err := m.Wait(ctx, 10); err != nil {
		t.Errorf("Wait = %v for what is reached", err)
	}
	if err := m.Wait(ctx, 11); !errors.Is(err, context.Canceled) {
		t.Errorf("Wait = %v", err)
	}
}

// A registration that has ended must not keep its waiter, and with it a
// client, in memory.
func TestEndedRegistrationsAreForgotten(t *testing.T) {
	var m lsn.Watermark
	stays := new(recorder)
	m.Notify(100, stays, 0)
	woken, cancelled := new(recorder), new(recorder)
	wokenRef, cancelledRef := weak.Make(woken), weak.Make(cancelled)
	m.Notify(10, woken, 1)
	m.Notify(20, cancelled, 2)
	m.Advance(10)
	m.Cancel(cancelled, 2)
	woken, cancelled = nil, nil
	runtime.GC()
	if wokenRef.Value() != nil || cancelledRef.Value() != nil {
		t.Error("an ended registration keeps its waiter alive")
	}
	runtime.KeepAlive(&m)
}
