package pgxdb

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgroute/pgroute/lsn"
	"github.com/pgroute/pgroute/router"
)

// identitySQL is written so that no search_path can put somebody else's
// function or operator in. Every role may run it.
const identitySQL = "SELECT s.system_identifier, pg_catalog.pg_is_in_recovery(), " +
	"(pg_catalog.date_part('epoch', pg_catalog.pg_postmaster_start_time()) OPERATOR(pg_catalog.*) 1000000::pg_catalog.float8)::pg_catalog.int8, " +
	"pg_catalog.pg_last_wal_replay_lsn() FROM pg_catalog.pg_control_system() s"

// stampKey is where a connection's stamp is kept in its CustomData.
const stampKey = "github.com/pgroute/pgroute/router/pgxdb"

// stamp says what a connection is known to lead to. It is made when the
// connection is, and does not change.
type stamp struct {
	node *router.Node
	// epoch is the one in which the dial began: a connection that was dialled
	// in an older one takes no write (I6).
	epoch uint64
	// dialed is the node's Asked right after the dial, and own the replay
	// position that the connection itself read then, 0 for a primary. See
	// router.Node.Covers.
	dialed uint64
	own    lsn.LSN
	// started is when the server started, in microseconds since 1970.
	started int64
}

// stampOf returns the stamp of a connection of one of our pools.
func stampOf(c *pgconn.PgConn) *stamp {
	s, _ := c.CustomData()[stampKey].(*stamp)
	return s
}

// errElsewhere says that a server is not what it was taken for.
var errElsewhere = errors.New("the server is not what it was taken for")

// identify lets the server behind a fresh connection prove what it is, and
// stamps the connection. primary is true for a connection that is to write.
func identify(ctx context.Context, c *pgconn.PgConn, r *router.Router, node *router.Node, epoch uint64, primary bool) error {
	s := &stamp{node: node, epoch: epoch, dialed: node.Asked()}
	results, err := c.Exec(ctx, identitySQL).ReadAll()
	if err != nil {
		return fmt.Errorf("ask the server who it is: %w", err)
	}
	if len(results) != 1 || len(results[0].Rows) != 1 || len(results[0].Rows[0]) != 4 {
		return errors.New("ask the server who it is: not one row of four columns")
	}
	row := results[0].Rows[0]
	// system_identifier is an unsigned number in a signed column.
	system, err := strconv.ParseInt(string(row[0]), 10, 64)
	if err != nil {
		return fmt.Errorf("malformed system identifier: %w", err)
	}
	if s.started, err = strconv.ParseInt(string(row[2]), 10, 64); err != nil {
		return fmt.Errorf("malformed start time: %w", err)
	}
	recovery := string(row[1]) == "t"
	// A promoted server keeps the position at which its replay ended.
	if recovery && row[3] != nil {
		if s.own, err = lsn.Parse(string(row[3])); err != nil {
			return fmt.Errorf("replay position: %w", err)
		}
	}
	switch known := r.Topology().SystemID(); {
	case known != 0 && known != uint64(system):
		return fmt.Errorf("%w: the one at %s belongs to another cluster", errElsewhere, node.Name)
	case primary && recovery:
		node.KickIdentify()
		return fmt.Errorf("%w: the one at %s is a replica", errElsewhere, node.Name)
	}
	c.CustomData()[stampKey] = s
	return nil
}
