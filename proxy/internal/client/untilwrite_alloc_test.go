package client_test

import (
	"errors"
	"testing"

	"github.com/pgroute/pgroute/proxy/internal/client"
	"github.com/pgroute/pgroute/proxy/internal/wire"
	"github.com/pgroute/pgroute/router"
)

// A transaction that only reads allocates nothing either, and no server but a
// replica sees anything of it.
func TestReadFirstAllocatesNothing(t *testing.T) {
	for name, c := range map[string]struct{ begin, read, reply, commit []byte }{
		"simple": {wire.AppendQuery(nil, "BEGIN"), wire.AppendQuery(nil, "SELECT 12345"), simpleReply, wire.AppendQuery(nil, "COMMIT")},
		"unnamed": {group(parse("", "BEGIN"), bind(""), execute()), group(parse("", "SELECT 12345"), bind(""), execute()), unnamedReply,
			group(parse("", "COMMIT"), bind(""), execute())},
	} {
		t.Run(name, func(t *testing.T) {
			g := newRig(t, router.LevelSession)
			g.m.Reported(client.DefaultIsolation, "read committed")
			if err := g.cycle(wire.AppendQuery(nil, "set pgroute.transaction_reads = 'until-write'"), nil); err != nil {
				t.Fatal(err)
			}
			all := func() error {
				return errors.Join(g.cycle(c.begin, nil), g.cycle(c.read, c.reply), g.cycle(c.commit, nil))
			}
			for range 10 {
				if err := all(); err != nil {
					t.Fatal(err)
				}
			}
			if g.role != router.RoleReplica {
				t.Errorf("the read ran on a %v", g.role)
			}
			var err error
			if n := testing.AllocsPerRun(1000, func() { err = errors.Join(err, all()) }); n != 0 || err != nil {
				t.Errorf("%v allocations a transaction, want none (%v)", n, err)
			}
		})
	}
}
