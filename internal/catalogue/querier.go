package catalogue

import (
	"context"

	"github.com/pgroute/pgroute/internal/sqlclass"
	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/pgprobe"
)

// Primary returns what New asks for: who asks the primary's database, over
// monitor connections, or why there is no primary.
func Primary(r *router.Router, monitor *pgprobe.Prober, database string) func() (sqlclass.Querier, error) {
	return func() (sqlclass.Querier, error) {
		node, _, err := r.Primary()
		if err != nil {
			return nil, err
		}
		return Querier(monitor, node.Addr, database), nil
	}
}

// Querier returns who asks one database on the server at addr, over a monitor
// connection.
func Querier(monitor *pgprobe.Prober, addr router.Addr, database string) sqlclass.Querier {
	return querier{monitor, addr, database}
}

// querier is the Querier of one database on one server.
type querier struct {
	monitor  *pgprobe.Prober
	addr     router.Addr
	database string
}

func (q querier) Query(ctx context.Context, sql string) ([][]string, error) {
	rows, err := q.monitor.Query(ctx, q.addr, q.database, sql)
	if err != nil {
		return nil, err
	}
	out := make([][]string, len(rows))
	for i, row := range rows {
		out[i] = make([]string, len(row))
		for j, v := range row {
			if v != nil { // the queries of sqlclass return no NULLs
				out[i][j] = *v
			}
		}
	}
	return out, nil
}
