package httpsession_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"time"

	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/httpsession"
	"github.com/pgroute/pgroute/router/pgxdb"
)

// A service whose users see their own bookings at once, whichever instance
// answers them. The handlers know nothing of it: they hand r.Context() on.
func ExampleNew() {
	ctx := context.Background()
	source, err := router.Static("db1:5432", "db2:5432", "db3:5432")
	if err != nil {
		log.Fatal(err)
	}
	db, err := pgxdb.Open(ctx, pgxdb.Config{Source: source, DSN: "user=shop password=secret dbname=shop"})
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()

	mux := http.NewServeMux()
	mux.HandleFunc("POST /bookings", func(w http.ResponseWriter, r *http.Request) {
		if _, err := db.Exec(r.Context(), "INSERT INTO bookings (seat) VALUES ($1)", r.FormValue("seat")); err != nil {
			http.Error(w, "not booked", http.StatusConflict)
			return
		}
		w.WriteHeader(http.StatusCreated) // with a token of the booking
	})
	mux.HandleFunc("GET /bookings", func(w http.ResponseWriter, r *http.Request) {
		var n int
		// A replica that has replayed the user's bookings.
		if err := db.Read().QueryRow(r.Context(), "SELECT count(*) FROM bookings").Scan(&n); err != nil {
			http.Error(w, "try again", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, n)
	})
	log.Fatal(http.ListenAndServe(":8080", httpsession.New(db.Router(), httpsession.Options{})(mux)))
}

// A service that only other services call needs no cookies, and counts what
// goes wrong.
func ExampleNew_services() {
	var db *pgxdb.DB // see the first example
	carry := httpsession.New(db.Router(), httpsession.Options{
		NoCookie: true,
		Timeout:  500 * time.Millisecond,
		Trace: httpsession.Trace{
			Untold: func(r *http.Request, err error) { slog.Warn("no token", "path", r.URL.Path, "error", err) },
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, err.Error(), http.StatusBadRequest)
		},
	})
	log.Fatal(http.ListenAndServe(":8081", carry(http.DefaultServeMux)))
}

// Without TLS, as on a developer's machine, the cookie must not be Secure.
func ExampleDefaultCookie() {
	cookie := httpsession.DefaultCookie()
	cookie.Secure = false
	cookie.MaxAge = 3600
	fmt.Println(cookie.Name, cookie.Path, cookie.HttpOnly, cookie.Secure)
	_ = httpsession.Options{Cookie: cookie}
	// Output: pgroute_token / true false
}

// A handler that asks another service of the same cluster: what that writes,
// this handler's reads see, and the user's next request.
func ExampleTransport() {
	var db *pgxdb.DB // see New
	stock := &http.Client{Transport: httpsession.Transport(db.Router(), nil), Timeout: 5 * time.Second}

	http.HandleFunc("POST /orders", func(w http.ResponseWriter, r *http.Request) {
		// The request's context carries the session there and back.
		req, err := http.NewRequestWithContext(r.Context(), http.MethodPost, "http://stock/reservations", r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		resp, err := stock.Do(req)
		if err != nil {
			http.Error(w, "no stock", http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		w.WriteHeader(resp.StatusCode)
	})
}
