package client_test

import (
	"fmt"
	"testing"
)

// TestSaidIsBounded: what a transaction says of channels and of settings takes no
// more memory than there are channels and settings (I7).
func TestSaidIsBounded(t *testing.T) {
	s := newStage(t)
	a := s.enter("1")
	a.feed(frontend("Q(begin)"), false)
	a.feed(answers("C(BEGIN) Z(T)"), true)
	for i := range 3000 {
		for _, sql := range []string{"listen a", "unlisten a", "unlisten *", fmt.Sprintf("unlisten b%d", i)} {
			a.feed(frontend("Q("+sql+")"), false)
			if a.be != nil && a.m.Running() { // the server is asked
				a.feed(answers("C(LISTEN) Z(T)"), true)
			}
		}
		a.feed(frontend("Q(reset work_mem)"), false)
		a.feed(answers("C(RESET) Z(T)"), true)
		a.feed(frontend("Q(reset all)"), false)
		a.feed(answers("C(RESET) Z(T)"), true)
	}
	if said, changes := a.m.Said(); said > 2100 || changes > 300 {
		t.Errorf("kept are %d of channels and %d of settings", said, changes)
	}
}
