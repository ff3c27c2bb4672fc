package sqlclass_test

import (
	"testing"

	"github.com/pgroute/pgroute/internal/sqlclass"
)

var hotStatements = []struct{ name, sql string }{
	{"pgbench select", "SELECT abalance FROM pgbench_accounts WHERE aid = 1234;"},
	{"pgbench update", "UPDATE pgbench_accounts SET abalance = abalance + 42 WHERE aid = 1234;"},
	{"begin", "BEGIN;"},
	{"set", "SET search_path TO tenant_17, public"},
	{"booking", `SELECT b.id, b."roomId", r.name, count(*) OVER (PARTITION BY r.id) FROM bookings b JOIN rooms r ON r.id = b.room_id WHERE b.day = $1 AND b.state IN ('held', 'paid') ORDER BY b.id LIMIT 20`},
	{"tenant", "SELECT id, price FROM secret_offers WHERE owner = current_setting('app.tenant') AND id = $1"},
	{"cursor", "DECLARE c NO SCROLL CURSOR FOR SELECT id, price FROM secret_offers WHERE id = $1"},
	{"hint", "/* pgroute: consistency=strong, wait=50ms */ SELECT now()"},
}

func TestClassifyDoesNotAllocate(t *testing.T) {
	cat := load(t)
	r := new(sqlclass.Result)
	for _, c := range hotStatements {
		sql := []byte(c.sql)
		if n := testing.AllocsPerRun(100, func() { sqlclass.Classify(sql, cat, defaults, r) }); n != 0 {
			t.Errorf("%s: %v allocations", c.name, n)
		}
	}
}

func BenchmarkClassify(b *testing.B) {
	cat := load(b)
	for _, c := range hotStatements {
		b.Run(c.name, func(b *testing.B) {
			r := new(sqlclass.Result)
			sql := []byte(c.sql)
			b.ReportAllocs()
			b.SetBytes(int64(len(sql)))
			for b.Loop() {
				sqlclass.Classify(sql, cat, defaults, r)
			}
		})
	}
}
