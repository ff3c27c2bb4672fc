package pgxdb

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/pgroute/pgroute/internal/sqlclass"
	"github.com/pgroute/pgroute/router"
)

// OpenOn is Open without the login to the primary, for servers that are none.
func OpenOn(t testing.TB, r *router.Router, dsn string, log *slog.Logger) *DB {
	t.Helper()
	db, err := prepare(Config{Router: r, DSN: dsn, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	db.start(context.Background())
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := r.WaitTopology(ctx, func(t *router.Topology) bool { return t.Primary != nil && t.Replicas() > 0 }); err != nil {
		t.Fatal(err)
	}
	return db
}

// RedoKind names what may be done about an error.
func RedoKind(err error, broken bool) string {
	return [...]string{"never", "here", "elsewhere", "primary", "misjudged"}[redoKind(err, broken)]
}

// MayEnd is mayEnd.
func MayEnd(sql string) bool { return mayEnd(sql) }

// TakeForRead makes Auto take a text for a read, as if the catalogue had lied.
func TakeForRead(db *DB, sql string) {
	_, gen, _ := db.watcher.Load().Known()
	db.verdicts.add(sql, verdict{gen: gen, read: true, level: -1, onTimeout: -1, wait: -1, maxStaleness: -1})
}

// Verdicts is the cache of verdicts.
type Verdicts struct{ v verdicts }

// NewVerdicts returns an empty one.
func NewVerdicts() *Verdicts { return new(Verdicts) }

// Add, Find and the others are the cache's.
func (v *Verdicts) Add(sql string, gen uint64) { v.v.add(sql, verdict{gen: gen}) }

// Find reports whether a verdict is kept.
func (v *Verdicts) Find(sql string, gen uint64) bool {
	_, ok := v.v.find(sql, gen)
	return ok
}

// Misjudged is misjudged.
func (v *Verdicts) Misjudged(sql string) { v.v.misjudged(sql) }

// WasMisjudged is wasMisjudged.
func (v *Verdicts) WasMisjudged(sql string) bool { return v.v.wasMisjudged(sql) }

// Len counts what is kept.
func (v *Verdicts) Len() (known, missed int) {
	v.v.known.Range(func(any, any) bool { known++; return true })
	v.v.misses.Range(func(any, any) bool { missed++; return true })
	return known, missed
}

// Scan classifies a text without a catalogue.
func Scan(sql string) {
	var r sqlclass.Result
	sqlclass.Classify(bytesOf(sql), nil, sqlclass.Options{StandardConformingStrings: true, SearchPathDefault: true}, &r)
}
