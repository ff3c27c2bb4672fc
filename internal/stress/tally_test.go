package stress_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// tally is what one worker counted. It belongs to the worker until that has
// ended; then tallies are added up.
type tally struct {
	pairs  map[string]int // judged, by kind and protocol
	nodes  map[string]int // replica reads, by phase and node
	routes map[string]int // reads, by role and reason
	errors map[string]int // by kind and SQLSTATE
	// held counts reads that came while a replica surely lacked the write;
	// nobody those that found no replica covering.
	reads, held, nobody int
	judged              int // the sum of pairs
	// unknown are pairs that nobody can judge: an asynchronous commit around
	// a crash.
	unknown int
	anew    int // READ COMMITTED transactions that were asked to begin anew
	stale   []string
	back    []string       // backward reads
	moves   map[string]int // by roles
}

func newTally() *tally {
	return &tally{pairs: map[string]int{}, nodes: map[string]int{}, routes: map[string]int{}, errors: map[string]int{}, moves: map[string]int{}}
}

func (t *tally) add(o *tally) {
	for _, m := range []struct{ to, from map[string]int }{
		{t.pairs, o.pairs}, {t.nodes, o.nodes}, {t.routes, o.routes}, {t.errors, o.errors}, {t.moves, o.moves},
	} {
		for k, n := range m.from {
			m.to[k] += n
		}
	}
	t.reads += o.reads
	t.judged += o.judged
	t.held += o.held
	t.nobody += o.nobody
	t.unknown += o.unknown
	t.anew += o.anew
	t.stale = append(t.stale, o.stale...)
	t.back = append(t.back, o.back...)
}

// failed counts an error of a pair that is not one of the test's own end.
func (t *tally) failed(ctx context.Context, what string, err error) {
	if ctx.Err() == nil {
		t.errors[what+": "+cause(err)]++
	}
}

// cause names an error so that many of them fit in a table.
func cause(err error) string {
	var pg *pgconn.PgError
	switch {
	case errors.As(err, &pg):
		return pg.Code + " " + pg.Message
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	case strings.Contains(err.Error(), "unexpected EOF"), strings.Contains(err.Error(), "conn closed"), strings.Contains(err.Error(), "connection reset"):
		return "connection ended"
	}
	return err.Error()
}

func sum(m map[string]int) int {
	n := 0
	for _, v := range m {
		n += v
	}
	return n
}

// table prints a map in the order of its keys.
func table(title string, m map[string]int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%d):\n", title, sum(m))
	for _, k := range slices.Sorted(maps.Keys(m)) {
		fmt.Fprintf(&b, "  %8d  %s\n", m[k], k)
	}
	return b.String()
}

func percent(n, of int) float64 { return 100 * float64(n) / float64(max(of, 1)) }
