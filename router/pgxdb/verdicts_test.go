package pgxdb_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pgroute/pgroute/router/pgxdb"
)

func TestVerdictsAreBounded(t *testing.T) {
	v := pgxdb.NewVerdicts()
	for i := range 20_000 {
		v.Add(fmt.Sprint("select ", i), 1)
		v.Misjudged(fmt.Sprint("select 'x' || ", i))
	}
	if known, missed := v.Len(); known > 5000 || missed > 5000 {
		t.Errorf("%d verdicts and %d misjudged texts are kept", known, missed)
	}
	long := strings.Repeat("x", 1<<20)
	v.Add(long, 1)
	if v.Find(long, 1) {
		t.Error("a long text is kept")
	}
	v.Add("select 1", 1)
	if !v.Find("select 1", 1) || v.Find("select 1", 2) {
		t.Error("a verdict does not belong to its catalogue")
	}
	v.Misjudged("select 1")
	if v.Find("select 1", 1) || !v.WasMisjudged("select 1") {
		t.Error("a misjudged text keeps its verdict")
	}
}

const benchText = "select b.id, b.seat, s.row, s.number from bookings b join seats s on s.id = b.seat where b.slot = $1 and b.customer = $2 order by s.row, s.number limit 50"

func BenchmarkVerdictFind(b *testing.B) {
	v := pgxdb.NewVerdicts()
	v.Add(benchText, 1)
	b.ReportAllocs()
	for b.Loop() {
		if !v.Find(benchText, 1) {
			b.Fatal("it is gone")
		}
	}
}

func BenchmarkVerdictScan(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		pgxdb.Scan(benchText)
	}
}
