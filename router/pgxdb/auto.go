package pgxdb

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unsafe"

	"github.com/jackc/pgx/v5"

	"github.com/pgroute/pgroute/internal/catalogue"
	"github.com/pgroute/pgroute/internal/sqlclass"
	"github.com/pgroute/pgroute/router"
)

// catalogueWait is how long statements wait for the first catalogue: without
// one nearly everything would be taken for a write.
const catalogueWait = 2 * time.Second

// Auto returns Queries that tells reads from writes as the proxy does: a
// statement that is provably a read runs on a replica, everything else on the
// primary. A hint in a comment, such as /* pgroute: strong */, is honoured. A
// transaction runs on a replica if its access mode is read only.
//
// What the functions, views and operators of the database do is read from its
// catalogue, by the role of Config.MonitorDSN, from the first call of Auto on.
func (db *DB) Auto() Queries {
	db.startCatalogue()
	return Queries{db: db, policy: db.policy, verb: verbAuto}
}

// startCatalogue begins to keep the catalogue, once.
func (db *DB) startCatalogue() {
	db.watchOnce.Do(func() {
		w := catalogue.New(db.database, catalogue.Primary(db.router, db.monitor, db.database), &db.catalogueGen, db.cfg.Logger)
		db.watchedSince = time.Now()
		db.watcher.Store(w)
		db.watching.Add(1)
		// Close stops it by db.lifetime and waits for it.
		go db.watchLoop(w)
	})
}

func (db *DB) watchLoop(w *catalogue.Watcher) {
	defer db.watching.Done()
	w.Run(db.lifetime)
}

// catalogueChanged says that a statement may have changed the catalogue. It
// must come before anybody can see that the statement has ended.
func (db *DB) catalogueChanged() {
	if w := db.watcher.Load(); w != nil {
		w.Changed()
	}
}

// batchChanged is catalogueChanged after a batch whose tags were not seen.
func (db *DB) batchChanged(b *pgx.Batch) {
	w := db.watcher.Load()
	if w == nil {
		return
	}
	cat, _, _ := w.Known()
	var r sqlclass.Result
	for _, q := range b.QueuedQueries {
		if sqlclass.Classify(bytesOf(q.SQL), cat, db.options, &r); r.Binds&sqlclass.BindsDDL != 0 {
			w.Changed()
			return
		}
	}
}

// bytesOf returns the bytes of s without copying them. The classifier only
// reads them.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// judge says how a statement by Auto runs.
func (db *DB) judge(ctx context.Context, sql string, w *want) error {
	v, err := db.verdict(ctx, sql)
	if err != nil {
		return err
	}
	w.auto, w.write, w.ddl = true, !v.read, v.ddl
	if v.level >= 0 {
		w.level, w.hinted = router.Level(v.level), true
	}
	if v.onTimeout >= 0 {
		w.onTimeout = router.OnTimeout(v.onTimeout)
	}
	if v.wait >= 0 {
		w.wait = v.wait
	}
	if v.maxStaleness >= 0 {
		w.maxStaleness = v.maxStaleness
	}
	return nil
}

// judgeBatch says how a batch by Auto runs: by its first statement, and on a
// replica only if all of them are reads.
func (db *DB) judgeBatch(ctx context.Context, b *pgx.Batch, w *want) error {
	for i, q := range b.QueuedQueries {
		var one want
		one.policy = w.policy
		if err := db.judge(ctx, q.SQL, &one); err != nil {
			return err
		}
		if i == 0 {
			one.trace = w.trace
			*w = one
		}
		w.write, w.ddl = w.write || one.write, w.ddl || one.ddl
	}
	// What is misjudged cannot be told apart from the others: it fails.
	w.auto = false
	return nil
}

// verdict is what the classifier says of a text. The fields behind read are
// negative where the text has no hint.
type verdict struct {
	gen                uint64
	read, ddl          bool
	level, onTimeout   int8
	wait, maxStaleness time.Duration
}

// verdict classifies a text, or remembers what it was.
func (db *DB) verdict(ctx context.Context, sql string) (verdict, error) {
	w := db.watcher.Load()
	cat, gen, fresh := w.Known()
	if cat == nil {
		if err := db.awaitCatalogue(ctx, w); err != nil {
			return verdict{}, err
		}
		cat, gen, fresh = w.Known()
	}
	v, known := db.verdicts.find(sql, gen)
	if !known {
		var r sqlclass.Result
		sqlclass.Classify(bytesOf(sql), cat, db.options, &r)
		v = db.judgement(sql, &r, gen)
		db.verdicts.add(sql, v)
	}
	v.read = v.read && fresh
	return v, nil
}

// awaitCatalogue waits for the first catalogue, but not for long.
func (db *DB) awaitCatalogue(ctx context.Context, w *catalogue.Watcher) error {
	timer := time.NewTimer(time.Until(db.watchedSince.Add(catalogueWait)))
	defer timer.Stop()
	select {
	case <-w.Loaded():
	case <-timer.C:
	case <-db.ending:
		return errClosed
	case <-ctx.Done():
		return fmt.Errorf("wait for the catalogue: %w", context.Cause(ctx))
	}
	return nil
}

// judgement makes a verdict of the classifier's result.
func (db *DB) judgement(sql string, r *sqlclass.Result, gen uint64) verdict {
	v := verdict{gen: gen, level: -1, onTimeout: -1, wait: -1, maxStaleness: -1}
	v.read = r.Access == sqlclass.AccessRead && r.Tx == sqlclass.TxNone && !r.Mixed && r.Binds == 0 && r.Statements > 0 &&
		!db.verdicts.wasMisjudged(sql)
	v.ddl = r.Binds&sqlclass.BindsDDL != 0
	h := &r.Hint
	bad := h.Bad
	if h.Level != "" {
		if level, err := router.ParseLevel(h.Level); err == nil {
			v.level = int8(level)
		}
	}
	if h.OnTimeout != "" {
		if o, err := router.ParseOnTimeout(h.OnTimeout); err == nil {
			v.onTimeout = int8(o)
		}
	}
	if d, ok := hintDuration(h.Wait, &bad); ok {
		v.wait = d
	}
	if d, ok := hintDuration(h.MaxStaleness, &bad); ok {
		v.maxStaleness = d
	}
	if len(bad) > 0 {
		db.cfg.Logger.Warn("pgxdb: an unknown hint is ignored", "hint", string(bad), "sql", clip(sql))
	}
	return v
}

// hintDuration reads a duration of a hint.
func hintDuration(b []byte, bad *[]byte) (time.Duration, bool) {
	if b == nil {
		return 0, false
	}
	s := string(b)
	if n, ok := strings.CutSuffix(s, "min"); ok {
		s = n + "m"
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		*bad = b
		return 0, false
	}
	return d, true
}

// clip bounds a text for a log.
func clip(s string) string {
	const most = 200
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
