package httpsession

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/pgroute/pgroute/router"
)

// response is the ResponseWriter of one request. It adds the token to the
// headers before they leave.
type response struct {
	http.ResponseWriter
	*middleware
	req     *http.Request
	session *router.Session
	// told is the session's ticket when the headers left, 0 if nothing was
	// written until then and the session did not start from now.
	told uint64
	// left: the headers are on their way. hijacked: so is everything else.
	left, hijacked bool
	status         int
}

// Unwrap is for http.ResponseController.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader sends the headers with a token, if there is one to be sent.
func (w *response) WriteHeader(status int) {
	if status < 200 && status != http.StatusSwitchingProtocols {
		w.ResponseWriter.WriteHeader(status) // the headers are still to come
		return
	}
	w.leave(status)
	w.ResponseWriter.WriteHeader(status)
}

// Write writes a part of the body.
func (w *response) Write(p []byte) (int, error) {
	w.leave(http.StatusOK)
	return w.ResponseWriter.Write(p)
}

// WriteString is Write for io.WriteString.
func (w *response) WriteString(s string) (int, error) {
	w.leave(http.StatusOK)
	return io.WriteString(w.ResponseWriter, s)
}

// ReadFrom is Write for io.Copy: a file reaches the socket by sendfile.
func (w *response) ReadFrom(src io.Reader) (int64, error) {
	w.leave(http.StatusOK)
	return io.Copy(w.ResponseWriter, src)
}

// Flush sends what was written so far.
func (w *response) Flush() { _ = w.FlushError() }

// FlushError is Flush for http.ResponseController.
func (w *response) FlushError() error {
	w.leave(http.StatusOK)
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Hijack hands the connection over. The handler then writes headers of its
// own; those that were set until now are in Header, with the token.
func (w *response) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.leave(http.StatusSwitchingProtocols)
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	w.hijacked = err == nil
	return conn, rw, err
}

// Push is for HTTP/2.
func (w *response) Push(target string, opts *http.PushOptions) error {
	if p, ok := w.ResponseWriter.(http.Pusher); ok {
		return p.Push(target, opts)
	}
	return http.ErrNotSupported
}

// leave is called before the headers leave, and then does nothing any more.
func (w *response) leave(status int) {
	if w.left {
		return
	}
	w.left, w.status = true, status
	w.told = w.session.Ticket()
	// A start from now counts: the token replaces what could not be had or was
	// bad, and a write may have shared the ticket of the start.
	if w.told != 0 || w.EveryResponse {
		w.tell()
	}
}

// tell puts a token into the headers.
func (w *response) tell() {
	token := w.token()
	h := w.Header()
	if !w.NoHeader {
		h.Set(w.Options.Header, token)
		addVary(h, w.Options.Header)
	}
	if !w.NoCookie {
		c := *w.Cookie
		c.Value = token
		http.SetCookie(w.ResponseWriter, &c)
		addVary(h, "Cookie")
	}
	if h.Get("Cache-Control") == "" {
		h.Set("Cache-Control", "private")
	}
}

// token returns a token that covers what the handler wrote, or Now.
func (w *response) token() string {
	token, err := w.carrier.Token(w.req.Context(), w.session)
	if err != nil {
		w.Logger.WarnContext(w.req.Context(), "a response carries no token: whoever sends it back starts from now", "error", err)
		if f := w.Trace.Untold; f != nil {
			f(w.req, err)
		}
	}
	return token
}

// finish is called when the handler has returned or panics.
func (w *response) finish() {
	switch {
	case !w.left:
		w.leave(http.StatusOK) // the server sends them now
	case !w.hijacked && w.session.Ticket() != w.told:
		w.tooLate()
	}
}

// tooLate sends a token as a trailer if there can be one.
func (w *response) tooLate() {
	trailer := !w.NoHeader && w.trailers() && w.FlushError() == nil
	if trailer {
		w.Header().Set(http.TrailerPrefix+w.Options.Header, w.token())
	}
	w.late.Do(func() {
		w.Logger.WarnContext(w.req.Context(), "a handler wrote to the database after its headers had left: browsers get no token for that (this is logged once)",
			"method", w.req.Method, "path", w.req.URL.Path, "trailer", trailer)
	})
	if f := w.Trace.Late; f != nil {
		f(w.req, trailer)
	}
}

// trailers reports whether the response can have trailers: in HTTP/1 only a
// body in chunks can. The server decides for chunks when it is flushed before
// its end, unless the handler has announced a length.
func (w *response) trailers() bool {
	switch {
	case w.req.Method == http.MethodHead, w.status == http.StatusNoContent, w.status == http.StatusNotModified,
		w.status == http.StatusSwitchingProtocols:
		return false
	case w.req.ProtoMajor >= 2:
		return true
	}
	return w.req.ProtoAtLeast(1, 1) && w.Header().Get("Content-Length") == ""
}

// addVary adds a name to the header Vary unless it is there.
func addVary(h http.Header, name string) {
	there := func(v string) bool {
		return strings.TrimSpace(v) == "*" || strings.EqualFold(strings.TrimSpace(v), name)
	}
	for _, v := range h.Values("Vary") {
		if slices.ContainsFunc(strings.Split(v, ","), there) {
			return
		}
	}
	h.Add("Vary", name)
}
