package httpsession

import (
	"net/http"
	"strings"
	"sync"

	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/internal/carry"
)

// New returns a middleware that gives each request a session of router r in
// its context, raised by the request's tokens, and each response a token of
// what its handler wrote.
func New(r *router.Router, opts Options) func(http.Handler) http.Handler {
	m := &middleware{
		Options: opts.withDefaults(),
		router:  r,
		carrier: carry.Carrier{Router: r, Timeout: opts.Timeout},
	}
	return func(next http.Handler) http.Handler { return &handler{middleware: m, next: next} }
}

// middleware is what the requests of one New share.
type middleware struct {
	Options
	router  *router.Router
	carrier carry.Carrier
	// late is used up when the first late write was logged.
	late sync.Once
}

type handler struct {
	*middleware
	next http.Handler
}

// ServeHTTP begins a session at the request's tokens and runs the next handler.
func (h *handler) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	s := h.router.NewSession()
	w := &response{ResponseWriter: rw, middleware: h.middleware, session: s}
	if !h.NoHeader {
		tokens := headerTokens(r.Header.Values(h.Header))
		if err := h.carrier.Accept(r.Context(), s, tokens...); err != nil {
			h.ErrorHandler(rw, r, err)
			return
		}
	}
	if !h.NoCookie {
		w.acceptCookies(r)
	}
	w.req = r.WithContext(router.WithSession(r.Context(), s))
	// Deferred, because whoever recovers from the handler's panic may still
	// answer with these headers.
	defer w.finish()
	h.next.ServeHTTP(w, w.req)
}

// acceptCookies raises the session by the tokens of the request's cookies.
func (w *response) acceptCookies(r *http.Request) {
	var tokens []string
	for _, c := range r.CookiesNamed(w.Cookie.Name) {
		tokens = append(tokens, c.Value)
	}
	if len(tokens) == 0 {
		return
	}
	if err := w.carrier.Accept(r.Context(), w.session, tokens...); err != nil {
		w.session.Wrote(w.router)
		w.Logger.DebugContext(r.Context(), "dropped the token in a cookie", "error", err)
		if f := w.Trace.Dropped; f != nil {
			f(r, err)
		}
	}
}

// headerTokens returns the tokens in the values of a header.
func headerTokens(values []string) []string {
	var tokens []string
	for _, v := range values {
		for t := range strings.SplitSeq(v, ",") {
			if t = strings.TrimSpace(t); t != "" {
				tokens = append(tokens, t)
			}
		}
	}
	return tokens
}
