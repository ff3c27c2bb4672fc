// Package api is the service's HTTP interface: JSON under /api/, server-sent
// events, and the page.
package api

import (
	"context"
	"io/fs"
	"log/slog"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgroute/pgroute/examples/booking/internal/registry"
	"github.com/pgroute/pgroute/examples/booking/internal/store"
)

// Config says what an API works with. All fields but Operator are required.
type Config struct {
	// Instance is the name under which this process is known, Addr where it
	// serves.
	Instance, Addr string
	Store          *store.Store
	Registry       *registry.Registry
	// Operator connects as a role that may pause replay on a replica; its host
	// and port are ignored. Nil means that nobody may.
	Operator *pgx.ConnConfig
	// Page is the page: index.html and what it refers to.
	Page   fs.FS
	Logger *slog.Logger
}

// API serves requests. New makes one.
type API struct {
	cfg     Config
	log     *slog.Logger
	events  *hub
	fighter http.Client
	fights  chan struct{} // holds a token while a fight is on
}

// requestTimeout bounds a request, with everything that is tried again for it.
// The fight and the events have bounds of their own.
const requestTimeout = 15 * time.Second

// New returns an API. Close ends it.
func New(cfg Config) *API {
	a := &API{cfg: cfg, log: cfg.Logger, fights: make(chan struct{}, 1)}
	a.events = newHub(a)
	a.fighter.Transport = &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: 30 * time.Second}
	return a
}

// Close ends all streams of events. Requests that run are not its business.
func (a *API) Close() {
	a.events.close()
	a.fighter.CloseIdleConnections()
}

// Handler returns what serves the requests.
func (a *API) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]any{"instance": a.cfg.Instance, "ok": true})
	})
	files := http.FileServerFS(a.cfg.Page)
	mux.Handle("GET /{$}", files)
	mux.Handle("GET /page/", http.StripPrefix("/page", files))

	mux.Handle("GET /api/slots", a.timed(a.getSlots))
	mux.Handle("GET /api/seats", a.timed(a.getSeats))
	mux.Handle("POST /api/bookings", a.timed(a.postBooking))
	mux.Handle("GET /api/bookings/{id}", a.timed(a.getBooking))
	mux.Handle("DELETE /api/bookings/{id}", a.timed(a.deleteBooking))
	mux.Handle("GET /api/state", a.timed(a.getState))
	mux.Handle("PUT /api/config", a.timed(a.putConfig))
	mux.Handle("POST /api/late", a.timed(a.postLate))
	mux.Handle("POST /api/fight", a.handle(a.postFight))
	mux.Handle("GET /api/events", a.handle(a.getEvents))
	mux.Handle("/api/", a.handle(func(_ http.ResponseWriter, r *http.Request) error {
		return fail(http.StatusNotFound, "not_found", "there is no %s %s", r.Method, r.URL.Path)
	}))
	// A page of another site must not book, nor make a replica late.
	return secure(http.NewCrossOriginProtection().Handler(mux))
}

// handler answers a request, or returns why it does not.
type handler func(http.ResponseWriter, *http.Request) error

func (a *API) handle(h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		if err := h(w, r); err != nil {
			a.refuse(w, r, err)
		}
	})
}

func (a *API) timed(h handler) http.Handler {
	return a.handle(func(w http.ResponseWriter, r *http.Request) error {
		ctx, cancel := context.WithTimeout(r.Context(), requestTimeout)
		defer cancel()
		return h(w, r.WithContext(ctx))
	})
}

// secure tells browsers what the page may do: use its own files and this
// service, nothing inline and nothing from elsewhere.
func secure(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "+
			"font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		next.ServeHTTP(w, r)
	})
}
