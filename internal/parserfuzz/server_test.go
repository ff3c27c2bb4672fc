package parserfuzz_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/internal/sqlclass"
)

// servers are a primary and a standby that has applied what the primary
// acknowledged.
type servers struct {
	primary, standby *pgx.Conn
	monitor          *pgx.Conn
	nodes            [2]*cluster.Node
}

func start(t *testing.T) *servers {
	t.Helper()
	c := cluster.Start(t, cluster.Options{Replicas: 1, Settings: map[string]string{
		"synchronous_standby_names": "*", "synchronous_commit": "remote_apply", "max_standby_streaming_delay": "0",
		"max_prepared_transactions": "4", "compute_query_id": "off", "logging_collector": "off", "log_min_messages": "fatal", "log_min_error_statement": "panic",
	}})
	nodes := [2]*cluster.Node{c.Primary(), c.Replicas()[0]}
	return &servers{dial(t, nodes[0]), dial(t, nodes[1]), dial(t, nodes[0]), nodes}
}

func dial(t *testing.T, n *cluster.Node) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), n.DSN(cluster.SuperUser, cluster.SuperPassword, cluster.AppDatabase))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

// redial replaces connections that a server closed: a standby does that to a
// transaction that is in the way of what it has to apply.
func (s *servers) redial(t *testing.T) {
	t.Helper()
	if s.primary.IsClosed() {
		s.primary = dial(t, s.nodes[0])
	}
	if s.standby.IsClosed() {
		s.standby = dial(t, s.nodes[1])
	}
}

// Query makes servers a sqlclass.Querier.
func (s *servers) Query(ctx context.Context, sql string) ([][]string, error) {
	results, err := s.monitor.PgConn().Exec(ctx, sql).ReadAll()
	if err != nil {
		return nil, err
	}
	var rows [][]string
	for _, result := range results {
		for _, values := range result.Rows {
			row := make([]string, len(values))
			for i, value := range values {
				row[i] = string(value)
			}
			rows = append(rows, row)
		}
	}
	return rows, nil
}

func (s *servers) catalogue(t *testing.T) *sqlclass.Catalogue {
	t.Helper()
	cat, err := sqlclass.Load(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return cat
}

// names returns the set of a query's first column.
func (s *servers) names(t *testing.T, sql string) map[string]bool {
	t.Helper()
	rows, err := s.Query(t.Context(), sql)
	if err != nil {
		t.Fatal(err)
	}
	set := make(map[string]bool)
	for _, row := range rows {
		set[row[0]] = true
	}
	return set
}

// volatile are the functions that the judge takes for writes.
func (s *servers) volatile(t *testing.T) map[string]bool {
	t.Helper()
	return s.names(t, "select proname from pg_proc where provolatile = 'v'")
}

// exec runs a text and returns its SQLSTATE, empty if all is well.
func exec(ctx context.Context, conn *pgx.Conn, sql string) ([]*pgconn.Result, string) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	results, err := conn.PgConn().Exec(ctx, sql).ReadAll()
	var refusal *pgconn.PgError
	switch {
	case err == nil:
		return results, ""
	case errors.As(err, &refusal):
		return nil, refusal.Code
	}
	return nil, err.Error()
}

func runFile(t *testing.T, conn *pgx.Conn, elements ...string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(elements...))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.PgConn().Exec(t.Context(), string(text)).ReadAll(); err != nil {
		t.Fatal(err)
	}
}

// patience is how long one statement may take on a busy machine; statement_timeout
// ends it sooner.
const patience = time.Minute

// refusals are what a standby says to what it cannot do.
var refusals = map[string]bool{"25006": true, "0A000": true, "55000": true, "XX000": true}

var options = sqlclass.Options{StandardConformingStrings: true, SearchPathDefault: true}
