package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/pgroute/pgroute/proxy"
)

// adminHTTP is the HTTP server for operators.
type adminHTTP struct {
	srv      *proxy.Server
	listener net.Listener
	http     http.Server
	ended    chan struct{}
	refused  *refusals
	// serving is true once clients can be served, draining when that ends.
	serving, draining atomic.Bool
}

// listenAdmin opens the address.
func listenAdmin(addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %s for admin: %w", addr, err)
	}
	return l, nil
}

// newAdmin returns what serveLoop serves.
func newAdmin(l net.Listener, srv *proxy.Server, refused *refusals) *adminHTTP {
	h := &adminHTTP{srv: srv, listener: l, ended: make(chan struct{}), refused: refused}
	h.http = http.Server{Handler: h.routes(), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 64 << 10,
		// What a stranger sends to the port is not worth a line in the log.
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug)}
	return h
}

func (h *adminHTTP) serveLoop() {
	defer close(h.ended)
	_ = h.http.Serve(h.listener) // it ends when close ends it
}

// drain makes /readyz say that the end is near.
func (h *adminHTTP) drain() { h.draining.Store(true) }

// close ends the server, and lets requests that run end for a moment.
func (h *adminHTTP) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if h.http.Shutdown(ctx) != nil {
		_ = h.http.Close()
	}
	<-h.ended
}

func (h *adminHTTP) routes() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(newMetrics(h.srv, h.refused), sourceMetrics{h.srv, h.refused}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /livez", h.livez)
	mux.HandleFunc("GET /readyz", h.readyz)
	mux.HandleFunc("GET /status.json", h.statusJSON)
	mux.HandleFunc("GET /{$}", h.status)
	return mux
}

// livez answers as long as the process does.
func (h *adminHTTP) livez(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "ok") }

// readyz says whether clients should be sent here.
func (h *adminHTTP) readyz(w http.ResponseWriter, _ *http.Request) {
	ok, reason := h.ready()
	if ok {
		answer(w, http.StatusOK, reason)
		return
	}
	answer(w, http.StatusServiceUnavailable, reason)
}

func (h *adminHTTP) ready() (ok bool, reason string) {
	if h.draining.Load() {
		return false, "not ready: pgroute is ending"
	}
	if !h.serving.Load() {
		return false, "not ready: pgroute is starting"
	}
	st := h.srv.Stats()
	switch {
	case st.Primary != "" && st.Leadership:
		return true, "ok"
	case st.Primary != "":
		return true, "ok, but writes wait: it is not proven that " + st.Primary + " leads"
	case st.Replicas > 0 || h.srv.Router().Topology().LastGood() != nil:
		return true, "ok, but writes wait: " + st.NoPrimary
	}
	return false, "not ready: no primary and no replica: " + st.NoPrimary
}

func answer(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	fmt.Fprintln(w, text)
}
