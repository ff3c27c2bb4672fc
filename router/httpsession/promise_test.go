package httpsession_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/httpsession"
	"github.com/pgroute/pgroute/router/pgxdb"
)

// instance is one instance of a service with a database of its own to look at
// the same cluster.
type instance struct {
	db  *pgxdb.DB
	url string
}

func startInstance(ctx context.Context, t *testing.T, c *cluster.Cluster) *instance {
	t.Helper()
	source, err := router.Static(c.Addrs()...)
	if err != nil {
		t.Fatal(err)
	}
	db, err := pgxdb.Open(ctx, pgxdb.Config{
		Source: source, DSN: c.Primary().DSN(cluster.AppUser, cluster.AppPassword, cluster.AppDatabase),
		MonitorDSN: c.Primary().DSN(cluster.MonitorUser, cluster.MonitorPassword, "postgres"),
		Logger:     slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	all := func(topology *router.Topology) bool { return topology.Replicas() == len(c.Replicas()) }
	if err := db.Router().WaitTopology(ctx, all); err != nil {
		t.Fatal(err)
	}
	opts := patient
	opts.Cookie = httpsession.DefaultCookie()
	opts.Cookie.Secure = false // the test speaks no TLS
	i := &instance{db: db}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /{n}", i.put)
	mux.HandleFunc("GET /{n}", i.get)
	srv := httptest.NewServer(httpsession.New(db.Router(), opts)(mux))
	t.Cleanup(srv.Close)
	i.url = srv.URL
	return i
}

// put writes a number.
func (i *instance) put(w http.ResponseWriter, r *http.Request) {
	if _, err := i.db.Exec(r.Context(), "INSERT INTO numbers VALUES ($1)", r.PathValue("n")); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

// get says whether it sees a number, and where it looked.
func (i *instance) get(w http.ResponseWriter, r *http.Request) {
	level, err := router.ParseLevel(r.FormValue("level"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var route pgxdb.Route
	var seen bool
	q := i.db.Read().At(level).Trace(func(got pgxdb.Route) { route = got })
	if err := q.QueryRow(r.Context(), "SELECT EXISTS (SELECT FROM numbers WHERE n = $1)", r.PathValue("n")).Scan(&seen); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	fmt.Fprintf(w, "%v on %s", seen, route.Role)
}

// look asks an instance for a number at a level.
func look(t *testing.T, client *http.Client, i *instance, n int, level router.Level) string {
	t.Helper()
	resp := do(t, client, http.MethodGet, fmt.Sprintf("%s/%d?level=%s", i.url, n, level))
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", resp.Status, resp.body)
	}
	return resp.body
}

// TestWriteHereReadThere is the promise: what one instance wrote, another one
// shows to whoever brings the cookie back, however late the replicas are.
// Without the cookie, and at eventual, the same run is stale.
func TestWriteHereReadThere(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a cluster")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	c := cluster.Start(t, cluster.Options{})
	if err := c.Primary().Exec(ctx, "CREATE TABLE numbers (n text)", "GRANT ALL ON numbers TO "+cluster.AppUser); err != nil {
		t.Fatal(err)
	}
	here, there := startInstance(ctx, t, c), startInstance(ctx, t, c)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser, stranger := &http.Client{Jar: jar}, &http.Client{}
	if err := c.WaitCaughtUp(ctx); err != nil {
		t.Fatal(err)
	}
	for _, n := range c.Replicas() {
		if err := n.PauseReplay(ctx); err != nil {
			t.Fatal(err)
		}
	}
	const rounds = 20
	withoutCookie, eventual := 0, 0
	for n := range rounds {
		resp := do(t, browser, http.MethodPost, fmt.Sprintf("%s/%d", here.url, n))
		if resp.StatusCode != http.StatusOK || len(resp.Cookies()) != 1 {
			t.Fatalf("%s, %d cookies: %s", resp.Status, len(resp.Cookies()), resp.body)
		}
		if got := look(t, browser, there, n, router.LevelSession); got != "true on primary" {
			t.Errorf("number %d with the cookie: %s, want to see it", n, got)
		}
		if look(t, stranger, there, n, router.LevelSession) == "false on replica" {
			withoutCookie++
		}
		if look(t, browser, there, n, router.LevelEventual) == "false on replica" {
			eventual++
		}
	}
	if withoutCookie == 0 || eventual == 0 {
		t.Errorf("of %d reads %d were stale without the cookie and %d at eventual: it is not the cookie that helps", rounds, withoutCookie, eventual)
	}
	// Replicas serve it again once they are there.
	for _, n := range c.Replicas() {
		if err := n.ResumeReplay(ctx); err != nil {
			t.Fatal(err)
		}
	}
	for got := ""; got != "true on replica"; {
		if got = look(t, browser, there, rounds-1, router.LevelSession); got[:4] != "true" || ctx.Err() != nil {
			t.Fatalf("after replay was resumed: %s, %v", got, ctx.Err())
		}
	}
}

// TestBetweenServices: a service that writes through another one tells its own
// client, and a service that reads for another one reads what that has seen.
func TestBetweenServices(t *testing.T) {
	if testing.Short() {
		t.Skip("starts a cluster")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	c := cluster.Start(t, cluster.Options{Replicas: 1})
	if err := c.Primary().Exec(ctx, "CREATE TABLE numbers (n text)", "GRANT ALL ON numbers TO "+cluster.AppUser); err != nil {
		t.Fatal(err)
	}
	back, front := startInstance(ctx, t, c), startInstance(ctx, t, c)
	client := &http.Client{Transport: httpsession.Transport(front.db.Router(), nil)}
	gate := httptest.NewServer(httpsession.New(front.db.Router(), patient)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		req, err := http.NewRequestWithContext(r.Context(), r.Method, back.url+r.URL.String(), nil)
		if err != nil {
			t.Error(err)
			return
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Error(err)
			return
		}
		defer resp.Body.Close()
		io.Copy(w, resp.Body)
	})))
	t.Cleanup(gate.Close)
	if err := c.WaitCaughtUp(ctx); err != nil {
		t.Fatal(err)
	}
	if err := c.Replicas()[0].PauseReplay(ctx); err != nil {
		t.Fatal(err)
	}
	token := do(t, http.DefaultClient, http.MethodPost, gate.URL+"/1").Header.Get(router.TokenKey)
	for _, i := range []*instance{front, back, {url: gate.URL}} {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, i.url+"/1?level=session", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set(router.TokenKey, token)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if string(body) != "true on primary" || err != nil {
			t.Errorf("with the token: %s, %v", body, err)
		}
	}
	for look(t, http.DefaultClient, front, 1, router.LevelSession) != "false on replica" {
		if ctx.Err() != nil {
			t.Fatal("reads without the token are never stale: it is not the token that helps")
		}
	}
}
