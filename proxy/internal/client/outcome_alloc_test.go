package client_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/pgroute/pgroute/proxy/internal/wire"
	"github.com/pgroute/pgroute/router"
)

// What is asked in front of a COMMIT allocates nothing, in either protocol.
func TestCaptureAllocatesNothing(t *testing.T) {
	const asked = "V(7) Z(T) V(4096) Z(T) "
	for name, commit := range map[string]struct {
		request, reply []byte
		later          bool // rows are changed twice: it is asked for before the COMMIT
	}{
		"simple":          {wire.AppendQuery(nil, "commit"), answers("C(COMMIT) Z(I)"), false},
		"extended":        {group(parse("", "commit"), bind(""), execute()), answers("1 2 C(COMMIT) Z(I)"), false},
		"simple, later":   {wire.AppendQuery(nil, "commit"), answers("C(COMMIT) Z(I)"), true},
		"extended, later": {group(parse("", "commit"), bind(""), execute()), answers("1 2 C(COMMIT) Z(I)"), true},
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, router.LevelSession)
			g.nodes[router.RolePrimary].Captures = true
			steps := []struct{ request, reply []byte }{
				{wire.AppendQuery(nil, "begin"), answers("C(BEGIN) Z(T)")},
				{wire.AppendQuery(nil, "update t set v = 1"), answers("C(UPDATE 1) Z(T)")},
				{commit.request, append(answers(asked), commit.reply...)},
			}
			if commit.later {
				again := steps[1]
				again.reply = append(answers(asked), again.reply...)
				steps[2].reply = append(answers("V(4090) Z(T)"), commit.reply...)
				steps = append(steps[:2:2], again, steps[2])
			}
			transaction := func() error {
				var err error
				for i := range steps {
					err = errors.Join(err, g.cycle(steps[i].request, steps[i].reply))
				}
				return err
			}
			for range 10 {
				if err := transaction(); err != nil {
					t.Fatal(err)
				}
			}
			if !bytes.Equal(g.back, commit.reply) || !bytes.HasSuffix(g.toward, commit.request) || len(g.toward) == len(commit.request) {
				t.Fatalf("the COMMIT %q is answered with %q", g.toward, g.back)
			}
			var err error
			if n := testing.AllocsPerRun(1000, func() { err = errors.Join(err, transaction()) }); n != 0 || err != nil {
				t.Errorf("%v allocations a transaction, want none (%v)", n, err)
			}
		})
	}
}
