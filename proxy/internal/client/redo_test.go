package client_test

import (
	"maps"
	"testing"

	"github.com/pgroute/pgroute/proxy/internal/client"
)

// TestRedoIsCountedOnce: a server that is stopped says so before it closes the
// connection.
func TestRedoIsCountedOnce(t *testing.T) {
	for said, want := range map[string]string{"": "EOF", "FATAL(57P01)": "57P01", "T FATAL(57P01)": "57P01"} {
		for _, level := range []string{"session", "primary"} {
			s := newStage(t)
			a := s.enter("1")
			a.feed(frontend("Q(set pgroute.consistency = '"+level+"')"), false)
			a.feed(frontend("Q(select 1)"), false)
			a.feed(answers(said), true)
			a.be, a.back = nil, nil
			a.step(client.Event{Kind: client.BackendGone})
			a.settle()
			got := map[string]uint64{}
			s.env.Stats.EachRedo(func(code string, n uint64) { got[code] = n })
			if !maps.Equal(got, map[string]uint64{want: 1}) {
				t.Errorf("%s, %q: counted are %v", level, said, got)
			}
		}
	}
}
