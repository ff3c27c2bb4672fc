package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgroute/pgroute/internal/cluster"
)

// way is how the tests reach PostgreSQL.
type way bool

const (
	directly     way = false
	throughProxy way = true
)

func (w way) String() string {
	if w == throughProxy {
		return "proxied"
	}
	return "direct"
}

// A target is a primary with two replicas, and perhaps pgroute in front.
type target struct {
	host     string
	port     int
	database string

	cluster *cluster.Cluster
	proxy   *process // nil if direct
	admin   string   // the proxy's HTTP address
}

// serverSettings are those that the suites expect. With feedback from replicas
// VACUUM removes less and marks fewer pages as visible to all, so that some
// plans that the regression suite prints would be others.
var serverSettings = map[string]string{"shared_buffers": "128MB", "hot_standby_feedback": "off"}

// logical lets the tests of logical replication run. The regression suite
// wants a server without.
func logical(settings map[string]string) map[string]string {
	settings = maps.Clone(settings)
	settings["wal_level"] = "logical"
	return settings
}

// newTarget starts a cluster that believes everybody, makes the database, and
// starts pgroute in front if so wanted.
func newTarget(ctx context.Context, work *workdir, way way, s suite, extra []string) (_ *target, err error) {
	t := &target{database: s.database}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.close())
		}
	}()
	settings := serverSettings
	if s.logical {
		settings = logical(settings)
	}
	t.cluster, err = cluster.New(ctx, cluster.Options{Trust: true, BinDir: work.bin(), Settings: settings})
	if err != nil {
		return t, err
	}
	primary := t.cluster.Primary()
	if err := primary.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{t.database}.Sanitize()+" TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'"); err != nil {
		return t, err
	}
	if err := t.execIn(ctx, s.setup); err != nil {
		return t, err
	}
	if way == directly {
		t.host, t.port = primary.Host, primary.Port
		return t, nil
	}
	if t.admin, err = freeAddr(); err != nil {
		return t, err
	}
	args := []string{"proxy", "--listen", "127.0.0.1:0", "--admin", t.admin, "--auth", "trust", "--log-level", "warn",
		"--monitor", "user=" + cluster.MonitorUser + " password=" + cluster.MonitorPassword + " dbname=postgres"}
	for _, addr := range t.cluster.Addrs() {
		args = append(args, "--node", addr)
	}
	t.proxy, err = startProcess(ctx, work.proxy, append(args, extra...)...)
	if err != nil {
		return t, err
	}
	host, port, err := net.SplitHostPort(strings.TrimPrefix(t.proxy.ready, "pgroute: ready on "))
	if err != nil {
		return t, fmt.Errorf("understand %q: %w", t.proxy.ready, err)
	}
	t.host = host
	t.port, err = strconv.Atoi(port)
	return t, err
}

// execIn runs statements in the target's database on the primary.
func (t *target) execIn(ctx context.Context, statements []string) error {
	primary := t.cluster.Primary()
	conn, err := pgx.Connect(ctx, primary.DSN(cluster.SuperUser, cluster.SuperPassword, t.database))
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for _, sql := range statements {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return fmt.Errorf("set up %s: %s: %w", t.database, sql, err)
		}
	}
	return nil
}

// env are the variables by which libpq and its relatives find the target.
func (t *target) env() []string {
	return []string{"PGHOST=" + t.host, "PGPORT=" + strconv.Itoa(t.port), "PGUSER=" + cluster.SuperUser,
		"PGDATABASE=" + t.database, "PGPASSWORD=" + cluster.SuperPassword, "PGSSLMODE=disable"}
}

// dsn is a connection string of libpq's kind.
func (t *target) dsn() string {
	return fmt.Sprintf("host=%s port=%d user=%s password=%s dbname=%s sslmode=disable", t.host, t.port, cluster.SuperUser, cluster.SuperPassword, t.database)
}

func (t *target) close() error {
	var err error
	if t.proxy != nil {
		err = t.proxy.stop()
	}
	if t.cluster != nil {
		err = errors.Join(err, t.cluster.Close())
	}
	return err
}

// reads is how many statements were classified as reads, and where they went.
type reads struct{ replica, primary int }

var readsLine = regexp.MustCompile(`^pgroute_reads_total\{.*role="(\w+)".*\} (\S+)$`)

// reads asks pgroute's metrics. Directly there is nobody to ask.
func (t *target) reads(ctx context.Context) (reads, error) {
	var r reads
	if t.proxy == nil {
		return r, nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+t.admin+"/metrics", nil)
	if err != nil {
		return r, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return r, fmt.Errorf("ask for the metrics: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return r, fmt.Errorf("ask for the metrics: %w", err)
	}
	for line := range strings.Lines(string(body)) {
		m := readsLine.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil {
			continue
		}
		n, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			return r, fmt.Errorf("read the metrics: %w", err)
		}
		if m[1] == "replica" {
			r.replica += int(n)
		} else {
			r.primary += int(n)
		}
	}
	return r, nil
}

// freeAddr finds an address where nobody listens.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
