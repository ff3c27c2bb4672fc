package pgprobe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgroute/pgroute/internal/connstring"
	"github.com/pgroute/pgroute/router"
)

// Defaults of Config.
const (
	defaultConnectTimeout   = 5 * time.Second
	defaultCallTimeout      = 5 * time.Second
	defaultStatementTimeout = 5 * time.Second
	defaultSessionIdle      = time.Minute
)

// Config says how a Prober connects.
type Config struct {
	// DSN is a libpq connection string, a URL or keyword=value. It gives the
	// user, the password, the database and everything about TLS. Its host and
	// port are ignored: every connection goes to the address it is opened for,
	// and sslmode=verify-full checks that address's host.
	DSN string
	// ConnectTimeout bounds a connection attempt whose context has no
	// deadline. Zero or less means 5 s.
	ConnectTimeout time.Duration
	// CallTimeout bounds any other call whose context has no deadline. Zero
	// or less means 5 s.
	CallTimeout time.Duration
	// StatementTimeout is the server's statement_timeout and lock_timeout on
	// every monitor connection. Zero or less means 5 s.
	StatementTimeout time.Duration
	// SessionIdle is how long a connection opened by Verifier or Query is kept
	// after its last use. Zero or less means one minute.
	SessionIdle time.Duration
	// Logger gets what no caller can be told: a timeline history that the
	// server refused. nil means slog.Default().
	Logger *slog.Logger
}

// validate fills the defaults and checks the DSN, so that a mistake in it is
// reported at once and not by the first connection. It returns the database.
func (c *Config) validate() (database string, err error) {
	if c.DSN == "" {
		return "", errors.New("monitor DSN is empty")
	}
	for _, d := range []struct {
		value *time.Duration
		def   time.Duration
	}{
		{&c.ConnectTimeout, defaultConnectTimeout},
		{&c.CallTimeout, defaultCallTimeout},
		{&c.StatementTimeout, defaultStatementTimeout},
		{&c.SessionIdle, defaultSessionIdle},
	} {
		if *d.value <= 0 {
			*d.value = d.def
		}
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	parsed, err := c.connConfig(router.Addr{Host: "localhost", Port: 5432}, "")
	if err != nil {
		return "", err
	}
	// libpq's rule: without a database it is the one named like the user.
	return cmp.Or(parsed.Database, parsed.User), nil
}

// connConfig is the configuration for one connection attempt to addr. It is
// parsed anew each time: the TLS settings depend on the host, and certificates
// and password files on disk may have been renewed. An empty database means
// the one of the DSN.
func (c *Config) connConfig(addr router.Addr, database string) (*pgconn.Config, error) {
	dsn, err := connstring.WithAddress(c.DSN, addr.Host, addr.Port)
	if err != nil {
		return nil, fmt.Errorf("node %q: %w", addr.Name, err)
	}
	cfg, err := pgconn.ParseConfig(dsn)
	if err != nil {
		return nil, fmt.Errorf("monitor DSN: %w", err)
	}
	// target_session_attrs chooses among hosts; here each host is asked for
	// what it is.
	cfg.ValidateConnect = nil
	if database != "" {
		cfg.Database = database
	}
	timeout := strconv.FormatInt(max(1, c.StatementTimeout.Milliseconds()), 10)
	// Settings of the startup packet outrank those of a role or a database.
	// Only parameters that exist in every supported version may stand here: an
	// unknown one ends the connection.
	for name, value := range map[string]string{
		"application_name":                    "pgroute",
		"search_path":                         "pg_catalog, pg_temp",
		"client_encoding":                     "UTF8",
		"DateStyle":                           "ISO",
		"standard_conforming_strings":         "on",
		"statement_timeout":                   timeout,
		"lock_timeout":                        timeout,
		"idle_in_transaction_session_timeout": timeout,
		"default_transaction_isolation":       "read committed",
		"default_transaction_read_only":       "off",
		"default_transaction_deferrable":      "off",
		"row_security":                        "on",
		"jit":                                 "off",
		// The nudge must flush here and must not wait for a standby.
		"synchronous_commit": "local",
	} {
		cfg.RuntimeParams[name] = value
	}
	return cfg, nil
}

// bound returns ctx with a deadline: its own, or else one after timeout.
func bound(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, timeout)
}
