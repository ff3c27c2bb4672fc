package httpsession_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log/slog"

	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/httpsession"
	"github.com/pgroute/pgroute/router/internal/fakeprimary"
)

// serve runs a handler behind the middleware on a real server.
func serve(t *testing.T, p *fakeprimary.Primary, opts httpsession.Options, http2 bool, f http.HandlerFunc) *httptest.Server {
	t.Helper()
	srv := httptest.NewUnstartedServer(httpsession.New(p.Router, opts)(f))
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	srv.EnableHTTP2 = http2
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv
}

// TestHeadersLeaveWithToken: whatever makes the headers leave, the token is
// among them, and the answer is the handler's.
func TestHeadersLeaveWithToken(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, bytes.Repeat([]byte("x"), 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	p := fakeprimary.Start(t)
	ways := map[string]func(w http.ResponseWriter, r *http.Request) error{
		"nothing":     func(http.ResponseWriter, *http.Request) error { return nil },
		"WriteHeader": func(w http.ResponseWriter, _ *http.Request) error { w.WriteHeader(http.StatusOK); return nil },
		"Write":       func(w http.ResponseWriter, _ *http.Request) error { _, err := w.Write([]byte("hello")); return err },
		"Write nothing": func(w http.ResponseWriter, _ *http.Request) error {
			_, err := w.Write(nil)
			return err
		},
		"WriteString": func(w http.ResponseWriter, _ *http.Request) error { _, err := io.WriteString(w, "hello"); return err },
		"Flusher":     func(w http.ResponseWriter, _ *http.Request) error { w.(http.Flusher).Flush(); return nil },
		"Flush":       func(w http.ResponseWriter, _ *http.Request) error { return http.NewResponseController(w).Flush() },
		"ReadFrom": func(w http.ResponseWriter, _ *http.Request) error {
			_, err := w.(io.ReaderFrom).ReadFrom(strings.NewReader("hello"))
			return err
		},
		"ServeFile": func(w http.ResponseWriter, r *http.Request) error { http.ServeFile(w, r, file); return nil },
		"Redirect": func(w http.ResponseWriter, r *http.Request) error {
			http.Redirect(w, r, "/elsewhere", http.StatusSeeOther)
			return nil
		},
		"Error": func(w http.ResponseWriter, _ *http.Request) error {
			http.Error(w, "no", http.StatusConflict)
			return nil
		},
		"deadlines": func(w http.ResponseWriter, _ *http.Request) error {
			rc := http.NewResponseController(w) // needs Unwrap
			if err := rc.SetWriteDeadline(time.Time{}); err != nil {
				return err
			}
			return rc.SetReadDeadline(time.Time{})
		},
	}
	for _, http2 := range []bool{false, true} {
		for name, way := range ways {
			t.Run(fmt.Sprintf("%s HTTP2=%v", name, http2), func(t *testing.T) {
				srv := serve(t, p, patient, http2, func(w http.ResponseWriter, r *http.Request) {
					write(p, r)
					if err := way(w, r); err != nil {
						t.Error(err)
					}
				})
				client := srv.Client()
				client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
				resp := do(t, client, http.MethodGet, srv.URL)
				covered(t, resp.Header.Get(router.TokenKey), p.Position())
				if cookie(resp.Response) == nil {
					t.Error("there is no cookie")
				}
				if name == "ServeFile" && len(resp.body) != 1<<20 {
					t.Errorf("the file has %d bytes", len(resp.body))
				}
				if resp.Trailer.Get(router.TokenKey) != "" {
					t.Error("there is a trailer, too")
				}
			})
		}
	}
}

// TestEarlyHints: 1xx responses leave before the headers and carry nothing.
func TestEarlyHints(t *testing.T) {
	p := fakeprimary.Start(t)
	srv := serve(t, p, patient, false, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		write(p, r)
		w.WriteHeader(http.StatusCreated)
	})
	hints := 0
	trace := &httptrace.ClientTrace{Got1xxResponse: func(_ int, h textproto.MIMEHeader) error {
		hints++
		if h.Get(router.TokenKey) != "" {
			t.Error("the hints carry a token")
		}
		return nil
	}}
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), http.MethodGet, srv.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if hints != 1 || resp.StatusCode != http.StatusCreated {
		t.Errorf("%d hints and %s, want 1 and 201", hints, resp.Status)
	}
	covered(t, resp.Header.Get(router.TokenKey), p.Position())
}

// TestPanicKeepsToken: what was written before a panic is told by whoever
// recovers from it.
func TestPanicKeepsToken(t *testing.T) {
	p := fakeprimary.Start(t)
	inner := httpsession.New(p.Router, patient)(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		write(p, r)
		panic("boom")
	}))
	rec := httptest.NewRecorder()
	func() {
		defer func() {
			if recover() != "boom" {
				t.Error("the panic did not come through")
			}
			rec.WriteHeader(http.StatusInternalServerError)
		}()
		inner.ServeHTTP(rec, get(t.Context()))
	}()
	covered(t, rec.Result().Header.Get(router.TokenKey), p.Position())
}

