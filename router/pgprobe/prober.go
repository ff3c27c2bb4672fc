package pgprobe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgroute/pgroute/router"
)

// Prober opens monitor connections. It implements router.Prober, and does what
// the proxy needs beside: it looks up verifiers, reads catalogues, and listens.
// Its methods may be called from several goroutines.
type Prober struct {
	cfg      Config
	database string // of the DSN
	sessions sessions
}

var _ router.Prober = (*Prober)(nil)

// New returns a Prober. It checks the configuration and connects to nothing.
func New(cfg Config) (*Prober, error) {
	database, err := cfg.validate()
	if err != nil {
		return nil, err
	}
	return &Prober{cfg: cfg, database: database}, nil
}

// Close closes the connections that Verifier and Query keep, which fail from
// then on. Probes and Listeners are owned by whoever opened them and are not
// touched.
func (p *Prober) Close() error {
	p.sessions.close()
	return nil
}

// Connect opens a monitor connection to the server at addr, within the
// deadline of ctx or else Config.ConnectTimeout. The Probe has all that a router
// may ask for (see router.Probe).
func (p *Prober) Connect(ctx context.Context, addr router.Addr) (router.Probe, error) {
	ctx, cancel := bound(ctx, p.cfg.ConnectTimeout)
	defer cancel()

	conn, err := p.dial(ctx, addr, "", false)
	if err != nil {
		return nil, err
	}
	probe, err := newProbe(ctx, conn, addr, &p.cfg)
	if err != nil {
		_ = conn.Conn().Close()
		return nil, fmt.Errorf("prepare the monitor connection to %s: %w", addr.Name, err)
	}
	return probe, nil
}

// dial opens a connection and gives it the settings that cannot be sent in the
// startup packet.
func (p *Prober) dial(ctx context.Context, addr router.Addr, database string, readOnly bool) (*pgconn.PgConn, error) {
	cfg, err := p.cfg.connConfig(addr, database)
	if err != nil {
		return nil, err
	}
	if readOnly {
		cfg.RuntimeParams["default_transaction_read_only"] = "on"
	}
	conn, err := pgconn.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("connect the monitor to %s: %w", addr.Name, err)
	}
	if err := conn.Exec(ctx, disarmSQL).Close(); err != nil {
		_ = conn.Conn().Close()
		return nil, fmt.Errorf("prepare the monitor connection to %s: %w", addr.Name, err)
	}
	return conn, nil
}

// disarmSQL turns off the timeouts that would end an idle monitor connection.
// They appeared in PostgreSQL 14 and 17 and cannot be in the startup packet of
// older servers. Looking them up in pg_settings would show all the others, too.
const disarmSQL = `SELECT pg_catalog.set_config(t.name, '0', false)` +
	` FROM (VALUES ('idle_session_timeout'), ('transaction_timeout')) AS t(name)` +
	` WHERE pg_catalog.current_setting(t.name, true) IS NOT NULL`

// farewell is how long saying goodbye to a server may take.
const farewell = time.Second

// terminate is the Terminate message.
var terminate = []byte{'X', 0, 0, 0, 4}

// hangUp ends a healthy connection as the protocol asks, so that the server
// logs no lost client.
func hangUp(conn net.Conn) error {
	_ = conn.SetDeadline(time.Now().Add(farewell))
	_, _ = conn.Write(terminate)
	return conn.Close()
}

// oids are the functions that the hot calls name by number.
type oids struct {
	insert, flush, replay, inRecovery uint32
}

const oidSQL = `SELECT 'pg_catalog.pg_current_wal_insert_lsn()'::pg_catalog.regprocedure::pg_catalog.oid,
 'pg_catalog.pg_current_wal_flush_lsn()'::pg_catalog.regprocedure::pg_catalog.oid,
 'pg_catalog.pg_last_wal_replay_lsn()'::pg_catalog.regprocedure::pg_catalog.oid,
 'pg_catalog.pg_is_in_recovery()'::pg_catalog.regprocedure::pg_catalog.oid`

// lookUpOIDs resolves the functions once per connection. A built-in function
// keeps its number within a major version, and a connection does not outlive
// the server it was made to.
func lookUpOIDs(ctx context.Context, conn *pgconn.PgConn) (oids, error) {
	results, err := conn.Exec(ctx, oidSQL).ReadAll()
	if err != nil {
		return oids{}, fmt.Errorf("resolve the position functions: %w", err)
	}
	if len(results) != 1 || len(results[0].Rows) != 1 || len(results[0].Rows[0]) != 4 {
		return oids{}, errors.New("resolve the position functions: unexpected shape of the answer")
	}
	var o oids
	for i, dst := range []*uint32{&o.insert, &o.flush, &o.replay, &o.inRecovery} {
		n, err := strconv.ParseUint(string(results[0].Rows[0][i]), 10, 32)
		if err != nil {
			return oids{}, fmt.Errorf("resolve the position functions: %w", err)
		}
		*dst = uint32(n)
	}
	return o, nil
}
