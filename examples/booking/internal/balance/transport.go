package balance

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/pgroute/pgroute/examples/booking/internal/registry"
)

// rest is how long an instance is left alone after a connection to it failed,
// unless there is no other.
const rest = 2 * time.Second

// errNobody says that there is no instance to ask.
var errNobody = errors.New("no instance")

// transport sends each request to the next instance, and to another one if
// that fails and the request allows it.
type transport struct {
	instances *registry.Registry
	http      *http.Transport
	log       *slog.Logger

	mu   sync.Mutex // guards the fields below
	next int
	out  map[string]time.Time // by address: left alone until then
}

func newTransport(instances *registry.Registry, log *slog.Logger) *transport {
	return &transport{instances: instances, log: log, out: make(map[string]time.Time),
		http: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: time.Second}).DialContext,
			MaxIdleConnsPerHost: 64,
			IdleConnTimeout:     30 * time.Second,
			// An instance answers sooner, if only to say that it cannot.
			ResponseHeaderTimeout: 20 * time.Second,
		}}
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	var err error
	var refused *http.Response // the last 503
	for _, i := range t.order() {
		if refused != nil {
			_ = refused.Body.Close()
			refused = nil
		}
		out := r.Clone(r.Context())
		out.URL.Host = i.Addr
		if r.GetBody != nil && r.Body != nil {
			if out.Body, err = r.GetBody(); err != nil {
				return nil, fmt.Errorf("read the request again: %w", err)
			}
		}
		var resp *http.Response
		resp, err = t.http.RoundTrip(out)
		if r.Context().Err() != nil {
			closeBody(resp)
			return nil, r.Context().Err()
		}
		if err == nil {
			resp.Header.Set("X-Instance", i.Name)
			if resp.StatusCode != http.StatusServiceUnavailable || !repeatable(r) {
				return resp, nil
			}
			refused = resp
		}
		t.leaveAlone(i, err)
		if err != nil && !repeatable(r) && !neverSent(err) {
			return nil, err
		}
	}
	switch {
	case refused != nil:
		return refused, nil
	case err == nil || neverSent(err):
		return nil, errors.Join(errNobody, err)
	}
	return nil, err
}

func closeBody(r *http.Response) {
	if r != nil {
		_ = r.Body.Close()
	}
}

// repeatable reports whether a request may be carried out twice.
func repeatable(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete:
		return true
	}
	return r.Header.Get("Idempotency-Key") != ""
}

// neverSent reports whether the instance cannot have seen the request: there
// was no connection.
func neverSent(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// order returns the instances in the order in which a request is to try them:
// beginning with the one whose turn it is, and those that failed lately last.
func (t *transport) order() []registry.Instance {
	all := t.instances.View().Instances
	t.mu.Lock()
	defer t.mu.Unlock()
	t.next++
	now := time.Now()
	well, ill := make([]registry.Instance, 0, len(all)), []registry.Instance(nil)
	for k := range all {
		i := all[(t.next+k)%len(all)]
		if now.Before(t.out[i.Addr]) {
			ill = append(ill, i)
		} else {
			well = append(well, i)
		}
	}
	return append(well, ill...)
}

// leaveAlone takes an instance out of turn for a moment.
func (t *transport) leaveAlone(i registry.Instance, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	for addr, until := range t.out {
		if now.After(until) {
			delete(t.out, addr)
		}
	}
	if _, known := t.out[i.Addr]; !known {
		t.log.Warn("an instance does not serve: leaving it alone for a moment", "name", i.Name, "addr", i.Addr, "error", err)
	}
	t.out[i.Addr] = now.Add(rest)
}
