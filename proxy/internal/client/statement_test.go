package client_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pgroute/pgroute/proxy/internal/client"
	"github.com/pgroute/pgroute/proxy/internal/wire"
)

// TestStatementsAreBoundedInBytes: texts that are as long as may be, first of
// many clients, then of one.
func TestStatementsAreBoundedInBytes(t *testing.T) {
	s := newStage(t)
	s.env.Statements = client.NewStatements(4096) // so that it is not their number
	text := strings.Repeat("x", 60<<10)
	n := 0
	parse := func(a *actor) string { // a text that nobody had before
		n++
		rest := fmt.Appendf(nil, "select %d, '%s'\x00\x00\x00", n, text)
		a.feed(wire.AppendSync(wire.AppendParse(nil, fmt.Appendf(nil, "s%d", n), rest)), false)
		if a.be != nil {
			a.feed(answers("1 Z(I)"), true)
		}
		out := ""
		for _, h := range a.heard {
			if h.who == "client" {
				out = tell(h.data, true)
			}
		}
		a.heard = nil
		return out
	}
	for i := range 2 * client.MaxIdleBytes / len(text) {
		a := s.enter(fmt.Sprint(i))
		if got := parse(a); got != "1 Z(I)" {
			t.Fatal(got)
		}
		a.m.Leave()
		delete(s.actor, fmt.Sprint(i))
	}
	if b := s.env.Statements.Bytes(); b > client.MaxIdleBytes {
		t.Errorf("statements of nobody take %d bytes", b)
	}
	a := s.enter("1")
	got, held := "1 Z(I)", 0
	for ; got == "1 Z(I)" && held < 2*client.MaxNameBytes/len(text); held++ {
		got = parse(a)
	}
	if got != "E(54000) Z(I)" || held < client.MaxNameBytes/4/len(text) {
		t.Errorf("after %d texts the client is told %s", held, got)
	}
	// What it gives back is room again.
	a.feed(frontend(fmt.Sprintf("C(S,s%d) S", n-1)), false)
	if a.heard = nil; parse(a) != "1 Z(I)" {
		t.Error("a closed statement is no room for another one")
	}
	s.end()
}
