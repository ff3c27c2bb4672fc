package httpsession_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pgroute/pgroute/lsn"
	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/httpsession"
	"github.com/pgroute/pgroute/router/internal/fakeprimary"
)

// patient are options for tests in which a token is always to be had.
var patient = httpsession.Options{Timeout: time.Minute, Logger: slog.New(slog.DiscardHandler)}

// write is what a handler does that writes to the database.
func write(p *fakeprimary.Primary, r *http.Request) {
	p.Advance()
	router.SessionFrom(r.Context()).Wrote(p.Router)
}

// call runs one request through the middleware and a handler.
func call(p *fakeprimary.Primary, opts httpsession.Options, r *http.Request, f http.HandlerFunc) *http.Response {
	rec := httptest.NewRecorder()
	httpsession.New(p.Router, opts)(f).ServeHTTP(rec, r)
	return rec.Result()
}

func get(ctx context.Context) *http.Request {
	return httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil)
}

// cookie returns the session's cookie of a response, nil if there is none.
func cookie(resp *http.Response) *http.Cookie {
	for _, c := range resp.Cookies() {
		if c.Name == httpsession.CookieName {
			return c
		}
	}
	return nil
}

// covered checks that a token covers a position.
func covered(t *testing.T, token string, pos lsn.Position) {
	t.Helper()
	got, err := lsn.ParseToken(token)
	if err != nil {
		t.Fatalf("the token %q: %v", token, err)
	}
	if got.SystemID != pos.SystemID || got.Incarnation != pos.Incarnation || got.LSN < pos.LSN {
		t.Errorf("the token is at %v, want at least %v", got, pos)
	}
}

func TestWriteGivesToken(t *testing.T) {
	p := fakeprimary.Start(t)
	resp := call(p, patient, get(t.Context()), func(w http.ResponseWriter, r *http.Request) {
		write(p, r)
		w.WriteHeader(http.StatusCreated)
	})
	if resp.StatusCode != http.StatusCreated {
		t.Errorf("status %d, want the handler's", resp.StatusCode)
	}
	token := resp.Header.Get(router.TokenKey)
	covered(t, token, p.Position())
	c := cookie(resp)
	if c == nil || c.Value != token {
		t.Fatalf("the cookie is %v, want one with the token %s", c, token)
	}
	if !c.HttpOnly || !c.Secure || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.MaxAge != 0 {
		t.Errorf("the cookie is not as promised: %v", c)
	}
	if cc := resp.Header.Get("Cache-Control"); cc != "private" {
		t.Errorf("Cache-Control: %s, want private", cc)
	}
	if v := strings.Join(resp.Header.Values("Vary"), ", "); v != "Pgroute-Token, Cookie" {
		t.Errorf("Vary: %s, want what the token came in", v)
	}
}

func TestReadGivesNoToken(t *testing.T) {
	p := fakeprimary.Start(t)
	resp := call(p, patient, get(t.Context()), func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") })
	for _, name := range []string{router.TokenKey, "Set-Cookie", "Cache-Control", "Vary"} {
		if v := resp.Header.Get(name); v != "" {
			t.Errorf("a response without a token has %s: %s", name, v)
		}
	}
}

func TestEveryResponseGivesToken(t *testing.T) {
	p := fakeprimary.Start(t)
	p.Advance()
	opts := patient
	opts.EveryResponse = true
	resp := call(p, opts, get(t.Context()), func(http.ResponseWriter, *http.Request) {})
	covered(t, resp.Header.Get(router.TokenKey), p.Position())
}

func TestOptionsSayWhatCarries(t *testing.T) {
	p := fakeprimary.Start(t)
	writes := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-cache")
		w.Header().Set("Vary", "Accept, cookie")
		write(p, r)
	}
	opts := patient
	opts.Header, opts.Cookie = "x-seen", &http.Cookie{Name: "seen", MaxAge: 60, Domain: "example.com"}
	resp := call(p, opts, get(t.Context()), writes)
	covered(t, resp.Header.Get("X-Seen"), p.Position())
	if c := resp.Cookies(); len(c) != 1 || c[0].Name != "seen" || c[0].MaxAge != 60 || c[0].Domain != "example.com" || c[0].Path != "/" || c[0].Secure {
		t.Errorf("the cookie is %v, want one as the template says", c)
	}
	if cc := resp.Header.Get("Cache-Control"); cc != "no-cache" {
		t.Errorf("Cache-Control: %s, want the handler's", cc)
	}
	if v := resp.Header.Values("Vary"); len(v) != 2 || v[1] != "X-Seen" {
		t.Errorf("Vary: %q, want the handler's and the header", v)
	}

	opts = patient
	opts.NoCookie = true
	if resp = call(p, opts, get(t.Context()), writes); cookie(resp) != nil || resp.Header.Get(router.TokenKey) == "" {
		t.Errorf("with NoCookie: %v", resp.Header)
	}
	opts = patient
	opts.NoHeader = true
	req := get(t.Context())
	req.Header.Set(router.TokenKey, "nonsense")
	if resp = call(p, opts, req, writes); cookie(resp) == nil || resp.Header.Get(router.TokenKey) != "" {
		t.Errorf("with NoHeader: %v", resp.Header)
	}
}

