package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/pgroute/pgroute/examples/booking/internal/registry"
	"github.com/pgroute/pgroute/examples/booking/internal/store"
)

// problem is an error that the client is told.
type problem struct {
	status  int
	code    string
	message string
}

func (p *problem) Error() string { return p.message }

func fail(status int, code, format string, args ...any) error {
	return &problem{status, code, fmt.Sprintf(format, args...)}
}

// problems are what a client is told of the errors of other packages. The
// first that matches counts.
var problems = []struct {
	err    error
	status int
	code   string
}{
	{store.ErrBadToken, http.StatusBadRequest, "bad_token"},
	{store.ErrNoSeat, http.StatusNotFound, "no_such_seat"},
	{store.ErrNoSlot, http.StatusNotFound, "no_such_slot"},
	{store.ErrNoRoom, http.StatusNotFound, "no_such_room"},
	{store.ErrNoBooking, http.StatusNotFound, "no_such_booking"},
	{store.ErrSeatTaken, http.StatusConflict, "seat_taken"},
	{store.ErrCancelled, http.StatusConflict, "cancelled"},
	{store.ErrPast, http.StatusUnprocessableEntity, "in_the_past"},
	{store.ErrKeyReused, http.StatusUnprocessableEntity, "key_reused"},
	{registry.ErrInvalid, http.StatusBadRequest, "bad_config"},
	{registry.ErrLost, http.StatusServiceUnavailable, "registry_lost"},
	{store.ErrNotFresh, http.StatusServiceUnavailable, "not_fresh"},
	{store.ErrUnavailable, http.StatusServiceUnavailable, "unavailable"},
}

// refuse tells the client what is wrong. What is not the client's business
// goes to the log only.
func (a *API) refuse(w http.ResponseWriter, r *http.Request, err error) {
	var p *problem
	if !errors.As(err, &p) {
		p = &problem{http.StatusInternalServerError, "internal", "something went wrong"}
		for _, known := range problems {
			if errors.Is(err, known.err) {
				p = &problem{known.status, known.code, known.err.Error()}
				break
			}
		}
		if p.code == "bad_token" || p.code == "bad_config" {
			p.message = oneLine(err)
		}
	}
	if p.status >= http.StatusInternalServerError && r.Context().Err() == nil || p.status == http.StatusInternalServerError {
		a.log.Warn("request failed", "method", r.Method, "path", r.URL.Path, "status", p.status, "error", oneLine(err))
	}
	if p.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	writeJSON(w, p.status, map[string]any{"error": map[string]string{"code": p.code, "message": p.message}})
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	// An error here means that the client has gone.
	_ = json.NewEncoder(w).Encode(body)
}

// route says who answered, and where the database did.
type route struct {
	Instance string  `json:"instance"`
	Via      string  `json:"via"`
	Node     string  `json:"node"`
	Role     string  `json:"role"`
	Reason   string  `json:"reason"`
	Level    string  `json:"level"`
	WaitedMS float64 `json:"waited_ms"`
}

func (a *API) route(r store.Route, level string) route {
	return route{a.cfg.Instance, a.cfg.Store.Way().Name(), r.Node, r.Role, r.Reason, level, float64(r.Waited) / float64(time.Millisecond)}
}

// show puts the route into the header too.
func (r route) show(w http.ResponseWriter) {
	w.Header().Set("X-Route", fmt.Sprintf("instance=%s node=%s role=%s reason=%s waited_ms=%.3f", r.Instance, r.Node, r.Role, r.Reason, r.WaitedMS))
}

// maxBody bounds the body of a request, bodyTimeout how long it may take to
// arrive.
const (
	maxBody     = 16 << 10
	bodyTimeout = 10 * time.Second
)

// readJSON reads the body of a request: one JSON object with known fields.
func readJSON(w http.ResponseWriter, r *http.Request, into any) error {
	conn := http.NewResponseController(w)
	_ = conn.SetReadDeadline(time.Now().Add(bodyTimeout))
	defer conn.SetReadDeadline(time.Time{})
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if err == nil {
		if _, err = d.Token(); errors.Is(err, io.EOF) {
			return nil
		} else if err == nil {
			err = errors.New("there is something after the object")
		}
	}
	var long *http.MaxBytesError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &long):
		return fail(http.StatusRequestEntityTooLarge, "too_long", "the body is longer than %d bytes", maxBody)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fail(http.StatusRequestTimeout, "too_slow", "the body did not arrive within %s", bodyTimeout)
	case errors.As(err, &kind) && kind.Field != "":
		return fail(http.StatusBadRequest, "bad_json", "%s must be %s, not %s", kind.Field, jsonName(kind.Type.Kind().String()), kind.Value)
	case errors.Is(err, io.EOF):
		return fail(http.StatusBadRequest, "bad_json", "the body is empty")
	}
	return fail(http.StatusBadRequest, "bad_json", "the body is not what is expected: %s", strings.TrimPrefix(oneLine(err), "json: "))
}

// jsonName is what JSON calls a kind of Go's.
func jsonName(kind string) string {
	switch {
	case strings.HasPrefix(kind, "int"):
		return "an integer"
	case kind == "bool":
		return "true or false"
	case kind == "string", kind == "ptr":
		return "a string"
	}
	return "an object"
}
