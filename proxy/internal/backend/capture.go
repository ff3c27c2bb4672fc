package backend

import (
	"context"
	"fmt"
	"time"

	"github.com/pgroute/pgroute/proxy/internal/handshake"
)

// Capture asks for the number of the transaction that is open, NULL if it has
// none, and for the insert position: two FunctionCalls without arguments that
// want binary results. Each is answered with a ReadyForQuery of its own, and
// neither touches the unnamed statement, a portal, or pg_stat_statements.
var Capture = append(functionCall(xidOID), functionCall(insertOID)...)

// Flushed asks for the flush position in the same way.
var Flushed = functionCall(flushOID)

// The numbers of pg_current_xact_id_if_assigned, pg_current_wal_insert_lsn and
// pg_current_wal_flush_lsn, the same in every version (pg_proc.dat).
const (
	xidOID    = 5060
	insertOID = 2852
	flushOID  = 3330
)

func functionCall(oid uint16) []byte {
	return []byte{'F', 0, 0, 0, 14, 0, 0, byte(oid >> 8), byte(oid), 0, 0, 0, 0, 0, 1}
}

// captureSQL asks whether everybody may call them, for a session may take on any
// role. A call that is refused would fail the client's transaction.
var captureSQL = fmt.Sprintf("SELECT pg_catalog.bool_and(coalesce(f OPERATOR(pg_catalog.=) want AND pg_catalog.has_function_privilege('public', f, 'execute'), false))"+
	" FROM (VALUES (pg_catalog.to_regprocedure('pg_catalog.pg_current_xact_id_if_assigned()')::pg_catalog.oid, %d::pg_catalog.oid),"+
	" (pg_catalog.to_regprocedure('pg_catalog.pg_current_wal_insert_lsn()')::pg_catalog.oid, %d::pg_catalog.oid),"+
	" (pg_catalog.to_regprocedure('pg_catalog.pg_current_wal_flush_lsn()')::pg_catalog.oid, %d::pg_catalog.oid)) AS c(f, want)", xidOID, insertOID, flushOID)

// MayCapture finds out whether Capture and Flushed may be sent to a primary, and notes it in
// h. After an error h.Conn is in an unknown state and must be closed.
func MayCapture(ctx context.Context, h *Hello) error {
	release := handshake.Guard(ctx, h.Conn, time.Time{})
	value, err := h.ask(captureSQL)
	release()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("ask the server whether transactions can be followed: %w", err)
	}
	h.Captures = value == "t"
	return nil
}
