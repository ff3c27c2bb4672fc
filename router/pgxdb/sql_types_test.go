package pgxdb_test

import (
	"context"
	"database/sql"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/router/pgxdb"
)

// sqlValues are columns of all kinds of types.
var sqlValues = []string{
	`true`, `false`, `null::bool`,
	`1::int2`, `(-32768)::int2`, `2147483647`, `(-9223372036854775808)::int8`, `null::int4`,
	`1.5::float4`, `0.1::float4`, `0.1::float8`, `'NaN'::float8`, `'-Infinity'::float8`,
	`12345678901234567890.12345::numeric`, `1.50::numeric(10,2)`, `'NaN'::numeric`, `null::numeric(5,1)`,
	`'text with "quotes" and Ünicode'`, `''::text`, `'abc'::varchar(10)`, `'abc'::char(5)`, `'n'::name`, `'c'::"char"`, `null`,
	`'\x00ff'::bytea`, `''::bytea`, `null::bytea`,
	`date '2024-02-29'`, `date 'infinity'`, `date '0044-03-15 BC'`, `null::date`,
	`timestamp '2024-02-29 12:34:56.789012'`, `timestamp '-infinity'`, `timestamptz '2024-02-29 12:34:56.789012+05:30'`, `timestamptz 'infinity'`,
	`time '12:34:56.789'`, `timetz '12:34:56+02'`, `interval '1 year 2 months 3 days 04:05:06.7'`,
	`'{"a": [1, null, "x"]}'::json`, `'{"b":  2}'::jsonb`, `null::jsonb`, `'null'::jsonb`, `'<a>b</a>'::xml`,
	`array[1, null, 3]`, `array['a', 'b"c', null]`, `array[array[1, 2], array[3, 4]]`, `'{}'::text[]`, `array[date '2024-01-01']`, `array['\x00'::bytea]`,
	`int4range(1, 5)`, `'[2024-01-01,2024-02-01)'::daterange`,
	`'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid`, `'192.168.0.1/24'::inet`, `'10.0.0.0/8'::cidr`, `'08:00:2b:01:02:03'::macaddr`,
	`point(1, 2)`, `b'101'`, `'101'::varbit(5)`, `'12.34'::money`, `26::oid`, `'pg_class'::regclass`, `'3'::xid`, `'4'::cid`, `'0/16B3748'::pg_lsn`, `'(0,1)'::tid`,
	`row(1, 'a')`, `to_tsvector('english', 'a fat cat')`,
}

// sqlValues14 are values of types that came with PostgreSQL 14.
var sqlValues14 = []string{`'{[1,3),[5,7)}'::int4multirange`}

// sqlModes are the ways in which pgx sends a query.
var sqlModes = []string{"cache_statement", "cache_describe", "describe_exec", "exec", "simple_protocol"}

// TestSQLValues: values and descriptions of columns are those of pgx's own
// database/sql driver on a direct connection.
func TestSQLValues(t *testing.T) {
	c := common(t)
	name := tableOf(t, c, "a int, b numeric(7, 2)")
	for _, mode := range sqlModes {
		t.Run(mode, func(t *testing.T) {
			ours, theirs := sqlBeside(t, c, mode)
			for _, values := range []string{"select 1, 2 where false", "values (1, 2), (null, null)", "values (0, 1/0)"} {
				query := "insert into " + name + " " + values + " returning *"
				if got, want := described(t, ours, query), described(t, theirs, query); got != want {
					t.Errorf("%s:\n got %s\nwant %s", query, got, want)
				}
			}
			values := sqlValues
			if version(t, c) >= 14 {
				values = slices.Concat(sqlValues, sqlValues14)
			}
			for _, v := range values {
				for _, query := range []string{"select " + v + " as v", "select " + v + " as v where false", "select v from (values (" + v + "), (null), (" + v + ")) x(v)"} {
					got, want := described(t, ours, query), described(t, theirs, query)
					if got != want || strings.Contains(want, "error: ") {
						t.Errorf("%s:\n got %s\nwant %s", query, got, want)
					}
				}
			}
		})
	}
}

