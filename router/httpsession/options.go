package httpsession

import (
	"cmp"
	"encoding/json"
	"log/slog"
	"net/http"
	"time"

	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/internal/carry"
)

// CookieName is the name of the cookie unless Options.Cookie gives another.
const CookieName = "pgroute_token"

// Now stands in header and cookie in place of a token that could not be had in
// time. Whoever sends it back starts from now.
const Now = carry.Now

// Options says how a session travels. The zero value is a good choice for a
// service that browsers reach by HTTPS.
type Options struct {
	// Header is the name of the header, of requests and of responses. Empty
	// means router.TokenKey.
	Header string
	// NoHeader leaves the header alone.
	NoHeader bool
	// Cookie is the template of the cookie: its Value and expiry are set, and
	// what is empty of Name, Path and SameSite is filled in; all else is taken
	// as it is. nil means DefaultCookie. MaxAge 0 means that the cookie lasts
	// as long as the browser runs.
	Cookie *http.Cookie
	// NoCookie leaves cookies alone: for services that only services call.
	NoCookie bool
	// EveryResponse puts a token into each response, so that reads do not go
	// backwards from one request to the next either. It costs each request a
	// wait for the primary's position, one round trip that all requests of the
	// moment share.
	EveryResponse bool
	// Timeout bounds how long a request waits for its tokens to be checked,
	// and a response for its own. 0 means 2 s, a negative value means that
	// nothing is waited for.
	Timeout time.Duration
	// ErrorHandler answers a request whose header holds a bad token; err is a
	// *router.TokenError. nil means status 400 with a JSON body.
	ErrorHandler func(w http.ResponseWriter, r *http.Request, err error)
	// Logger gets what an operator should know. nil means slog.Default().
	Logger *slog.Logger
	// Trace is told what happens.
	Trace Trace
}

// Trace is a set of functions that are told what happens, to be counted for
// instance. Each may be nil. They are called by the request's goroutine and
// must not block.
type Trace struct {
	// Dropped is called when a cookie's token was refused.
	Dropped func(r *http.Request, err error)
	// Untold is called when a response carries Now, because there was no token
	// to be had.
	Untold func(r *http.Request, err error)
	// Late is called when a handler has written after the headers had left;
	// trailer is true if the token was sent as a trailer.
	Late func(r *http.Request, trailer bool)
}

// DefaultCookie returns the template that Options.Cookie nil stands for, to be
// changed: HttpOnly, Secure, SameSite=Lax, for all paths. A service without
// TLS has to clear Secure.
func DefaultCookie() *http.Cookie {
	return &http.Cookie{Name: CookieName, Path: "/", HttpOnly: true, Secure: true, SameSite: http.SameSiteLaxMode}
}

// withDefaults returns o with everything filled in. The cookie is a copy.
func (o Options) withDefaults() Options {
	o.Header = http.CanonicalHeaderKey(cmp.Or(o.Header, router.TokenKey))
	if o.Cookie == nil {
		o.Cookie = DefaultCookie()
	}
	cookie := *o.Cookie
	cookie.Name = cmp.Or(cookie.Name, CookieName)
	cookie.Path = cmp.Or(cookie.Path, "/")
	cookie.SameSite = cmp.Or(cookie.SameSite, http.SameSiteLaxMode)
	o.Cookie = &cookie
	if o.ErrorHandler == nil {
		o.ErrorHandler = badToken
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

// badToken answers a request with a bad token.
func badToken(w http.ResponseWriter, _ *http.Request, err error) {
	var body struct {
		Error struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	body.Error.Code, body.Error.Message = "bad_token", err.Error()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusBadRequest)
	// Whoever sent the request may be gone; there is nobody else to tell.
	_ = json.NewEncoder(w).Encode(body)
}
