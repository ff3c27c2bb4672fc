package soak_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/proxy"
	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/pgprobe"
)

// patience is how long a test waits for what is to happen, on a busy machine.
const patience = 5 * time.Minute

const (
	users   = 3  // that log in
	hats    = 4  // roles that SET ROLE puts on
	places  = 8  // schemas
	tenants = 20 // with rows of their own
)

var (
	zones  = []string{"UTC", "Asia/Tokyo", "Europe/Berlin", "America/Lima"}
	styles = []string{"ISO", "SQL", "German", "Postgres"}
	orders = []string{"DMY", "MDY", "YMD"}
)

// lab is the cluster and the proxy in front of it.
type lab struct {
	c    *cluster.Cluster
	srv  *proxy.Server
	addr string
	// base is what a direct connection of each user begins with, and stamps
	// how an instant looks, by TimeZone and DateStyle.
	base   [users]map[string]string
	stamps map[string]string
}

func user(n int) string { return fmt.Sprintf("soak%d", n%users) }

// schema is what the clients use. Each user is a member of all roles that can
// be put on, and sees no row but those of the tenant that it names.
func schema(clients int) []string {
	s := []string{
		"create table ledger (client int primary key, n int not null)",
		fmt.Sprintf("insert into ledger select c, 0 from generate_series(0, %d) c", clients-1),
		"create table owned (tenant text, v int)",
		fmt.Sprintf("insert into owned select 't' || t, v from generate_series(0, %d) t, generate_series(1, 3) v", tenants-1),
		"alter table owned enable row level security",
		"create policy mine on owned using (tenant = current_setting('app.tenant', true))",
		"create table shadow (who text)", "insert into shadow values ('public')",
		"create table copied (client int, n int)",
		"create table singles (v int unique deferrable initially deferred)",
	}
	for i := range places {
		s = append(s, fmt.Sprintf("create schema w%d", i), fmt.Sprintf("create table w%d.here (name text)", i),
			fmt.Sprintf("insert into w%[1]d.here values ('w%[1]d')", i))
	}
	s = append(s, "create table here (name text)", "insert into here values ('public')")
	for i := range users {
		s = append(s, "create role "+user(i)+" login")
	}
	// What a login begins with differs.
	s = append(s, "alter role soak1 set datestyle = 'SQL, MDY'", "alter role soak2 set work_mem = '3333kB'")
	for i := range hats {
		s = append(s, fmt.Sprintf("create role hat%d", i), fmt.Sprintf("grant hat%d to soak0, soak1, soak2", i))
	}
	names := "public"
	for i := range places {
		names += fmt.Sprintf(", w%d", i)
	}
	return append(s, "grant usage on schema "+names+" to public", "grant all on all tables in schema "+names+" to public")
}

