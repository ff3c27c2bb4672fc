package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/jackc/pgx/v5"

	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/pgxdb"
	"github.com/pgroute/pgroute/router/zookeeper"
)

// library is the way with pgroute's library: this process watches the servers
// and chooses among them by itself.
type library struct{ db *pgxdb.DB }

// LibraryConfig says how OpenLibrary reaches the cluster.
type LibraryConfig struct {
	// ZooKeeper are its servers, HOST:PORT,HOST:PORT…, and Path is the znode
	// that describes the cluster.
	ZooKeeper, Path string
	// DSN gives user, password and database, Monitor the role that watches the
	// servers. Their hosts are ignored.
	DSN, Monitor string
	Logger       *slog.Logger
}

// OpenLibrary returns the way with the library, once a primary is known.
func OpenLibrary(ctx context.Context, cfg LibraryConfig) (Way, error) {
	source, err := zookeeper.New(zookeeper.Config{Hosts: cfg.ZooKeeper, Path: cfg.Path, Logger: cfg.Logger})
	if err != nil {
		return nil, fmt.Errorf("read the cluster from ZooKeeper: %w", err)
	}
	db, err := pgxdb.Open(ctx, pgxdb.Config{Source: source, DSN: cfg.DSN, MonitorDSN: cfg.Monitor, Logger: cfg.Logger})
	if err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	return &library{db}, nil
}

func (l *library) Name() string { return "library" }

func (l *library) Close() { l.db.Close() }

func (l *library) Read(ctx context.Context, need Need, sql string, args []any, scan func(pgx.Rows) error) (Route, error) {
	if need.useToken() {
		// A session for this request: it sees what its customer has seen.
		// Without a token the read belongs to the DB's own session and sees
		// what this instance wrote, as over a sidecar.
		ctx = router.WithSession(ctx, router.NewSession())
		if err := l.db.Accept(ctx, need.Token); err != nil {
			return Route{}, badToken(err)
		}
	}
	var route Route
	q := l.db.Read().At(need.Level).Within(need.Wait, need.OnTimeout).Trace(keepRoute(&route))
	return route, run(ctx, q, sql, args, scan)
}

func (l *library) Primary(ctx context.Context, sql string, args []any, scan func(pgx.Rows) error) (Route, string, error) {
	ctx = router.WithSession(ctx, router.NewSession())
	var route Route
	if err := run(ctx, l.db.Write().Trace(keepRoute(&route)), sql, args, scan); err != nil {
		return Route{}, "", err
	}
	token, err := l.db.Token(ctx)
	if err != nil {
		return Route{}, "", fmt.Errorf("make a token: %w", err)
	}
	return route, token, nil
}

// run runs one statement and lets scan read its rows.
func run(ctx context.Context, q pgxdb.Queries, sql string, args []any, scan func(pgx.Rows) error) error {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return err
	}
	return scanAll(rows, scan)
}

func keepRoute(into *Route) func(pgxdb.Route) {
	return func(r pgxdb.Route) {
		*into = Route{Node: r.Node, Role: r.Role.String(), Reason: r.Reason.String(), Waited: r.Waited}
	}
}

func badToken(err error) error {
	var refused *router.TokenError
	if errors.As(err, &refused) {
		return fmt.Errorf("%w: %w", ErrBadToken, refused.Err)
	}
	return err
}

func (l *library) Nodes(context.Context) ([]Node, error) {
	topology := l.db.Router().Topology()
	nodes := make([]Node, len(topology.Nodes))
	for i, n := range topology.Nodes {
		nodes[i] = Node{Name: n.Name, Host: n.Host, Port: int(n.Port), Role: n.Role().String(), Healthy: n.Healthy()}
		if n.Role() == router.RoleReplica {
			nodes[i].LagBytes, nodes[i].Paused = n.LagBytes(), n.ReplayPaused()
		}
	}
	return nodes, nil
}