// TestWriteAfterHeaders: a write that comes too late for the headers is told
// in a trailer where there can be one, and counted.
func TestWriteAfterHeaders(t *testing.T) {
	p := fakeprimary.Start(t)
	for name, test := range map[string]struct {
		http2, trailer bool
		before         func(http.ResponseWriter)
	}{
		"HTTP/1 chunks":   {trailer: true, before: func(w http.ResponseWriter) { w.(http.Flusher).Flush() }},
		"HTTP/1 buffered": {trailer: true, before: func(w http.ResponseWriter) { io.WriteString(w, "short") }},
		"HTTP/1 length":   {before: func(w http.ResponseWriter) { w.Header().Set("Content-Length", "5"); io.WriteString(w, "short") }},
		"HTTP/1 no body":  {before: func(w http.ResponseWriter) { w.WriteHeader(http.StatusNoContent) }},
		"HTTP/2":          {http2: true, trailer: true, before: func(w http.ResponseWriter) { io.WriteString(w, "short") }},
	} {
		t.Run(name, func(t *testing.T) {
			late := make(chan bool, 1)
			opts := patient
			var log bytes.Buffer
			opts.Logger = slog.New(slog.NewTextHandler(&log, nil))
			opts.Trace.Late = func(_ *http.Request, trailer bool) { late <- trailer }
			srv := serve(t, p, opts, test.http2, func(w http.ResponseWriter, r *http.Request) {
				test.before(w)
				write(p, r)
			})
			for range 2 {
				resp := do(t, srv.Client(), http.MethodGet, srv.URL)
				if token := resp.Header.Get(router.TokenKey); token != "" {
					t.Errorf("the header holds %s before anything was written", token)
				}
				if test.trailer {
					covered(t, resp.Trailer.Get(router.TokenKey), p.Position())
				} else if len(resp.Trailer) != 0 {
					t.Errorf("there are trailers: %v", resp.Trailer)
				}
				select {
				case trailer := <-late:
					if trailer != test.trailer {
						t.Errorf("counted as trailer=%v, want %v", trailer, test.trailer)
					}
				case <-time.After(time.Minute):
					t.Fatal("the write was not counted")
				}
			}
			srv.Close()
			if n := strings.Count(log.String(), "after its headers had left"); n != 1 {
				t.Errorf("logged %d times, want once:\n%s", n, log.String())
			}
		})
	}
}

// TestHijack: a WebSocket's handler takes the connection over; its session
// lives on, and the middleware has nothing more to say.
func TestHijack(t *testing.T) {
	p := fakeprimary.Start(t)
	opts := patient
	opts.Trace.Late = func(*http.Request, bool) { t.Error("a hijacked connection has no headers to be late for") }
	srv := serve(t, p, opts, false, func(w http.ResponseWriter, r *http.Request) {
		write(p, r)
		conn, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		write(p, r)
		token, err := p.Router.Token(r.Context(), router.SessionFrom(r.Context()))
		if err != nil {
			t.Error(err)
		}
		fmt.Fprintf(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: test\r\nPgroute-Token: %s\r\n\r\n%s\n",
			w.Header().Get(router.TokenKey), token)
		rw.Flush()
	})
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "test")
	resp, err := srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusSwitchingProtocols || resp.Header.Get(router.TokenKey) == "" {
		t.Errorf("%s, %v: want the handler's answer with the token", resp.Status, resp.Header)
	}
	line, err := bufio.NewReader(resp.Body).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	covered(t, strings.TrimSpace(line), p.Position())
}

// TestHijackRefused: over HTTP/2 there is no connection to take over, and the
// handler is told so.
func TestHijackRefused(t *testing.T) {
	p := fakeprimary.Start(t)
	srv := serve(t, p, patient, true, func(w http.ResponseWriter, r *http.Request) {
		write(p, r)
		conn, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			conn.Close()
			return
		}
		http.Error(w, err.Error(), http.StatusNotImplemented)
	})
	resp := do(t, srv.Client(), http.MethodGet, srv.URL)
	if resp.StatusCode != http.StatusNotImplemented || len(resp.Cookies()) != 1 {
		t.Errorf("%s, cookies %v: want the handler's answer with one cookie", resp.Status, resp.Cookies())
	}
	covered(t, resp.Header.Get(router.TokenKey), p.Position())
}

// TestPush: the wrapper hides no Pusher, and is none where there is none.
func TestPush(t *testing.T) {
	p := fakeprimary.Start(t)
	call(p, patient, get(t.Context()), func(w http.ResponseWriter, _ *http.Request) {
		if err := w.(http.Pusher).Push("/x", nil); err != http.ErrNotSupported {
			t.Errorf("a push over a recorder: %v", err)
		}
	})
	rec := &pusher{ResponseRecorder: httptest.NewRecorder()}
	httpsession.New(p.Router, patient)(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if err := w.(http.Pusher).Push("/x", nil); err != nil {
			t.Error(err)
		}
	})).ServeHTTP(rec, get(t.Context()))
	if rec.target != "/x" {
		t.Errorf("pushed %q", rec.target)
	}
}

type pusher struct {
	*httptest.ResponseRecorder
	target string
}

func (p *pusher) Push(target string, _ *http.PushOptions) error {
	p.target = target
	return nil
}