// badTokens are tokens that are bad in themselves, of a primary that is at pos.
func badTokens(pos lsn.Position) map[string]string {
	foreign, future, unknown := pos, pos, pos
	foreign.SystemID++
	future.LSN += 1 << 40
	unknown.Timeline += 5
	return map[string]string{
		"malformed": "pgr1_nonsense",
		"foreign":   lsn.EncodeToken(foreign),
		"future":    lsn.EncodeToken(future),
		"timeline":  lsn.EncodeToken(unknown),
		"too many":  strings.Repeat(lsn.EncodeToken(pos)+","+lsn.EncodeToken(lsn.Position{Timeline: 1})+",", 10),
	}
}

func TestBadHeaderIsRefused(t *testing.T) {
	p := fakeprimary.Start(t)
	for name, token := range badTokens(p.Position()) {
		t.Run(name, func(t *testing.T) {
			opts := patient
			if name == "timeline" {
				opts.Timeout = 100 * time.Millisecond // it may yet become known
			}
			req := get(t.Context())
			req.Header.Set(router.TokenKey, token)
			ran := func(http.ResponseWriter, *http.Request) { t.Error("the handler ran") }
			resp := call(p, opts, req, ran)
			var body struct {
				Error struct{ Code, Message string }
			}
			if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
				t.Fatal(err)
			}
			if resp.StatusCode != http.StatusBadRequest || body.Error.Code != "bad_token" || !strings.Contains(body.Error.Message, "token") {
				t.Errorf("%s %+v, want 400 and bad_token", resp.Status, body)
			}

			var got error
			opts.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, err error) {
				got = err
				w.WriteHeader(http.StatusTeapot)
			}
			resp = call(p, opts, req, ran)
			var bad *router.TokenError
			if resp.StatusCode != http.StatusTeapot || !errors.As(got, &bad) {
				t.Errorf("%s, %v: want the handler's answer to a TokenError", resp.Status, got)
			}
		})
	}
}

func TestBadCookieIsDropped(t *testing.T) {
	p := fakeprimary.Start(t)
	for name, token := range badTokens(p.Position()) {
		t.Run(name, func(t *testing.T) {
			opts := patient
			if name == "timeline" {
				opts.Timeout = 100 * time.Millisecond
			}
			dropped := 0
			opts.Trace.Dropped = func(*http.Request, error) { dropped++ }
			req := get(t.Context())
			req.AddCookie(&http.Cookie{Name: httpsession.CookieName, Value: strings.TrimSuffix(token, ",")})
			var began uint64
			resp := call(p, opts, req, func(_ http.ResponseWriter, r *http.Request) { began = router.SessionFrom(r.Context()).Ticket() })
			if c := resp.Cookies(); resp.StatusCode != http.StatusOK || len(c) != 1 {
				t.Errorf("%s, cookies %v: want one that replaces the bad one", resp.Status, c)
			} else {
				covered(t, c[0].Value, p.Position())
			}
			if began == 0 {
				t.Error("the session does not start from now")
			}
			if dropped != 1 {
				t.Errorf("told of %d dropped cookies, want 1", dropped)
			}
			// A write may share the ticket with the start.
			resp = call(p, opts, req, func(_ http.ResponseWriter, r *http.Request) { write(p, r) })
			if c := resp.Cookies(); len(c) != 1 {
				t.Errorf("after a write: %v, want one cookie", c)
			} else {
				covered(t, c[0].Value, p.Position())
			}
		})
	}
}

// TestGoodTokensAreAccepted: a token in the header or in the cookie raises the
// session, which is seen by what it then gives out.
func TestGoodTokensAreAccepted(t *testing.T) {
	p := fakeprimary.Start(t)
	p.Advance()
	token := lsn.EncodeToken(p.Position())
	for name, set := range map[string]func(*http.Request){
		"header": func(r *http.Request) { r.Header.Set(router.TokenKey, token) },
		"cookie": func(r *http.Request) { r.AddCookie(&http.Cookie{Name: httpsession.CookieName, Value: token}) },
		"both": func(r *http.Request) {
			r.Header.Set(router.TokenKey, token)
			r.AddCookie(&http.Cookie{Name: httpsession.CookieName, Value: token})
		},
	} {
		t.Run(name, func(t *testing.T) {
			req := get(t.Context())
			set(req)
			before := p.Router.Stats().Tickets
			resp := call(p, patient, req, func(_ http.ResponseWriter, r *http.Request) {
				if router.SessionFrom(r.Context()).Ticket() != 0 {
					t.Error("a token counts as a write")
				}
			})
			if resp.StatusCode != http.StatusOK || len(resp.Cookies()) != 0 {
				t.Errorf("%s, %v: want a plain answer", resp.Status, resp.Header)
			}
			if p.Router.Stats().Tickets == before {
				t.Error("the token was not compared with the primary's position")
			}
		})
	}
}

