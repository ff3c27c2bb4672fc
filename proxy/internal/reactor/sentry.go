package reactor

import (
	"time"

	"github.com/pgroute/pgroute/internal/sqlstate"
	"github.com/pgroute/pgroute/proxy/internal/wire"
)

// sentry looks at all clients now and then, if one of the timeouts for what
// clients do is set. A cycle costs nothing for it: what a look finds is
// compared with what the last one has found. So a timeout is late by up to half
// of itself, and by 2 s at most, and never early.
type sentry struct {
	every time.Duration // 0: no timeout is set
	next  time.Time
}

// sighting is what the last look has found of a client, and since when.
type sighting struct {
	doing    doing
	canceled bool // a cancel request was sent since
	cycle    uint64
	since    time.Time
}

// doing is what a client does.
type doing uint8

const (
	doingOther doing = iota // it waits for us
	doingQuery              // a backend works for it
	doingTransaction
	doingNothing
)

const minLook, maxLook = 10 * time.Millisecond, time.Second

// cancelWait is how long a statement has to end after its cancel request.
const cancelWait = 5 * time.Second

func (w *sentry) keepPace(x *WatchLimits) {
	for _, d := range []time.Duration{x.Query, x.IdleTransaction, x.ClientIdle} {
		if d <= 0 {
			continue
		}
		d = min(max(d/4, minLook), maxLook)
		if w.every == 0 || d < w.every {
			w.every = d
		}
	}
}

// look finds the clients whose time is over.
func (l *Loop) look() {
	l.sentry.next = l.env.Now.Add(l.sentry.every)
	for i := range l.slots {
		if c := l.slots[i].c; c != nil && !c.closed {
			l.lookAt(c)
		}
	}
}

func (l *Loop) lookAt(c *Client) {
	now := sighting{doing: doingOther, cycle: c.m.Cycles(), since: l.env.Now}
	switch {
	case len(c.in) > 0 && c.holds():
	case c.m.Idle() && c.m.InTransaction():
		now.doing = doingTransaction
	case c.m.Idle():
		now.doing = doingNothing
	case c.m.Running() && c.server != nil:
		now.doing = doingQuery
	}
	if now.doing != c.seen.doing || now.cycle != c.seen.cycle {
		c.seen = now
		return
	}
	x, d := &c.tenant.limit.Watch, l.env.Now.Sub(c.seen.since)
	over := func(limit time.Duration) bool { return limit > 0 && d >= limit }
	switch {
	case c.seen.doing == doingQuery && c.seen.canceled:
		if d >= cancelWait {
			l.expel(c, sqlstate.QueryCanceled, "canceling statement due to query_timeout")
		}
	case c.seen.doing == doingQuery && over(x.Query):
		c.seen.canceled, c.seen.since = true, l.env.Now
		l.cancel(c, nil)
	case c.seen.doing == doingTransaction && over(x.IdleTransaction):
		l.expel(c, sqlstate.IdleInTransactionTimeout, "terminating connection due to idle-in-transaction timeout")
	case c.seen.doing == doingNothing && over(x.ClientIdle):
		l.expel(c, sqlstate.IdleSessionTimeout, "terminating connection due to idle-session timeout")
	}
}

// expel ends a client and says why, unless it has the beginning of a message
// that will not end.
func (l *Loop) expel(c *Client, code, message string) {
	if s := c.server; s == nil || s.Remain == 0 || s.DropRemain {
		l.send(&c.sock, wire.AppendReport(nil, &wire.Report{Severity: "FATAL", Code: code, Message: message}))
	}
	l.gone(c)
}
