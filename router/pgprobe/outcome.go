package pgprobe

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/pgroute/pgroute/router"
)

// Outcomes implements router.OutcomeProbe. pg_xact_status raises an error for a
// number that was not given to anybody yet; those are not asked for.
func (p *probe) Outcomes(ctx context.Context, xids []uint64) ([]router.XactState, error) {
	if len(xids) == 0 {
		return nil, nil
	}
	if err := p.begin(ctx); err != nil {
		return nil, p.fail(ctx, "transactions", err)
	}
	rows, err := p.query(outcomesSQL(xids))
	if err != nil {
		return nil, p.fail(ctx, "transactions", err)
	}
	states, err := readOutcomes(rows, len(xids))
	if err != nil {
		return nil, p.fail(ctx, "transactions", err)
	}
	p.end()
	return states, nil
}

func outcomesSQL(xids []uint64) string {
	sql := []byte("SELECT x.i, CASE WHEN x.id OPERATOR(pg_catalog.<) pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())" +
		" THEN pg_catalog.pg_xact_status(x.id) ELSE 'in progress' END, pg_catalog.pg_is_in_recovery() FROM (VALUES ")
	for i, xid := range xids {
		if i > 0 {
			sql = append(sql, ", "...)
		}
		sql = fmt.Appendf(sql, "(%d, '%d'::pg_catalog.xid8)", i, xid)
	}
	return string(append(sql, ") AS x(i, id)"...))
}

// readOutcomes reads one row for each of n transactions, in any order.
func readOutcomes(rows [][]*string, n int) ([]router.XactState, error) {
	if len(rows) != n {
		return nil, fmt.Errorf("%d rows instead of %d", len(rows), n)
	}
	states := make([]router.XactState, n)
	f := fields{rows: rows}
	for row := range rows {
		i := f.int(row, 0)
		text := f.nullable(row, 1)
		recovery := f.bool(row, 2)
		switch {
		case f.err != nil:
			return nil, f.err
		case i < 0 || i >= int64(n):
			return nil, errors.New("an answer to a question that was not asked: " + strconv.FormatInt(i, 10))
		case recovery:
			return nil, errMoved // a standby does not know what its primary has done since
		case text == nil:
			states[i] = router.XactForgotten
		case *text == "committed":
			states[i] = router.XactCommitted
		case *text == "aborted":
			states[i] = router.XactAborted
		case *text == "in progress":
			states[i] = router.XactInProgress
		default:
			return nil, fmt.Errorf("unknown transaction status %q", *text)
		}
	}
	return states, nil
}
