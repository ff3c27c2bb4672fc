package store

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgroute/pgroute/router"
)

// A Way leads to the database cluster: over a pgroute sidecar, or with
// pgroute's library. Everything else in the service is the same for both.
type Way interface {
	// Read runs a query that only reads, where need allows. scan gets its rows
	// and reads all of them.
	Read(ctx context.Context, need Need, sql string, args []any, scan func(pgx.Rows) error) (Route, error)
	// Primary runs a statement on the primary. The token covers what it wrote
	// and what it saw; it is there whenever the error is nil.
	Primary(ctx context.Context, sql string, args []any, scan func(pgx.Rows) error) (Route, string, error)
	// Nodes tells what is known of the servers, sorted by name.
	Nodes(ctx context.Context) ([]Node, error)
	// Name is sidecar or library.
	Name() string
	// Close ends all connections, and waits for those in use.
	Close()
}

// Need says how much a read must see.
type Need struct {
	Level router.Level
	// Wait is how long the read waits for a replica, and OnTimeout what
	// happens then. 0 means not at all.
	Wait      time.Duration
	OnTimeout router.OnTimeout
	// Token is what somebody has seen already, in a booking's answer. At the
	// level session the read sees at least as much. Empty means nothing.
	Token string
}

// useToken reports whether the token matters: at eventual nobody asks for it,
// and strong and primary see all that any token could stand for. There it is
// still checked, so that a wrong one is always an error.
func (n Need) useToken() bool { return n.Token != "" && n.Level != router.LevelEventual }

// Route says where a statement ran, and why.
type Route struct {
	Node, Role, Reason string
	Waited             time.Duration
}

// Node is a server of the cluster.
type Node struct {
	Name string
	// Host is a name, an address, or the folder of a Unix socket.
	Host string
	Port int
	// Role is primary, replica or unknown.
	Role string
	// LagBytes is how far a replica is behind, as far as it is known.
	LagBytes int64
	// Paused is true while a replica's replay is held back.
	Paused  bool
	Healthy bool
}

// scanAll lets scan read the rows of a statement, and tells how it ended.
func scanAll(rows pgx.Rows, scan func(pgx.Rows) error) error {
	defer rows.Close()
	if err := scan(rows); err != nil {
		return err
	}
	rows.Close()
	return rows.Err()
}
