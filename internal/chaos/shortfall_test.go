package chaos_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"
)

// everyKind is how long a run is in which every kind of fault must come about.
const everyKind = 10 * time.Minute

// never are the kinds of which the nemesis could have made faults, and made none.
func (n *nemesis) never() []string {
	list := []string{}
	for _, r := range n.usable() {
		if n.did[r.kind] == 0 {
			list = append(list, r.kind)
		}
	}
	return list
}

// shortfall says in what the nemesis was no trial. A short run need not meet
// every kind.
func (r *result) shortfall() (wrong []string) {
	if len(r.Faults) == 0 {
		wrong = append(wrong, "the nemesis achieved nothing")
	}
	if r.For < everyKind {
		return wrong
	}
	for _, kind := range r.Never {
		wrong = append(wrong, fmt.Sprintf("no fault of the kind %q came about, %d failed", kind, r.Failed[kind]))
	}
	for _, kind := range slices.Sorted(maps.Keys(r.Failed)) {
		if did, failed := r.Faults[kind], r.Failed[kind]; did > 0 && failed > did {
			wrong = append(wrong, fmt.Sprintf("%d of %d faults of the kind %q failed", failed, did+failed, kind))
		}
	}
	return wrong
}

// A long run without some kind of fault is no trial, nor is a short one without any.
func TestShortfall(t *testing.T) {
	n := newNemesis(&lab{}, newJournal(0), 1, t.Logf)
	n.only = []string{"cut", "kill -9 proxy", "switchover", "kill -9 primary"} // the first one needs a network
	n.count(t.Context(), "kill -9 proxy", true)
	for range 2 {
		n.count(t.Context(), "switchover", false)
	}
	judge := func(lasts time.Duration) []string {
		return (&result{For: lasts, Faults: n.did, Failed: n.failed, Never: n.never()}).shortfall()
	}
	none, some := "no fault of the kind %q came about, %d failed", "%d of %d faults of the kind %q failed"
	for _, x := range []struct {
		lasts time.Duration
		want  []string
	}{
		{90 * time.Second, nil},
		{everyKind, []string{fmt.Sprintf(none, "kill -9 primary", 0), fmt.Sprintf(none, "switchover", 2)}},
	} {
		if got := judge(x.lasts); !slices.Equal(got, x.want) {
			t.Errorf("after %v it is said: %q, want %q", x.lasts, got, x.want)
		}
	}
	n.count(t.Context(), "kill -9 primary", true)
	n.count(t.Context(), "switchover", true)
	if got, want := judge(everyKind), []string{fmt.Sprintf(some, 2, 3, "switchover")}; !slices.Equal(got, want) {
		t.Errorf("it is said: %q, want %q", got, want)
	}
	n.count(t.Context(), "switchover", true)
	if got := judge(everyKind); len(got) != 0 {
		t.Errorf("half of the attempts may fail, and it is said: %q", got)
	}
	n.did = map[string]int{}
	if got := judge(time.Second); !slices.Equal(got, []string{"the nemesis achieved nothing"}) {
		t.Errorf("after a run without faults it is said: %q", got)
	}
}
