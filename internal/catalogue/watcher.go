// Package catalogue keeps what the classifier knows of a database up to date,
// for the proxy and for the library.
package catalogue

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/pgroute/pgroute/internal/sqlclass"
)

const (
	// interval is how often a database's catalogue is compared with what is
	// known of it.
	interval = time.Second
	// retry is how soon after a change it is read again.
	retry = 50 * time.Millisecond
	// patience bounds one reading.
	patience = 10 * time.Second
)

// Watcher holds the catalogue of one database. Its methods may be called from
// anywhere; Known is a few atomic loads.
type Watcher struct {
	database string
	// primary returns who asks the primary, or why there is none.
	primary func() (sqlclass.Querier, error)
	log     *slog.Logger
	// gen numbers the catalogues of all watchers that share it: statements are
	// shared between databases and remember it.
	gen *atomic.Uint64

	known atomic.Pointer[known] // nil while nothing is known
	// changes counts statements that may have changed the catalogue.
	changes atomic.Uint64
	kick    chan struct{}
	loaded  chan struct{} // closed with the first catalogue
	// reading is closed when the reading that is under way has ended, nil while
	// there is none.
	reading atomic.Pointer[chan struct{}]
}

type known struct {
	cat     *sqlclass.Catalogue
	gen     uint64
	changes uint64
}

// New returns a watcher that knows nothing until Run is called. primary
// returns a querier that asks the primary's database, or an error that says
// why there is none; gen may be shared among watchers.
func New(database string, primary func() (sqlclass.Querier, error), gen *atomic.Uint64, log *slog.Logger) *Watcher {
	return &Watcher{database: database, primary: primary, gen: gen, log: log,
		kick: make(chan struct{}, 1), loaded: make(chan struct{})}
}

// Known returns what is known, nil if nothing is, and a number that changes
// with it. fresh is false while a statement may have changed what is known:
// until it was read again everything belongs on the primary.
func (w *Watcher) Known() (cat *sqlclass.Catalogue, gen uint64, fresh bool) {
	k := w.known.Load()
	if k == nil {
		return nil, 0, false
	}
	return k.cat, k.gen, k.changes == w.changes.Load()
}

// Loaded returns a channel that is closed with the first catalogue.
func (w *Watcher) Loaded() <-chan struct{} { return w.loaded }

// Await waits for the first catalogue: for as long as it is being read, which
// has its own bound, and else for most.
func (w *Watcher) Await(ctx context.Context, most time.Duration) {
	timeout := time.NewTimer(most)
	defer timeout.Stop()
	select {
	case <-w.loaded:
		return
	case <-ctx.Done():
		return
	case <-timeout.C:
	}
	if reading := w.reading.Load(); reading != nil {
		select {
		case <-*reading:
		case <-ctx.Done():
		}
	}
}

// Changed says that a statement may have changed the catalogue.
func (w *Watcher) Changed() {
	w.changes.Add(1)
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

// Changes counts the calls of Changed.
func (w *Watcher) Changes() uint64 { return w.changes.Load() }

// Run keeps the catalogue until ctx is done. It may be called once.
func (w *Watcher) Run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	failed := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-w.kick:
		}
		err := w.refresh(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !failed:
			w.log.Warn("the catalogue cannot be read; reads go to the primary", "database", w.database, "error", err)
		case err == nil && failed:
			w.log.Info("the catalogue can be read again", "database", w.database)
		}
		failed = err != nil
		pause := interval
		if k := w.known.Load(); k != nil && w.changes.Load() != k.changes {
			pause = retry
		}
		timer.Reset(pause)
	}
}

// refresh reads the catalogue if it has changed.
func (w *Watcher) refresh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	k := w.known.Load()
	q, err := w.primary()
	if err != nil {
		if k != nil {
			return nil // reads go on with what is known
		}
		return err
	}
	ended := make(chan struct{})
	w.reading.Store(&ended)
	defer close(ended)
	defer w.reading.Store(nil)
	changes := w.changes.Load()
	rows, err := q.Query(ctx, sqlclass.FingerprintQuery)
	if err != nil {
		return fmt.Errorf("read the catalogue's fingerprint: %w", err)
	}
	if k != nil && k.cat.Fingerprint() == sqlclass.Fingerprint(rows) {
		if k.changes != changes {
			w.known.Store(&known{k.cat, k.gen, changes})
		}
		return nil
	}
	var earlier *sqlclass.Catalogue
	if k != nil {
		earlier = k.cat
	}
	cat, err := sqlclass.Reload(ctx, q, earlier)
	if err != nil {
		return fmt.Errorf("read the catalogue: %w", err)
	}
	w.known.Store(&known{cat, w.gen.Add(1), changes})
	if k == nil {
		close(w.loaded)
	}
	return nil
}
