package httpsession_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/pgroute/pgroute/lsn"
	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/httpsession"
	"github.com/pgroute/pgroute/router/internal/fakeprimary"
)

// through sends one request with the context's session and returns the answer.
func through(t *testing.T, p *fakeprimary.Primary, ctx context.Context, url string, header http.Header) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if header != nil {
		req.Header = header
	}
	before := req.Header.Clone()
	client := &http.Client{Transport: httpsession.Transport(p.Router, nil)}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if len(before) != len(req.Header) {
		t.Errorf("the caller's request was changed: %v", req.Header)
	}
	return answer{resp, string(body)}
}

// echo answers with the token that the request brought.
func echo(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Header.Get(router.TokenKey)) }

func TestTransportSendsToken(t *testing.T) {
	p := fakeprimary.Start(t)
	srv := httptest.NewServer(http.HandlerFunc(echo))
	t.Cleanup(srv.Close)
	s := router.NewSession()
	ctx := router.WithSession(t.Context(), s)
	p.Advance()
	s.Wrote(p.Router)
	covered(t, through(t, p, ctx, srv.URL, nil).body, p.Position())

	if got := through(t, p, t.Context(), srv.URL, nil).body; got != "" {
		t.Errorf("a request without a session carries %q", got)
	}
	own := http.Header{router.TokenKey: {"own"}}
	if got := through(t, p, ctx, srv.URL, own).body; got != "own" {
		t.Errorf("the header became %q", got)
	}
	p.Mute()
	ctx, cancel := context.WithCancel(ctx)
	s.Wrote(p.Router)
	rt := httpsession.Transport(p.Router, roundTrip(func(req *http.Request) (*http.Response, error) {
		if got := req.Header.Get(router.TokenKey); got != httpsession.Now {
			t.Errorf("without an answer of the primary the request carries %q", got)
		}
		return nil, context.Cause(req.Context())
	}))
	cancel() // nobody needs to wait for the time to run out
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, srv.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := rt.RoundTrip(req); err != context.Canceled {
		t.Errorf("the base's error became %v", err)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// TestTransportTakesToken: what the called service wrote is seen by the
// caller's session, and told to the caller's own client.
func TestTransportTakesToken(t *testing.T) {
	p := fakeprimary.Start(t)
	inner := func(h http.HandlerFunc) string {
		srv := httptest.NewServer(httpsession.New(p.Router, patient)(h))
		t.Cleanup(srv.Close)
		return srv.URL
	}
	for name, test := range map[string]struct {
		url  string
		want bool
	}{
		"header": {inner(func(_ http.ResponseWriter, r *http.Request) { write(p, r) }), true},
		"trailer": {inner(func(w http.ResponseWriter, r *http.Request) {
			w.(http.Flusher).Flush()
			write(p, r)
		}), true},
		"nothing":  {inner(func(http.ResponseWriter, *http.Request) {}), false},
		"nonsense": {inner(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set(router.TokenKey, "nonsense") }), false},
		"now":      {inner(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set(router.TokenKey, httpsession.Now) }), true},
	} {
		t.Run(name, func(t *testing.T) {
			resp := call(p, patient, get(t.Context()), func(_ http.ResponseWriter, r *http.Request) {
				through(t, p, r.Context(), test.url, nil)
			})
			token := resp.Header.Get(router.TokenKey)
			if (token != "") != test.want {
				t.Fatalf("the caller's answer carries %q, want one: %v", token, test.want)
			}
			if test.want {
				covered(t, token, p.Position())
			}
		})
	}
}

// TestTransportAcceptsForeignAnswer: a service of another cluster answers with
// a token that means nothing here; the call works.
func TestTransportAcceptsForeignAnswer(t *testing.T) {
	p := fakeprimary.Start(t)
	foreign := p.Position()
	foreign.SystemID++
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(router.TokenKey, lsn.EncodeToken(foreign))
	}))
	t.Cleanup(srv.Close)
	ctx := router.WithSession(t.Context(), router.NewSession())
	if resp := through(t, p, ctx, srv.URL, nil); resp.StatusCode != http.StatusOK {
		t.Errorf("%s", resp.Status)
	}
}
