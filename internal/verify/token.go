package verify

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
)

// errRolledBack says that a COMMIT was answered and nothing was committed.
var errRolledBack = errors.New("rolled back")

// token is what one process gives to another.
type token struct {
	text    string
	process int    // of the giver
	target  string // of the giver
	// at is when the giver began to ask for it.
	at int64
}

// mailbox holds the latest tokens.
type mailbox struct {
	slots [8]atomic.Pointer[token]
	next  atomic.Uint32
}

func (m *mailbox) put(t *token) { m.slots[m.next.Add(1)%uint32(len(m.slots))].Store(t) }

// passToken gives a token, or takes one that another process gave.
func (c *client) passToken(ctx context.Context) {
	t := c.r.mail.slots[c.rng.IntN(len(c.r.mail.slots))].Load()
	if t == nil || t.process == c.process || c.rng.IntN(3) == 0 {
		c.give(ctx)
		return
	}
	op := c.begin("", KindTake, "")
	op.token = t
	if _, err := c.conn.PgConn().Exec(ctx, "SET pgroute.token = '"+t.text+"'").ReadAll(); err != nil {
		op.fail(err, Failed)
	} else {
		op.Outcome = OK
	}
	c.finish(op)
}

func (c *client) give(ctx context.Context) {
	op := c.begin("", KindGive, "")
	results, err := c.conn.PgConn().Exec(ctx, "SHOW pgroute.token").ReadAll()
	if err == nil && (len(results) != 1 || len(results[0].Rows) != 1) {
		err = fmt.Errorf("SHOW pgroute.token: %d results", len(results))
	}
	if err != nil {
		op.fail(err, Failed)
		c.finish(op)
		return
	}
	op.Outcome = OK
	op.token = &token{text: string(results[0].Rows[0][0]), process: c.process, target: c.target.Name, at: int64(op.Start)}
	c.finish(op)
	c.r.mail.put(op.token)
}