// open starts the cluster and a proxy with poolSize server connections for each
// node and user.
func open(t *testing.T, clients, poolSize int) *lab {
	t.Helper()
	l := &lab{c: cluster.Start(t, cluster.Options{Trust: true, Settings: map[string]string{"log_min_messages": "fatal"}}), stamps: map[string]string{}}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := l.c.Primary().Exec(ctx, schema(clients)...); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(l.measure(ctx), l.c.WaitCaughtUp(ctx)); err != nil {
		t.Fatal(err)
	}
	source, err := router.Static(l.c.Addrs()...)
	if err != nil {
		t.Fatal(err)
	}
	monitor, err := pgprobe.New(pgprobe.Config{DSN: "postgres://" + cluster.MonitorUser + ":" + cluster.MonitorPassword + "@x/postgres?sslmode=disable"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { monitor.Close() })
	logger := slog.New(slog.DiscardHandler)
	if *logFlag {
		logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	// On a busy machine a statement waits; it does not fail.
	l.srv, err = proxy.New(proxy.Config{Listen: []string{"127.0.0.1:0"}, Source: source, Monitor: monitor, Auth: proxy.AuthTrust,
		PoolSize: poolSize, Loops: *loopsFlag, PrimaryWait: patience, LeaseWait: patience, Policy: proxy.Policy{Wait: patience}, Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	run, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	// stop ends it, the cleanup waits for it.
	go serveLoop(run, l.srv, ended)
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("the proxy ended: %v", err)
		}
	})
	select {
	case <-l.srv.Ready():
	case <-ctx.Done():
		t.Fatal("the proxy is not ready")
	}
	l.addr = l.srv.Addrs()[0].String()
	return l
}

func serveLoop(ctx context.Context, srv *proxy.Server, ended chan<- error) { ended <- srv.Run(ctx, 0) }

// tracked are the settings that the clients change.
var tracked = []string{"application_name", "search_path", "timezone", "datestyle", "work_mem", "intervalstyle", "app.tenant", "app.note"}

// measure asks the primary what the clients are to find.
func (l *lab) measure(ctx context.Context) error {
	for i := range users {
		c, err := pgconn.Connect(ctx, l.c.Primary().DSN(user(i), "", cluster.AppDatabase))
		if err != nil {
			return err
		}
		defer c.Close(ctx)
		d := driver{c}
		l.base[i] = map[string]string{}
		for _, name := range tracked {
			a, err := d.simple(ctx, "select coalesce(current_setting('"+name+"', true), '')")
			if err != nil {
				return err
			}
			l.base[i][name] = a.one()
		}
		l.base[i]["role"] = user(i)
		for _, zone := range zones {
			for n := range len(styles) * len(orders) {
				style := styles[n/len(orders)] + ", " + orders[n%len(orders)]
				a, err := d.simple(ctx, fmt.Sprintf("set timezone = '%s'; set datestyle = '%s'; select %s", zone, style, instant))
				if err != nil {
					return err
				}
				l.stamps[zone+"|"+style] = a.one()
			}
		}
	}
	return nil
}

const instant = "timestamptz '2020-07-08 21:10:11+00'"

// show asks the proxy's own database.
func (l *lab) show(ctx context.Context, what string) string {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	c, err := pgconn.Connect(ctx, "postgres://"+cluster.SuperUser+"@"+l.addr+"/pgroute?sslmode=disable")
	if err != nil {
		return err.Error()
	}
	defer c.Close(ctx)
	results, err := c.Exec(ctx, "SHOW "+what).ReadAll()
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	for _, r := range results {
		for _, f := range r.FieldDescriptions {
			b.WriteString(f.Name + " ")
		}
		for _, row := range r.Rows {
			b.WriteString("\n" + strings.Join(texts(row), " "))
		}
	}
	return b.String()
}

// dump is everything that the proxy says about its pools.
func (l *lab) dump(ctx context.Context) string {
	var b strings.Builder
	for _, what := range []string{"POOLS", "SERVERS", "CLIENTS", "NODES"} {
		shown := l.show(ctx, what)
		fmt.Fprintf(&b, "SHOW %s\n", what)
		waiting := 0
		for line := range strings.Lines(shown) {
			if strings.Contains(line, "a connection") {
				if waiting++; waiting > 20 {
					continue
				}
			}
			b.WriteString(line)
		}
		fmt.Fprintf(&b, "\n(%d wait for a connection)\n\n", waiting)
	}
	return b.String()
}

// alone reports what the clients have left behind on the servers, empty if
// nothing: locks, transactions, and leases.
func (l *lab) alone(ctx context.Context) (string, error) {
	for _, n := range l.c.Nodes() {
		left, err := n.QueryString(ctx, "select coalesce((select 'locks: ' || count(*) from pg_locks where locktype = 'advisory' having count(*) > 0), '')"+
			"|| coalesce((select 'busy: ' || string_agg(state || ' ' || query, '; ') from pg_stat_activity where usename like 'soak%' and state <> 'idle'), '')")
		if err != nil || left != "" {
			return n.Name + " " + left, err
		}
	}
	for line := range strings.Lines(l.show(ctx, "POOLS")) {
		f := strings.Fields(line)
		if len(f) > 4 && strings.HasPrefix(f[1], "soak") && (f[2] != "0" || f[3] != "0" || f[4] != "0") {
			return "lent: " + line, nil
		}
	}
	return "", nil
}

// connections is the greatest number of server connections that one user has to
// one node now, as the proxy counts them: a server's process lives for a moment
// longer than its connection.
func (l *lab) connections(ctx context.Context) (most int) {
	for line := range strings.Lines(l.show(ctx, "POOLS")) {
		f := strings.Fields(line)
		if len(f) < 9 || !strings.HasPrefix(f[1], "soak") {
			continue
		}
		sum := 0
		for _, n := range f[4:9] { // active, idle, used, tested, login
			v, _ := strconv.Atoi(n)
			sum += v
		}
		most = max(most, sum)
	}
	return most
}
