// Package docs holds the code of docs/integrate.md, so that it is compiled and
// run.
package docs

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/proxy"
	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/httpsession"
	"github.com/pgroute/pgroute/router/pgprobe"
	"github.com/pgroute/pgroute/router/pgxdb"
)

// openLibrary is pgroute inside the service.
func openLibrary(ctx context.Context, nodes []string, dsn, monitorDSN string) (*pgxdb.DB, error) {
	source, err := router.Static(nodes...) // or zookeeper.New(…)
	if err != nil {
		return nil, err
	}
	return pgxdb.Open(ctx, pgxdb.Config{
		Source:     source,
		DSN:        dsn,        // postgres://app:SECRET@/app?pool_max_conns=10
		MonitorDSN: monitorDSN, // postgres://pgroute_monitor:SECRET@/postgres
	})
}

// book writes on the primary.
func book(ctx context.Context, db *pgxdb.DB, seat int64, customer string) (id int64, err error) {
	err = db.QueryRow(ctx, "INSERT INTO bookings (seat_id, customer) VALUES ($1, $2) RETURNING id", seat, customer).Scan(&id)
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.Code == "23505" {
		return 0, errTaken
	}
	return id, err
}

var errTaken = errors.New("the seat is taken")

// taken reads from a replica that has what the context's session wrote.
func taken(ctx context.Context, db *pgxdb.DB) ([]int64, error) {
	rows, err := db.Read().Query(ctx, "SELECT seat_id FROM bookings ORDER BY seat_id")
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[int64])
}

// boxOffice sees everything that was acknowledged anywhere, and would rather
// fail than show an old seat map.
func boxOffice(ctx context.Context, db *pgxdb.DB) (n int64, err error) {
	q := db.Read().At(router.LevelStrong).Within(time.Second, router.OnTimeoutError)
	err = q.QueryRow(ctx, "SELECT count(*) FROM bookings").Scan(&n)
	return n, err
}

// report is two reads of one state, on one replica.
func report(ctx context.Context, db *pgxdb.DB) (bookings, customers int64, err error) {
	options := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err = pgx.BeginTxFunc(ctx, db, options, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, "SELECT count(*) FROM bookings").Scan(&bookings); err != nil {
			return err
		}
		return tx.QueryRow(ctx, "SELECT count(DISTINCT customer) FROM bookings").Scan(&customers)
	})
	return bookings, customers, err
}

// openSQL is what gorm, ent, bun, sqlx and goose are given.
func openSQL(db *pgxdb.DB) *sql.DB {
	return sql.OpenDB(pgxdb.NewConnector(db.Auto()))
}

// handler gives each request a session. The queries find it in the context.
func handler(db *pgxdb.DB) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /bookings", func(w http.ResponseWriter, r *http.Request) {
		id, err := book(r.Context(), db, 8, r.FormValue("customer"))
		if errors.Is(err, errTaken) {
			http.Error(w, "sorry, taken", http.StatusConflict)
			return
		}
		if err != nil {
			http.Error(w, "try again", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, id) // The middleware adds the token here, after the commit.
	})
	mux.HandleFunc("GET /seats", func(w http.ResponseWriter, r *http.Request) {
		seats, err := taken(r.Context(), db)
		if err != nil {
			http.Error(w, "try again", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, seats)
	})
	return httpsession.New(db.Router(), httpsession.Options{})(mux)
}

// send puts a token of the context's session into a message's headers.
func send(ctx context.Context, db *pgxdb.DB, headers map[string]string) error {
	return db.Router().Inject(ctx, func(key, value string) { headers[key] = value })
}

// receive returns a context in which reads see what the sender wrote.
func receive(ctx context.Context, db *pgxdb.DB, headers map[string]string) (context.Context, error) {
	return db.Router().Extract(ctx, func(key string) string { return headers[key] })
}

// handOver lets a program behind a sidecar see what this one wrote, and this
// one what that one wrote.
func handOver(ctx context.Context, db *pgxdb.DB, sidecar *pgxpool.Conn) error {
	token, err := db.Token(ctx)
	if err != nil {
		return err
	}
	if _, err := sidecar.Exec(ctx, "SET pgroute.token = '"+token+"'"); err != nil {
		return err
	}
	if err := sidecar.QueryRow(ctx, "SHOW pgroute.token").Scan(&token); err != nil {
		return err
	}
	return db.Accept(ctx, token)
}

// patience bounds each test; it is not a measure of anything.
const patience = 3 * time.Minute

var quiet = slog.New(slog.DiscardHandler)

// rig is a cluster with a sidecar and a library.
type rig struct {
	*cluster.Cluster
	db      *pgxdb.DB
	sidecar string // its DSN
}

func newRig(t *testing.T) (context.Context, *rig) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a cluster")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	c := cluster.Start(t, cluster.Options{})
	err := c.Primary().Exec(ctx, "CREATE TABLE bookings (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, seat_id bigint UNIQUE, customer text)",
		"GRANT ALL ON bookings TO "+cluster.AppUser)
	if err != nil {
		t.Fatal(err)
	}
	n := c.Primary()
	monitor := n.DSN(cluster.MonitorUser, cluster.MonitorPassword, "postgres")
	app := n.DSN(cluster.AppUser, cluster.AppPassword, cluster.AppDatabase)
	db, err := openLibrary(ctx, c.Addrs(), app, monitor)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return ctx, &rig{Cluster: c, db: db, sidecar: startSidecar(ctx, t, c, monitor)}
}

