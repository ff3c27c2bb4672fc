package backend

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgroute/pgroute/lsn"
	"github.com/pgroute/pgroute/proxy/internal/handshake"
)

// identifySQL is written so that no search_path can put somebody else's
// function or operator in. Every role may run it.
const identifySQL = "SELECT s.system_identifier, pg_catalog.pg_is_in_recovery(), " +
	"(pg_catalog.date_part('epoch', pg_catalog.pg_postmaster_start_time()) OPERATOR(pg_catalog.*) 1000000::pg_catalog.float8)::pg_catalog.int8, " +
	"pg_catalog.pg_last_wal_replay_lsn() FROM pg_catalog.pg_control_system() s"

// Identify asks the server who it is and fills in the rest of h, with one
// query. After an error h.Conn is in an unknown state and must be closed.
func Identify(ctx context.Context, h *Hello) error {
	release := handshake.Guard(ctx, h.Conn, time.Time{})
	err := h.identify()
	release()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("ask the server who it is: %w", err)
	}
	return nil
}

func (h *Hello) identify() error {
	query, err := (&pgproto3.Query{String: identifySQL}).Encode(nil)
	if err != nil {
		return err
	}
	if _, err = h.Conn.Write(query); err != nil {
		return err
	}
	var refused error
	rows := 0
	buf := make([]byte, 1024)
	for range maxMessages {
		typ, body, err := handshake.ReadMessage(h.Conn, buf, maxMessage)
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		switch typ {
		case 'D':
			if rows++; rows > 1 {
				return errors.New("more than one row")
			}
			var row pgproto3.DataRow
			if err = row.Decode(body); err != nil {
				return fmt.Errorf("malformed DataRow: %w", err)
			}
			if err = h.fill(row.Values); err != nil {
				return err
			}
		case 'E':
			refused = serverError(body)
		case 'S':
			// A reload of the server's configuration can come at any time.
			if err = h.update(body); err != nil {
				return err
			}
		case 'T', 'C', 'N', 'A':
		case 'Z':
			switch {
			case refused != nil:
				return refused
			case rows != 1:
				return errors.New("no row")
			case len(body) != 1 || body[0] != 'I':
				return fmt.Errorf("the server is ready in state %q", body)
			}
			return nil
		default:
			return fmt.Errorf("unexpected message %q", typ)
		}
		if refused != nil && isFatal(refused) {
			return refused
		}
	}
	return errors.New("the server does not come to an end")
}

// fill parses the one row.
func (h *Hello) fill(values [][]byte) error {
	if len(values) != 4 {
		return fmt.Errorf("%d columns instead of 4", len(values))
	}
	// system_identifier is an unsigned number in a signed column.
	system, err := strconv.ParseInt(string(values[0]), 10, 64)
	if err != nil || system == 0 {
		return fmt.Errorf("malformed system identifier %q", values[0])
	}
	recovery := string(values[1])
	if recovery != "t" && recovery != "f" {
		return fmt.Errorf("malformed answer of pg_is_in_recovery %q", values[1])
	}
	start, err := strconv.ParseInt(string(values[2]), 10, 64)
	if err != nil || start <= 0 {
		return fmt.Errorf("malformed start time %q", values[2])
	}
	var replay lsn.LSN
	// A promoted server keeps the position at which its replay ended.
	if recovery == "t" && values[3] != nil {
		if replay, err = lsn.Parse(string(values[3])); err != nil {
			return fmt.Errorf("replay position: %w", err)
		}
	}
	h.SystemID, h.InRecovery, h.PostmasterStart, h.Replay = uint64(system), recovery == "t", start, replay
	return nil
}

// update replaces a reported setting.
func (h *Hello) update(body []byte) error {
	var p pgproto3.ParameterStatus
	if err := p.Decode(body); err != nil {
		return fmt.Errorf("malformed ParameterStatus: %w", err)
	}
	for i := range h.Params {
		if h.Params[i].Name == p.Name {
			h.Params[i].Value = p.Value
			return nil
		}
	}
	h.Params = append(h.Params, handshake.Param{Name: p.Name, Value: p.Value})
	return nil
}

// isFatal reports whether no ReadyForQuery follows an error.
func isFatal(err error) bool {
	e, ok := errors.AsType[*ServerError](err)
	return ok && (e.SeverityUnlocalized == "FATAL" || e.SeverityUnlocalized == "PANIC")
}
