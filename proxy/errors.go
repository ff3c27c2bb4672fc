package proxy

import (
	"errors"

	"github.com/pgroute/pgroute/proxy/internal/backend"
	"github.com/pgroute/pgroute/router"
)

// clientError is an error that a client is told as PostgreSQL tells its own.
type clientError struct {
	Code, Message, Detail, Hint string
}

func (e *clientError) Error() string {
	if e.Detail != "" {
		return e.Message + ": " + e.Detail
	}
	return e.Message
}

// SQLState returns the SQLSTATE.
func (e *clientError) SQLState() string { return e.Code }

// fromRouter passes on why a statement runs nowhere.
func fromRouter(err error) error {
	if e, ok := errors.AsType[*router.RouteError](err); ok {
		return &clientError{Code: e.Code, Message: e.Message, Detail: e.Detail}
	}
	return err
}

// fromServer passes a server's own words on.
func fromServer(err error) error {
	var se *backend.ServerError
	if errors.As(err, &se) {
		return &clientError{Code: se.Code, Message: se.Message, Detail: se.Detail, Hint: se.Hint}
	}
	if e := new(backend.SecurityError); errors.As(err, &e) {
		return &clientError{Code: e.SQLState(), Message: "pgroute cannot reach the database as server_sslmode wants it", Detail: err.Error()}
	}
	return err
}
