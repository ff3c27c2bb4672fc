package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/jackc/pgx/v5"
)

// A Node is one PostgreSQL server of a Cluster. Its exported fields do not
// change once New has returned. Two methods that change the same node must not
// run at the same time; the others may run whenever.
type Node struct {
	// Name is pg1, pg2 and so on; also the server's cluster_name, and the
	// application_name under which a replica replicates.
	Name string
	Host string
	Port int

	c    *Cluster
	dir  string
	log  string
	args []string // for postgres, beside -D

	mu       sync.Mutex // guards the fields below
	proc     *process   // nil until the first start
	upstream string     // primary_conninfo
	frozen   []int      // processes that Freeze and its like have stopped
}

// Addr is HOST:PORT.
func (n *Node) Addr() string { return net.JoinHostPort(n.Host, strconv.Itoa(n.Port)) }

// String is the node's name.
func (n *Node) String() string { return n.Name }

// DSN is a connection string for the TCP port, without TLS. An empty password
// is left out.
func (n *Node) DSN(user, password, db string) string {
	u := url.URL{Scheme: "postgres", Host: n.Addr(), Path: "/" + db, RawQuery: "sslmode=disable", User: url.User(user)}
	if password != "" {
		u.User = url.UserPassword(user, password)
	}
	return u.String()
}

// Super connects to the database app as the superuser over the Unix socket,
// which works whatever pg_hba.conf or the TCP port are up to. The caller
// closes the connection.
func (n *Node) Super(ctx context.Context) (*pgx.Conn, error) { return n.superIn(ctx, AppDatabase) }

// App connects to the database app as its owner, over TCP. The caller closes
// the connection.
func (n *Node) App(ctx context.Context) (*pgx.Conn, error) {
	conn, err := pgx.Connect(ctx, n.DSN(AppUser, AppPassword, AppDatabase))
	if err != nil {
		return nil, fmt.Errorf("connect to %s as %s: %w", n.Name, AppUser, err)
	}
	return conn, nil
}

func (n *Node) superIn(ctx context.Context, db string) (*pgx.Conn, error) {
	conn, err := pgx.Connect(ctx, fmt.Sprintf("host=%s port=%d user=%s dbname=%s application_name=pgroute-lab sslmode=disable",
		n.c.socketDir(), n.Port, SuperUser, db))
	if err != nil {
		return nil, fmt.Errorf("connect to %s as superuser: %w", n.Name, err)
	}
	return conn, nil
}

// Exec runs statements as the superuser in the database app, on a connection
// of their own, each string in a transaction of its own.
func (n *Node) Exec(ctx context.Context, sql ...string) error {
	return n.execIn(ctx, AppDatabase, sql...)
}

func (n *Node) execIn(ctx context.Context, db string, sql ...string) (err error) {
	conn, err := n.superIn(ctx, db)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	for _, statement := range sql {
		if err := conn.PgConn().Exec(ctx, statement).Close(); err != nil {
			return fmt.Errorf("%s: %s: %w", n.Name, firstLine(statement), err)
		}
	}
	return nil
}

// QueryString runs a query as the superuser in the database app and returns
// the first column of the first row as text; NULL is the empty string, and no
// row is an error.
func (n *Node) QueryString(ctx context.Context, sql string, args ...any) (value string, err error) {
	conn, err := n.Super(ctx)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	return n.queryOn(ctx, conn, sql, args...)
}

func (n *Node) queryOn(ctx context.Context, conn *pgx.Conn, sql string, args ...any) (string, error) {
	// The simple protocol answers in text, whatever the type.
	rows, err := conn.Query(ctx, sql, append([]any{pgx.QueryExecModeSimpleProtocol}, args...)...)
	if err != nil {
		return "", fmt.Errorf("%s: %s: %w", n.Name, firstLine(sql), err)
	}
	defer rows.Close()
	var value string
	found := rows.Next()
	if found && len(rows.RawValues()) > 0 {
		value = string(rows.RawValues()[0])
	}
	rows.Close()
	if err := rows.Err(); err != nil {
		return "", fmt.Errorf("%s: %s: %w", n.Name, firstLine(sql), err)
	}
	if !found {
		return "", fmt.Errorf("%s: %s: %w", n.Name, firstLine(sql), pgx.ErrNoRows)
	}
	return value, nil
}

// LogTail is the end of the server's log, at most size bytes of it.
func (n *Node) LogTail(size int64) string { return tail(n.log, size) }

func (n *Node) file(name string) string { return filepath.Join(n.dir, name) }

func (n *Node) bin(name string) string { return filepath.Join(n.c.opts.BinDir, name) }

func firstLine(s string) string {
	for i, r := range s {
		if r == '\n' || i >= 100 {
			return s[:i] + "…"
		}
	}
	return s
}
