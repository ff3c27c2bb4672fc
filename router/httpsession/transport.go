package httpsession

import (
	"io"
	"net/http"

	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/internal/carry"
)

// Transport returns a RoundTripper that carries the session of a request's
// context to the service it calls: the request goes out by base (nil means
// http.DefaultTransport) with a token of the session in the header
// router.TokenKey, and the session sees what the answer's token stands for. It
// also counts as having written then, so that the caller's own answer carries
// a token. A request whose context has no session, or which has the header
// already, goes out as it is. If no token can be had within two seconds the
// request carries Now.
//
// Use it only towards services of the same cluster: others refuse the token.
func Transport(r *router.Router, base http.RoundTripper) http.RoundTripper {
	if base == nil {
		base = http.DefaultTransport
	}
	return &transport{base: base, carrier: carry.Carrier{Router: r}}
}

type transport struct {
	base    http.RoundTripper
	carrier carry.Carrier
}

// RoundTrip carries out one request.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	s := router.SessionFrom(req.Context())
	if s == nil {
		return t.base.RoundTrip(req)
	}
	if req.Header.Get(router.TokenKey) == "" {
		// An error means that the primary is silent, and the token is Now.
		token, _ := t.carrier.Token(req.Context(), s)
		req = req.Clone(req.Context()) // a RoundTripper may not change it
		req.Header.Set(router.TokenKey, token)
	}
	resp, err := t.base.RoundTrip(req)
	if err != nil {
		return resp, err
	}
	t.carrier.Answered(s, resp.Header.Get(router.TokenKey))
	if resp.StatusCode != http.StatusSwitchingProtocols {
		resp.Body = &body{ReadCloser: resp.Body, resp: resp, carrier: t.carrier, session: s}
	}
	return resp, nil
}

// body takes the token of the trailers, which are there when the body has been
// read.
type body struct {
	io.ReadCloser
	resp    *http.Response
	carrier carry.Carrier
	session *router.Session
}

// Read reads from the body.
func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		b.carrier.Answered(b.session, b.resp.Trailer.Get(router.TokenKey))
	}
	return n, err
}