// TestNoTokenToBeHad: the primary falls silent between the write and the
// answer. The answer says now, and who sends it back starts from now.
func TestNoTokenToBeHad(t *testing.T) {
	p := fakeprimary.Start(t)
	opts := patient
	opts.Timeout = 50 * time.Millisecond
	var untold error
	opts.Trace.Untold = func(_ *http.Request, err error) { untold = err }
	resp := call(p, opts, get(t.Context()), func(_ http.ResponseWriter, r *http.Request) {
		p.Mute()
		write(p, r)
	})
	if c := cookie(resp); resp.Header.Get(router.TokenKey) != httpsession.Now || c == nil || c.Value != httpsession.Now {
		t.Errorf("the answer is %v, want now in header and cookie", resp.Header)
	}
	if !errors.Is(untold, context.DeadlineExceeded) {
		t.Errorf("told of %v, want a timeout", untold)
	}
	for name, set := range map[string]func(*http.Request){
		"header": func(r *http.Request) { r.Header.Set(router.TokenKey, httpsession.Now) },
		"cookie": func(r *http.Request) { r.AddCookie(&http.Cookie{Name: httpsession.CookieName, Value: httpsession.Now}) },
		// It cannot be checked, so the session starts from now, too.
		"token": func(r *http.Request) { r.Header.Set(router.TokenKey, lsn.EncodeToken(p.Position())) },
	} {
		req := get(t.Context())
		set(req)
		call(p, opts, req, func(_ http.ResponseWriter, r *http.Request) {
			if router.SessionFrom(r.Context()).Ticket() == 0 {
				t.Errorf("%s: the session does not start from now", name)
			}
		})
	}
	p.Speak()
	req := get(t.Context())
	req.AddCookie(&http.Cookie{Name: httpsession.CookieName, Value: httpsession.Now})
	resp = call(p, patient, req, func(http.ResponseWriter, *http.Request) {})
	if c := cookie(resp); c == nil {
		t.Error("the cookie still says now, although there is a token again")
	} else {
		covered(t, c.Value, p.Position())
	}
}

// TestTokenOfNewerLife: another instance knows the primary's new life before
// this router does. Its token is waited for, not refused.
func TestTokenOfNewerLife(t *testing.T) {
	p := fakeprimary.Start(t)
	newer := p.Position()
	newer.Incarnation++
	req := get(t.Context())
	req.Header.Set(router.TokenKey, lsn.EncodeToken(newer))
	time.AfterFunc(50*time.Millisecond, p.Restart)
	resp := call(p, patient, req, func(http.ResponseWriter, *http.Request) {})
	if resp.StatusCode != http.StatusOK {
		t.Errorf("%s, want the token to be accepted once the router knows", resp.Status)
	}
}

// TestBrowserCarriesToken: a client with cookies, over TLS, HTTP/1.1 and
// HTTP/2.
func TestBrowserCarriesToken(t *testing.T) {
	p := fakeprimary.Start(t)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /", func(_ http.ResponseWriter, r *http.Request) { write(p, r) })
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		if c, err := r.Cookie(httpsession.CookieName); err == nil {
			io.WriteString(w, c.Value)
		}
	})
	for _, http2 := range []bool{false, true} {
		srv := httptest.NewUnstartedServer(httpsession.New(p.Router, patient)(mux))
		srv.EnableHTTP2 = http2
		srv.StartTLS()
		t.Cleanup(srv.Close)
		client := srv.Client()
		client.Jar, _ = cookiejar.New(nil)
		resp := do(t, client, http.MethodPost, srv.URL)
		want := resp.Header.Get(router.TokenKey)
		covered(t, want, p.Position())
		if got := do(t, client, http.MethodGet, srv.URL); got.body != want || (got.ProtoMajor == 2) != http2 {
			t.Errorf("%s: the next request brings %q, want %q", got.Proto, got.body, want)
		}
	}
}

// answer is a response whose body has been read.
type answer struct {
	*http.Response
	body string
}

func do(t *testing.T, client *http.Client, method, url string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp, string(body)}
}
