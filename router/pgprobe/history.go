package pgprobe

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgroute/pgroute/lsn"
)

// historyRetry is how long an unreadable history is not asked for again on
// the same connection: the server logs every refusal.
const historyRetry = time.Minute

// history is what a probe knows of the past of the primary's timeline. While a
// connection lasts the primary stays on one timeline, or a standby becomes a
// primary and begins one; its past never changes, so it is read once.
type history struct {
	timeline uint32
	known    bool
	begin    lsn.LSN
	past     []lsn.Switch
	asked    time.Time
}

// timelineHistory returns the history of timeline, from memory if it can. That
// the role may not read it is not an error.
func (p *probe) timelineHistory(timeline uint32) (history, error) {
	if timeline == 1 {
		return history{timeline: 1, known: true}, nil
	}
	h := &p.history
	if h.timeline == timeline && (h.known || time.Since(h.asked) < historyRetry) {
		return *h, nil
	}
	*h = history{timeline: timeline, asked: time.Now()}
	text, err := p.historyText(timeline)
	if err == nil && text != nil {
		err = h.parse(*text)
	}
	if err != nil {
		if !isStatementError(err) && !errors.Is(err, errHistory) {
			return history{}, err
		}
		p.cfg.Logger.Warn("timeline history is unreadable",
			slog.String("node", p.addr.Name), slog.Uint64("timeline", uint64(timeline)), slog.Any("error", err))
	}
	return *h, nil
}

// errHistory is wrapped by what is wrong with a history that was read.
var errHistory = errors.New("malformed timeline history")

func (h *history) parse(text string) error {
	past, err := lsn.ParseHistoryFile(text)
	if err != nil {
		return fmt.Errorf("%w: %w", errHistory, err)
	}
	if len(past) == 0 {
		return fmt.Errorf("%w: it is empty", errHistory)
	}
	last := past[len(past)-1]
	if last.Timeline >= h.timeline {
		return fmt.Errorf("%w: timeline %d follows %d", errHistory, h.timeline, last.Timeline)
	}
	h.known, h.begin, h.past = true, last.End, past
	return nil
}

// historyWaysSQL asks which ways to the history the role has: the lookup
// function, whatever integer type it takes, and pg_read_file.
const historyWaysSQL = `SELECT
 EXISTS (SELECT FROM pg_catalog.pg_proc AS f
  JOIN pg_catalog.pg_namespace AS n ON n.oid = f.pronamespace
  WHERE n.nspname = 'pgroute' AND f.proname = 'timeline_history' AND f.pronargs = 1
   AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
   AND pg_catalog.has_function_privilege(f.oid, 'EXECUTE')),
 pg_catalog.has_function_privilege('pg_catalog.pg_read_file(text)', 'EXECUTE')`

// historyText returns the text of a timeline's history file, nil if the role
// may not read it.
func (p *probe) historyText(timeline uint32) (*string, error) {
	rows, err := p.query(historyWaysSQL)
	if err != nil {
		return nil, err
	}
	f := fields{rows: rows}
	lookup, file := f.bool(0, 0), f.bool(0, 1)
	if f.err != nil {
		return nil, f.err
	}
	var refused error
	if lookup {
		text, err := p.historyQuery(fmt.Sprintf("SELECT pgroute.timeline_history(%d)", timeline))
		if text != nil || (err != nil && !isStatementError(err)) {
			return text, err
		}
		refused = err
	}
	if file {
		return p.historyQuery(fmt.Sprintf("SELECT pg_catalog.pg_read_file('pg_wal/%08X.history')", timeline))
	}
	return nil, refused
}

func (p *probe) historyQuery(sql string) (*string, error) {
	rows, err := p.query(sql)
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	f := fields{rows: rows}
	text := f.nullable(0, 0)
	return text, f.err
}

// isStatementError reports whether the server refused a statement and kept
// the connection.
func isStatementError(err error) bool {
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && pgErr.SeverityUnlocalized == "ERROR"
}