// startSidecar runs a proxy and returns a DSN for it.
func startSidecar(ctx context.Context, t *testing.T, c *cluster.Cluster, monitorDSN string) string {
	t.Helper()
	source, err := router.Static(c.Addrs()...)
	if err != nil {
		t.Fatal(err)
	}
	monitor, err := pgprobe.New(pgprobe.Config{DSN: monitorDSN})
	if err != nil {
		t.Fatal(err)
	}
	server, err := proxy.New(proxy.Config{Listen: []string{"127.0.0.1:0"}, Source: source, Monitor: monitor, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- server.Run(running, 0) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("end the sidecar: %v", err)
		}
		monitor.Close()
	})
	select {
	case <-server.Ready():
	case <-ctx.Done():
		t.Fatal("the sidecar does not get ready")
	}
	return "postgres://" + cluster.AppUser + ":" + cluster.AppPassword + "@" + server.Addrs()[0].String() + "/" + cluster.AppDatabase + "?sslmode=disable"
}

// pauseOne holds one replica back, so that a read that is stale shows.
func (r *rig) pauseOne(ctx context.Context, t *testing.T) {
	t.Helper()
	if err := r.WaitCaughtUp(ctx); err != nil {
		t.Fatal(err)
	}
	if err := r.Replicas()[0].PauseReplay(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestLibrary(t *testing.T) {
	ctx, r := newRig(t)
	r.pauseOne(ctx, t)
	for seat := int64(1); seat <= 20; seat++ {
		if _, err := book(ctx, r.db, seat, "Ada"); err != nil {
			t.Fatal(err)
		}
		seats, err := taken(ctx, r.db)
		if err != nil {
			t.Fatal(err)
		}
		if len(seats) != int(seat) {
			t.Fatalf("after %d bookings %d seats are taken", seat, len(seats))
		}
	}
	if _, err := book(ctx, r.db, 7, "Grace"); !errors.Is(err, errTaken) {
		t.Errorf("a seat that is taken: %v", err)
	}
	if n, err := boxOffice(ctx, r.db); err != nil || n != 20 {
		t.Errorf("the box office sees %d bookings, %v", n, err)
	}
	if n, customers, err := report(ctx, r.db); err != nil || n != 20 || customers != 1 {
		t.Errorf("the report sees %d bookings of %d customers, %v", n, customers, err)
	}
	var n int64
	if err := openSQL(r.db).QueryRowContext(ctx, "SELECT count(*) FROM bookings").Scan(&n); err != nil || n != 20 {
		t.Errorf("database/sql sees %d bookings, %v", n, err)
	}
}

func TestHTTP(t *testing.T) {
	ctx, r := newRig(t)
	r.pauseOne(ctx, t)
	// Two instances, of which the second knows the first one's writes by the
	// token only. The test speaks HTTP with TLS, as the cookie asks for it.
	second, err := openLibrary(ctx, r.Addrs(), r.Primary().DSN(cluster.AppUser, cluster.AppPassword, cluster.AppDatabase),
		r.Primary().DSN(cluster.MonitorUser, cluster.MonitorPassword, "postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	one, two := httptest.NewTLSServer(handler(r.db)), httptest.NewTLSServer(handler(second))
	defer one.Close()
	defer two.Close()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := one.Client()
	browser.Jar = jar
	call := func(method, url string) string {
		t.Helper()
		req, err := http.NewRequestWithContext(ctx, method, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := browser.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(resp.StatusCode, " ", strings.TrimSpace(string(body)))
	}
	if got := call(http.MethodPost, one.URL+"/bookings?customer=Ada"); !strings.HasPrefix(got, "200 ") {
		t.Fatal(got)
	}
	for range 20 {
		// Cookies are for a host, not for a port: both instances get it.
		if got := call(http.MethodGet, two.URL+"/seats"); got != "200 [8]" {
			t.Fatalf("the other instance says %s", got)
		}
	}
	if got := call(http.MethodPost, two.URL+"/bookings?customer=Grace"); got != "409 sorry, taken" {
		t.Errorf("the second booking of a seat: %s", got)
	}
}

func TestMessages(t *testing.T) {
	ctx, r := newRig(t)
	r.pauseOne(ctx, t)
	sending := router.WithSession(ctx, router.NewSession())
	for seat := int64(1); seat <= 20; seat++ {
		if _, err := book(sending, r.db, seat, "Ada"); err != nil {
			t.Fatal(err)
		}
		headers := map[string]string{}
		if err := send(sending, r.db, headers); err != nil {
			t.Fatal(err)
		}
		handling, err := receive(ctx, r.db, headers)
		if err != nil {
			t.Fatal(err)
		}
		if seats, err := taken(handling, r.db); err != nil || len(seats) != int(seat) {
			t.Fatalf("after %d messages %d seats are taken, %v", seat, len(seats), err)
		}
	}
}

func TestSidecar(t *testing.T) {
	ctx, r := newRig(t)
	r.pauseOne(ctx, t)
	pool, err := pgxpool.New(ctx, r.sidecar)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	conn, err := pool.Acquire(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	for seat := int64(1); seat <= 20; seat++ {
		if _, err := book(ctx, r.db, seat, "Ada"); err != nil {
			t.Fatal(err)
		}
		if err := handOver(ctx, r.db, conn); err != nil {
			t.Fatal(err)
		}
		var n int64
		if err := conn.QueryRow(ctx, "SELECT count(*) FROM bookings").Scan(&n); err != nil || n != seat {
			t.Fatalf("after %d bookings the sidecar shows %d, %v", seat, n, err)
		}
	}
	var node, role, reason, waited string
	if err := conn.QueryRow(ctx, "SHOW pgroute.last_route").Scan(&node, &role, &reason, &waited); err != nil || role == "" {
		t.Errorf("SHOW pgroute.last_route: %v", err)
	}
}
