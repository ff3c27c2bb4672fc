package verify

import (
	"context"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgroute/pgroute/internal/sqlstate"
)

// statementCompletionUnknown is PostgreSQL's 40003, the one of its class that
// says nothing of the outcome.
const statementCompletionUnknown = "40003"

// codeOf returns the SQLSTATE of err, empty if no server sent it.
func codeOf(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Code
	}
	return ""
}

// judge says what an error means for a write that had been sent: Failed only if
// the code leaves no doubt.
func judge(err error) Outcome {
	if err == nil {
		return OK
	}
	code := codeOf(err)
	switch {
	case errors.Is(err, errRolledBack):
		return Failed
	case code == "":
		// Whatever never left did not happen. That a connection is closed pgconn
		// also says when it wanted to read the answer, and then calls it safe.
		if pgconn.SafeToRetry(err) && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, pgconn.ErrConnClosed) {
			return Failed
		}
		return Unknown
	case code == sqlstate.CannotConnectNow, code == sqlstate.QueryCanceled:
		return Failed
	case code == statementCompletionUnknown:
		return Unknown
	}
	for _, class := range []string{"08", "57", "58", "XX"} {
		if strings.HasPrefix(code, class) {
			return Unknown
		}
	}
	return Failed
}

// fail notes how an operation ended that was not answered.
func (op *Op) fail(err error, outcome Outcome) {
	op.Outcome, op.SQLState, op.Err = outcome, codeOf(err), strings.Join(strings.Fields(err.Error()), " ")
}
