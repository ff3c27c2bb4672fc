package backend

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgroute/pgroute/proxy/internal/handshake"
)

// Show asks the server for one setting as this login has it. name is sent as it
// is. After an error h.Conn is in an unknown state and must be closed.
func Show(ctx context.Context, h *Hello, name string) (string, error) {
	release := handshake.Guard(ctx, h.Conn, time.Time{})
	value, err := h.ask("SHOW " + name)
	release()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		return "", fmt.Errorf("ask the server for %s: %w", name, err)
	}
	return value, nil
}

// ask returns the one value that sql yields, "" for NULL.
func (h *Hello) ask(sql string) (value string, err error) {
	query, err := (&pgproto3.Query{String: sql}).Encode(nil)
	if err != nil {
		return "", err
	}
	if _, err = h.Conn.Write(query); err != nil {
		return "", err
	}
	known := false
	buf := make([]byte, 1024)
	for range maxMessages {
		typ, body, err := handshake.ReadMessage(h.Conn, buf, maxMessage)
		switch {
		case errors.Is(err, io.EOF):
			return "", io.ErrUnexpectedEOF
		case err != nil:
			return "", err
		}
		switch typ {
		case 'D':
			var row pgproto3.DataRow
			if err = row.Decode(body); err != nil {
				return "", fmt.Errorf("malformed DataRow: %w", err)
			}
			if len(row.Values) != 1 || known {
				return "", errors.New("not one value")
			}
			value, known = string(row.Values[0]), true
		case 'E':
			return "", serverError(body)
		case 'Z':
			if !known {
				return "", errors.New("no value")
			}
			return value, nil
		}
	}
	return "", errors.New("the server does not come to an end")
}
