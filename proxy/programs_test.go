package proxy_test

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgroute/pgroute/internal/cluster"
)

// run runs a program and returns its output.
func run(t *testing.T, stdin, name string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed", name)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Stdin = strings.NewReader(stdin)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out.String())
	}
	return out.String()
}

func TestPsqlRunsUnchanged(t *testing.T) {
	s := use(t, plain)
	out := run(t, `
create table psql_t (id int primary key, v text);
insert into psql_t select i, 'v' || i from generate_series(1, 1000) i;
select count(*) from psql_t;
\d psql_t
\copy psql_t to '/dev/null'
copy psql_t (id, v) from stdin;
2001	a
2002	b
\.
select count(*) from psql_t \gset
\echo :count
begin;
savepoint a;
insert into psql_t values (1, 'twice');
rollback to a;
commit;
select max(id) as m from psql_t \g
\df nope
\l
drop table psql_t;
`, "psql", "-X", "-A", "-t", "-v", "ON_ERROR_ROLLBACK=off", s.dsn(""))
	for _, want := range []string{"1000\n", "1002\n", "2002\n", "psql_t_pkey"} {
		if !strings.Contains(out, want) {
			t.Errorf("psql does not say %q:\n%s", want, out)
		}
	}
}

func TestPgbenchRunsUnchanged(t *testing.T) {
	s := use(t, plain)
	at := []string{"-h", "127.0.0.1", "-p", s.port(), "-U", cluster.SuperUser, cluster.AppDatabase}
	run(t, "", "pgbench", append([]string{"-i", "-q", "-s", "1"}, at...)...)
	failed := regexp.MustCompile(`number of failed transactions: 0 `)
	for _, mode := range []string{"simple", "extended", "prepared"} {
		for _, script := range []string{"select-only", "tpcb-like"} {
			out := run(t, "", "pgbench", append([]string{"-n", "-M", mode, "-b", script, "-c", "8", "-j", "2", "-t", "50"}, at...)...)
			if !strings.Contains(out, "400/400") || strings.Contains(out, "failed") && !failed.MatchString(out) {
				t.Errorf("pgbench -M %s -b %s:\n%s", mode, script, out)
			}
		}
	}
	c := s.connect(t, "")
	var accounts, history int
	if err := c.QueryRow(t.Context(), "select (select sum(abalance) from pgbench_accounts), (select sum(delta) from pgbench_history)").Scan(&accounts, &history); err != nil {
		t.Fatal(err)
	}
	if accounts != history {
		t.Errorf("the accounts hold %d, the history says %d", accounts, history)
	}
}

