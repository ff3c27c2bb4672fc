// Package balance is a small HTTP load balancer that finds the instances of
// the service in the registry.
package balance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"

	"github.com/pgroute/pgroute/examples/booking/internal/registry"
)

// New returns a handler that passes requests on to the instances, in turn.
//
// A request whose connection failed is sent to another instance if it may be
// repeated: if its method says so, or it carries an Idempotency-Key. So is one that an
// instance could not serve just now (503). Everything is streamed, so that
// server-sent events pass.
func New(instances *registry.Registry, log *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		v := instances.View()
		status := http.StatusOK
		if len(v.Instances) == 0 {
			status = http.StatusServiceUnavailable
		}
		writeJSON(w, status, map[string]any{"ok": status == http.StatusOK, "instances": len(v.Instances), "registry_connected": v.Connected})
	})
	mux.Handle("/", &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			// Which instance it is, the transport decides.
			r.SetURL(&url.URL{Scheme: "http", Host: "instance"})
			// The page's own address, which tells its requests from others'.
			r.Out.Host = r.In.Host
			r.SetXForwarded()
		},
		Transport:    newTransport(instances, log),
		ErrorHandler: refuse,
		ErrorLog:     quiet(log),
	})
	return keepBody(mux)
}

// quiet sends what ReverseProxy logs to the debug log: mostly clients that
// have gone.
func quiet(l *slog.Logger) *log.Logger { return slog.NewLogLogger(l.Handler(), slog.LevelDebug) }

// Bounds of a request's body.
const (
	maxBody     = 64 << 10
	bodyTimeout = 10 * time.Second
)

// keepBody reads the body of a request before it is passed on: it may have to
// be sent more than once.
func keepBody(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn := http.NewResponseController(w)
		_ = conn.SetReadDeadline(time.Now().Add(bodyTimeout))
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		_ = conn.SetReadDeadline(time.Time{})
		var long *http.MaxBytesError
		switch {
		case errors.As(err, &long):
			fail(w, http.StatusRequestEntityTooLarge, "too_long", "the body is too long")
			return
		case err != nil:
			fail(w, http.StatusRequestTimeout, "too_slow", "the body did not arrive")
			return
		}
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
		next.ServeHTTP(w, r)
	})
}

// refuse tells the client why there is no answer.
func refuse(w http.ResponseWriter, _ *http.Request, err error) {
	switch {
	case errors.Is(err, context.Canceled):
		// The client has gone.
	case errors.Is(err, errNobody):
		w.Header().Set("Retry-After", "1")
		fail(w, http.StatusServiceUnavailable, "no_instance", "no instance of the service is running")
	default:
		w.Header().Set("Retry-After", "1")
		fail(w, http.StatusBadGateway, "instance_lost", "the instance was lost while it worked on the request; whether it was carried out is not known")
	}
}

func fail(w http.ResponseWriter, status int, code, message string) {
	writeJSON(w, status, map[string]any{"error": map[string]string{"code": code, "message": message}})
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	// An error here means that the client has gone.
	_ = json.NewEncoder(w).Encode(body)
}
