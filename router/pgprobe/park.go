package pgprobe

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgroute/pgroute/lsn"
	"github.com/pgroute/pgroute/router"
)

// waitForLSN is the first version that has WAIT FOR LSN.
const waitForLSN = 190000

// Park implements router.Parker, for servers from PostgreSQL 19 on. WAIT FOR
// LSN tells only that the position was reached, and does not look at
// timelines. So Replay's questions follow it in the same write, and are
// answered after it: what they say was read when the wait was over.
func (p *probe) Park(ctx context.Context, target lsn.LSN, timeout time.Duration) (router.Reading, error) {
	if err := p.beginWithin(ctx, timeout+p.cfg.CallTimeout); err != nil {
		return router.Reading{}, p.fail(ctx, "replay position", err)
	}
	r, err := p.park(target, timeout)
	if err != nil {
		return router.Reading{}, p.fail(ctx, "replay position", err)
	}
	p.end()
	return r, nil
}

func (p *probe) park(target lsn.LSN, timeout time.Duration) (router.Reading, error) {
	// NO_THROW: an error would be logged by the server each time.
	sql := fmt.Sprintf("WAIT FOR LSN '%s' WITH (MODE 'standby_replay', TIMEOUT '%dms', NO_THROW)", target, max(1, timeout.Milliseconds()))
	buf, err := (&pgproto3.Query{String: sql}).Encode(p.parkCall[:0])
	if err != nil {
		return router.Reading{}, fmt.Errorf("encode a query: %w", err)
	}
	p.parkCall = append(buf, p.replayCall...)
	if _, err := p.conn.Write(p.parkCall); err != nil {
		return router.Reading{}, err
	}
	if err := p.waited(); err != nil {
		return router.Reading{}, err
	}
	return p.replayed()
}

// waited reads the answer to WAIT FOR LSN. Which one it is (reached, timeout,
// not in recovery) follows from the reading behind it.
func (p *probe) waited() error {
	var failed error
	for {
		msg, err := p.frontend.Receive()
		if err != nil {
			// A server that ends the connection says why just before.
			return errors.Join(failed, err)
		}
		switch msg := msg.(type) {
		case *pgproto3.ErrorResponse:
			failed = pgconn.ErrorResponseToPgError(msg)
		case *pgproto3.ReadyForQuery:
			if failed == nil && msg.TxStatus != 'I' {
				failed = fmt.Errorf("monitor connection is in transaction state %q", msg.TxStatus)
			}
			return failed
		case *pgproto3.RowDescription, *pgproto3.DataRow, *pgproto3.CommandComplete,
			*pgproto3.NoticeResponse, *pgproto3.ParameterStatus, *pgproto3.NotificationResponse:
		default:
			return fmt.Errorf("unexpected %T in the answer to WAIT FOR LSN", msg)
		}
	}
}
