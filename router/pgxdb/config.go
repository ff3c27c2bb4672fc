package pgxdb

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgroute/pgroute/internal/connstring"
	"github.com/pgroute/pgroute/internal/silence"
	"github.com/pgroute/pgroute/internal/sqlclass"
	"github.com/pgroute/pgroute/router"
)

// Defaults of the pools, where neither the connection string nor Config.Pool
// says anything. Without them one server that hangs would hang its callers.
const (
	defaultConnectTimeout = 5 * time.Second
	defaultPingTimeout    = 2 * time.Second
)

// Config says what a DB works with. Source (or Router) and DSN are required. What
// a router can be told that has no field here, such as a zone, is told to one of
// the caller's own, in Router.
type Config struct {
	// Source names the servers: router.Static, or a zookeeper.Source.
	Source router.Source
	// Router is a router that somebody else runs, in place of Source: several
	// DBs of one cluster share it. Monotonic is then the router's own.
	Router *router.Router

	// DSN is a connection string as of pgxpool.ParseConfig: user, password,
	// database, TLS and the pool_ settings, which hold for each of the pools.
	// Its host and port are ignored, and with sslmode=verify-full a server's
	// certificate must name the host that Source gives.
	DSN string
	// MonitorDSN is the connection string of the role that watches the
	// servers, which needs pg_monitor (see package pgprobe). Empty means DSN. Its
	// host and port are ignored too.
	MonitorDSN string
	// Pool is called with the configuration of each pool before it is made:
	// for a tracer, an AfterConnect, and so on. nil means that nothing is to
	// be changed. What it sets stays in force; what this package needs comes in
	// addition. The DialFunc that it finds ends a connection to a host that was
	// silent for 12 s; one that it sets should bound that as well.
	Pool func(*pgxpool.Config)

	// Level is what a read sees if nothing else is asked for. The zero value
	// is session.
	Level router.Level
	// Wait is how long a read waits for a replica to get there. 0 means 100 ms,
	// or what Router is configured with; a negative value means not at all.
	Wait time.Duration
	// OnTimeout is what happens then. The zero value is the primary.
	OnTimeout router.OnTimeout
	// MaxStaleness is for the level bounded. 0 means 1 s, or what Router is
	// configured with; negative is an error.
	MaxStaleness time.Duration
	// Monotonic says for whom reads never go backwards: for a session from a
	// context (the zero value), across all of a DB's reads as well, or for
	// nobody.
	Monotonic router.Monotonic

	// ResolveCommits: a transaction that may write asks for its number before
	// its COMMIT, which costs a round trip. If the answer to the COMMIT is lost,
	// Commit then asks the primary, or the next one, what became of it.
	ResolveCommits bool

	// OnLostWrite is called when the primary has changed and a write that was
	// acknowledged is lost, or may be: once for each session concerned (that of
	// a context, or the DB's own), by the session's next call, with its context
	// and before it has sent anything or holds a connection. The error that it
	// returns, such as lost itself, is then that call's, which runs nothing;
	// after nil the call goes on. nil means that Logger is told, by a warning.
	OnLostWrite func(ctx context.Context, lost *LostWriteError) error

	// Logger gets what an operator should know. nil means slog.Default().
	Logger *slog.Logger
}

// validate checks c and fills in what is left out. It is the one place that
// does so.
func (c *Config) validate() error {
	switch {
	case c.Source == nil && c.Router == nil:
		return errors.New("pgxdb: there is neither a source of servers nor a router")
	case c.Source != nil && c.Router != nil:
		return errors.New("pgxdb: a source of servers and a router were given; the router has its own")
	case c.DSN == "":
		return errors.New("pgxdb: the DSN is empty")
	case c.MaxStaleness < 0:
		return errors.New("pgxdb: the maximal staleness is negative")
	}
	c.MonitorDSN = cmp.Or(c.MonitorDSN, c.DSN)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return nil
}

// policy is how the reads are routed for which nothing else is asked.
func (c *Config) policy(r router.Config) policy {
	return policy{
		level:        c.Level,
		onTimeout:    c.OnTimeout,
		wait:         cmp.Or(c.Wait, r.Wait),
		maxStaleness: cmp.Or(c.MaxStaleness, r.MaxStaleness),
	}
}

// poolConfig returns the configuration of a pool for the server at addr, with
// the user's hook applied.
func (c *Config) poolConfig(addr router.Addr) (*pgxpool.Config, error) {
	dsn, err := connstring.WithAddress(c.DSN, addr.Host, addr.Port)
	if err != nil {
		return nil, fmt.Errorf("node %q: %w", addr.Name, err)
	}
	cfg, err := pgxpool.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("parse the DSN: %w", err)
	}
	// target_session_attrs chooses among hosts; here the router does.
	cfg.ConnConfig.ValidateConnect = nil
	cfg.ConnConfig.DialFunc = silence.Dial
	if c.Pool != nil {
		c.Pool(cfg)
	}
	if cfg.ConnConfig.ConnectTimeout <= 0 {
		cfg.ConnConfig.ConnectTimeout = defaultConnectTimeout
	}
	if cfg.PingTimeout <= 0 {
		cfg.PingTimeout = defaultPingTimeout
	}
	return cfg, nil
}

// classOptions returns what the classifier must know about the sessions of a
// pool. A hook may set a search_path that nobody sees here.
func classOptions(cfg *pgxpool.Config) sqlclass.Options {
	params := cfg.ConnConfig.RuntimeParams
	hooked := cfg.BeforeConnect != nil || cfg.AfterConnect != nil || cfg.PrepareConn != nil || cfg.BeforeAcquire != nil ||
		cfg.ConnConfig.AfterConnect != nil
	lower := func(name string) string {
		for k, v := range params {
			if strings.EqualFold(k, name) {
				return strings.ToLower(v)
			}
		}
		return ""
	}
	options := lower("options")
	return sqlclass.Options{
		StandardConformingStrings: !strings.Contains(options, "standard_conforming_strings") &&
			(lower("standard_conforming_strings") == "" || lower("standard_conforming_strings") == "on"),
		SearchPathDefault: !hooked && lower("search_path") == "" && !strings.Contains(options, "search_path"),
		UnsafeEncoding:    sqlclass.UnsafeEncoding(lower("client_encoding")) || strings.Contains(options, "client_encoding"),
	}
}
