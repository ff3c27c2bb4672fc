package proxy

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pgroute/pgroute/internal/sqlclass"
	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/pgprobe"
)

const (
	// catalogueInterval is how often a database's catalogue is compared with
	// what is known of it.
	catalogueInterval = time.Second
	// catalogueRetry is how soon after a change it is read again.
	catalogueRetry = 50 * time.Millisecond
	// catalogueWait is how long a login waits for a database's first catalogue.
	catalogueWait = 2 * time.Second
)

// database is what is known of one database, shared by its clients.
type database struct {
	name    string
	router  *router.Router
	monitor *pgprobe.Prober
	log     *slog.Logger
	session *router.Session

	// known is nil while nothing is known.
	known atomic.Pointer[knownCatalogue]
	// gen numbers the catalogues of all databases: statements are shared
	// between databases and remember it.
	gen *atomic.Uint64
	// changes counts statements that may have changed the catalogue. While the
	// catalogue is older than the last of them, everything goes to the primary.
	changes atomic.Uint64
	kick    chan struct{}
	once    sync.Once     // guards the start of watch
	logins  int           // that have not failed; guarded by databases.mu
	loaded  chan struct{} // closed with the first catalogue
}

type knownCatalogue struct {
	cat     *sqlclass.Catalogue
	gen     uint64
	changes uint64
}

// Catalogue returns what is known, and a number that changes with it. fresh is
// false while a statement may have changed what is known.
func (d *database) Catalogue() (cat *sqlclass.Catalogue, gen uint64, fresh bool) {
	k := d.known.Load()
	if k == nil {
		return nil, 0, false
	}
	return k.cat, k.gen, k.changes == d.changes.Load()
}

// wait waits for the first catalogue, but not for long: without one, the
// statements of a new client would be taken for more than they are.
func (d *database) wait(ctx context.Context) {
	timeout := time.NewTimer(catalogueWait)
	defer timeout.Stop()
	select {
	case <-d.loaded:
	case <-timeout.C:
	case <-ctx.Done():
	}
}

// Changed says that a statement may have changed the catalogue.
func (d *database) Changed() {
	d.changes.Add(1)
	select {
	case d.kick <- struct{}{}:
	default:
	}
}

// watch keeps the catalogue until ctx is done. The Server waits for it.
func (d *database) watch(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	failed := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-d.kick:
		}
		err := d.refresh(ctx)
		wait := catalogueInterval
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !failed:
			d.log.Warn("the catalogue cannot be read; reads go to the primary", "database", d.name, "error", err)
		case err == nil && failed:
			d.log.Info("the catalogue can be read again", "database", d.name)
		}
		failed = err != nil
		if d.known.Load() != nil && d.changes.Load() != d.known.Load().changes {
			wait = catalogueRetry
		}
		timer.Reset(wait)
	}
}

// refresh reads the catalogue if it has changed.
func (d *database) refresh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	node, _, rerr := d.router.Primary()
	if rerr != nil {
		if d.known.Load() != nil {
			return nil // reads go on with what is known
		}
		return rerr
	}
	changes := d.changes.Load()
	q := querier{d.monitor, node.Addr, d.name}
	rows, err := q.Query(ctx, sqlclass.FingerprintQuery)
	if err != nil {
		return fmt.Errorf("read the catalogue's fingerprint: %w", err)
	}
	k := d.known.Load()
	if k != nil && k.cat.Fingerprint() == sqlclass.Fingerprint(rows) {
		if k.changes != changes {
			d.known.Store(&knownCatalogue{k.cat, k.gen, changes})
		}
		return nil
	}
	cat, err := sqlclass.Load(ctx, q)
	if err != nil {
		return fmt.Errorf("read the catalogue: %w", err)
	}
	d.known.Store(&knownCatalogue{cat, d.gen.Add(1), changes})
	if k == nil {
		close(d.loaded)
	}
	return nil
}

// querier asks one database on one server.
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

// databases holds the databases that clients use.
type databases struct {
	gen atomic.Uint64
	mu  sync.Mutex // guards the field below
	all map[string]*database
}