// TestPgxRunsUnchanged goes through what a program with pgx does.
func TestPgxRunsUnchanged(t *testing.T) {
	s := use(t, plain)
	ctx := t.Context()
	c := s.connect(t, "")
	exec := func(sql string, args ...any) {
		t.Helper()
		if _, err := c.Exec(ctx, sql, args...); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	var n int
	count := func(want int, sql string, args ...any) {
		t.Helper()
		if err := c.QueryRow(ctx, sql, args...).Scan(&n); err != nil || n != want {
			t.Fatalf("%s: %d, %v; want %d", sql, n, err, want)
		}
	}
	exec("create table pgx_t (id int primary key, v text)")
	exec("insert into pgx_t select i, 'x' || i from generate_series(1, 100) i")
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
		count(100, "select count(*) from pgx_t where id > $1", mode, 0)
		count(100, "select count(*) from pgx_t where id > $1", mode, 0)
	}

	b := &pgx.Batch{}
	for i := range 50 {
		b.Queue("select id from pgx_t where id = $1", i+1).QueryRow(func(r pgx.Row) error { return r.Scan(&n) })
	}
	b.Queue("insert into pgx_t values ($1, 'b')", 5000)
	b.Queue("select count(*) from pgx_t").QueryRow(func(r pgx.Row) error { return r.Scan(&n) })
	if err := c.SendBatch(ctx, b).Close(); err != nil || n != 101 {
		t.Fatalf("batch: %d, %v", n, err)
	}

	if _, err := c.CopyFrom(ctx, pgx.Identifier{"pgx_t"}, []string{"id", "v"}, pgx.CopyFromSlice(2000, func(i int) ([]any, error) {
		return []any{i + 10000, strings.Repeat("y", 100)}, nil
	})); err != nil {
		t.Fatal(err)
	}
	_, err := c.CopyFrom(ctx, pgx.Identifier{"pgx_t"}, []string{"id", "v"}, pgx.CopyFromRows([][]any{{1, "twice"}}))
	wantCode(t, err, "23505")
	count(2101, "select count(*) from pgx_t")
	var out bytes.Buffer
	if tag, err := c.PgConn().CopyTo(ctx, &out, "copy pgx_t to stdout"); err != nil || tag.RowsAffected() != 2101 || bytes.Count(out.Bytes(), []byte("\n")) != 2101 {
		t.Fatalf("copy out: %v, %v", tag, err)
	}

	for _, iso := range []pgx.TxIsoLevel{pgx.ReadCommitted, pgx.RepeatableRead, pgx.Serializable} {
		tx, err := c.BeginTx(ctx, pgx.TxOptions{AccessMode: pgx.ReadOnly, IsoLevel: iso})
		if err != nil {
			t.Fatal(err)
		}
		if err := tx.QueryRow(ctx, "select count(*) from pgx_t").Scan(&n); err != nil || n != 2101 {
			t.Errorf("%s: %d, %v", iso, n, err)
		}
		_, err = tx.Exec(ctx, "delete from pgx_t")
		wantCode(t, err, "25006", "40001")
		if err := tx.Rollback(ctx); err != nil {
			t.Errorf("%s: rollback: %v", iso, err)
		}
	}

	// A pipeline with an error in the middle: the next Sync begins anew.
	p := c.PgConn().StartPipeline(ctx)
	for _, sql := range []string{"select 1", "", "select 1/0", "select 2", "", "select 3", ""} {
		if sql == "" {
			if err := p.Sync(); err != nil {
				t.Fatal(err)
			}
			continue
		}
		p.SendQueryParams(sql, nil, nil, nil, nil)
	}
	var got []string
	for len(got) < 6 {
		r, err := p.GetResults()
		var pe *pgconn.PgError
		switch {
		case err != nil && asPg(err, &pe):
			got = append(got, pe.Code)
		case err != nil:
			t.Fatalf("pipeline: %v after %v", err, got)
		case r == nil:
			t.Fatalf("pipeline: nothing after %v", got)
		default:
			if rr, ok := r.(*pgconn.ResultReader); ok {
				got = append(got, string(rr.Read().Rows[0][0]))
			} else {
				got = append(got, "sync")
			}
		}
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if want := "[1 sync 22012 sync 3 sync]"; fmt.Sprint(got) != want {
		t.Errorf("pipeline: %v, want %s", got, want)
	}

	// Prepared statements, and texts and values too long to be gathered.
	if _, err := c.Prepare(ctx, "s1", "select v from pgx_t where id = $1"); err != nil {
		t.Fatal(err)
	}
	_, err = c.PgConn().Prepare(ctx, "s1", "select 2", nil)
	wantCode(t, err, "42P05")
	if err := c.Deallocate(ctx, "s1"); err != nil {
		t.Fatal(err)
	}
	wantCode(t, c.PgConn().ExecPrepared(ctx, "s1", [][]byte{[]byte("1")}, nil, nil).Read().Err, "26000")
	long := "select length($1::text) + length('" + strings.Repeat("q", 300000) + "')"
	for range 2 {
		count(300007, long, "1234567")
		count(3000000, "select length($1::text)", strings.Repeat("a", 3000000))
		count(300007, long, pgx.QueryExecModeExec, "1234567")
		count(300000, "select length('"+strings.Repeat("q", 300000)+"')", pgx.QueryExecModeSimpleProtocol)
	}
	var text string
	if err := c.QueryRow(ctx, "select repeat('b', 5000000)").Scan(&text); err != nil || len(text) != 5000000 {
		t.Errorf("a long value: %d bytes, %v", len(text), err)
	}
	exec("drop table pgx_t")
}

// TestDeallocateFollowsTheProtocol: backends know the statement by another
// name, and other clients keep theirs.
func TestDeallocateFollowsTheProtocol(t *testing.T) {
	s := use(t, plain)
	a, b := s.connect(t, ""), s.connect(t, "")
	for _, c := range []*pgx.Conn{a, b} {
		if _, err := c.PgConn().Prepare(t.Context(), "d1", "select 41 + 1", nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeExec} {
		if _, err := a.Exec(t.Context(), "deallocate d1", mode); err != nil {
			t.Errorf("mode %v: %v", mode, err)
		}
		_, err := a.Exec(t.Context(), "deallocate d1", mode)
		wantCode(t, err, "26000")
		if _, err := a.PgConn().Prepare(t.Context(), "d1", "select 41 + 1", nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.Exec(t.Context(), "begin; deallocate all; rollback"); err != nil {
		t.Fatal(err)
	}
	wantCode(t, a.PgConn().ExecPrepared(t.Context(), "d1", nil, nil, nil).Read().Err, "26000")
	if r := b.PgConn().ExecPrepared(t.Context(), "d1", nil, nil, nil).Read(); r.Err != nil {
		t.Errorf("another client's statement: %v", r.Err)
	}
}