// TestSQLArguments: arguments of all kinds arrive as with pgx's own driver, and
// what is wrong with them is refused as there.
func TestSQLArguments(t *testing.T) {
	c := common(t)
	now := time.Date(2024, 2, 29, 12, 34, 56, 789012000, time.FixedZone("", 19800))
	type object struct{ A, B int }
	word := "word"
	for _, mode := range sqlModes {
		t.Run(mode, func(t *testing.T) {
			ours, theirs := sqlBeside(t, c, mode)
			for _, a := range []struct {
				typ string
				arg any
			}{
				{"text", "it's"}, {"text", nil}, {"text", &word}, {"text", (*string)(nil)}, {"text", sql.NullString{}}, {"text", sql.NullString{String: "x", Valid: true}},
				{"int4", 42}, {"int8", uint32(7)}, {"int8", sql.Null[int64]{V: 5, Valid: true}}, {"bool", true}, {"float8", 1.25}, {"numeric", "1.50"},
				{"bytea", []byte{0, 1, 255}}, {"timestamptz", now}, {"timestamp", now}, {"date", now},
				{"text[]", []string{"a", `"b\`}}, {"int4[]", []int32{1, 2}}, {"jsonb", object{1, 2}}, {"jsonb", map[string]any{"k": []int{1}}},
				{"inet", netip.MustParseAddr("10.0.0.1")}, {"interval", time.Minute},
				{"int4", "no number"}, {"int4", struct{}{}}, {"date", "no date"}, {"int2", 1 << 20},
			} {
				query := "select $1::" + a.typ
				got, want := described(t, ours, query, a.arg), described(t, theirs, query, a.arg)
				if got != want {
					t.Errorf("%s with %#v:\n got %s\nwant %s", query, a.arg, got, want)
				}
			}
			for _, args := range [][]any{{}, {1}, {1, 2, 3}, {sql.Named("x", 1), sql.Named("y", 2)}, {pgx.NamedArgs{"x": 1}}} {
				query := "select $1::int4 + $2::int4"
				if got, want := described(t, ours, query, args...), described(t, theirs, query, args...); got != want {
					t.Errorf("%s with %v:\n got %s\nwant %s", query, args, got, want)
				}
			}
		})
	}
}

// sqlBeside opens a cluster by our driver and its primary by pgx's own.
func sqlBeside(t *testing.T, c *cluster.Cluster, mode string) (ours, theirs *sql.DB) {
	t.Helper()
	ours = sqlOpen(t, open(t, c, func(cfg *pgxdb.Config) { cfg.DSN += "&default_query_exec_mode=" + mode }).Auto())
	cfg, err := pgx.ParseConfig(c.Primary().DSN(cluster.AppUser, cluster.AppPassword, cluster.AppDatabase) + "&default_query_exec_mode=" + mode)
	must(t, err)
	theirs = stdlib.OpenDB(*cfg)
	t.Cleanup(func() { theirs.Close() })
	return ours, theirs
}

// sqlOpen opens a sql.DB that is closed with the test.
func sqlOpen(t testing.TB, q pgxdb.Queries) *sql.DB {
	t.Helper()
	db := sql.OpenDB(pgxdb.NewConnector(q))
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// described runs a query and describes everything that its answer says.
func described(t testing.TB, db *sql.DB, query string, args ...any) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return "error: " + err.Error()
	}
	defer rows.Close()
	columns, err := rows.ColumnTypes()
	if err != nil {
		return "no columns: " + err.Error()
	}
	var out string
	for _, col := range columns {
		length, hasLength := col.Length()
		precision, scale, hasDecimal := col.DecimalSize()
		out += fmt.Sprintf("[%s %s %v %d,%t %d,%d,%t]", col.Name(), col.DatabaseTypeName(), col.ScanType(), length, hasLength, precision, scale, hasDecimal)
	}
	for rows.Next() {
		values := make([]any, len(columns))
		for i := range values {
			values[i] = new(any)
		}
		if err := rows.Scan(values...); err != nil {
			return out + "scan: " + err.Error()
		}
		for _, v := range values {
			v = *v.(*any)
			if at, ok := v.(time.Time); ok {
				v = at.Format(time.RFC3339Nano) + at.Location().String()
			}
			out += fmt.Sprintf(" %T(%v)", v, v)
		}
	}
	if err := rows.Err(); err != nil {
		out += " error: " + err.Error()
	}
	return out
}
