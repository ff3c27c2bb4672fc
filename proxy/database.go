package proxy

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pgroute/pgroute/internal/catalogue"
	"github.com/pgroute/pgroute/internal/sqlclass"
	"github.com/pgroute/pgroute/proxy/internal/listener"
	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/pgprobe"
)

// catalogueWait is how long a login waits for a database's first catalogue if
// that cannot be read.
const catalogueWait = 2 * time.Second

// database is what is known of one database, shared by its clients.
type database struct {
	name      string
	session   *router.Session
	catalogue *catalogue.Watcher
	hub       *listener.Hub

	once   sync.Once // guards the start of the watcher and the hub
	logins int       // that have not failed; guarded by databases.mu
}

func newDatabase(name string, r *router.Router, monitor *pgprobe.Prober, gen *atomic.Uint64, log *slog.Logger) *database {
	d := &database{name: name, session: router.NewSession()}
	d.catalogue = catalogue.New(name, catalogue.Primary(r, monitor, name), gen, log)
	d.hub = listener.NewHub(listener.Config{Router: r, Monitor: monitor, Database: name, Logger: log})
	return d
}

// Catalogue returns what is known, and a number that changes with it. fresh is
// false while a statement may have changed what is known.
func (d *database) Catalogue() (cat *sqlclass.Catalogue, gen uint64, fresh bool) {
	return d.catalogue.Known()
}

// Changed says that a statement may have changed the catalogue.
func (d *database) Changed() { d.catalogue.Changed() }

// Changes counts the calls of Changed.
func (d *database) Changes() uint64 { return d.catalogue.Changes() }

// wait waits for the first catalogue: without one, the statements of a new
// client would be taken for more than they are, and its first write would pin it
// for good. So a large or slow catalogue is waited for until it is there, but one
// that cannot be read is not waited for long.
func (d *database) wait(ctx context.Context) { d.catalogue.Await(ctx, catalogueWait) }

// databases holds the databases that clients use.
type databases struct {
	gen atomic.Uint64
	mu  sync.Mutex // guards the field below
	all map[string]*database
}
