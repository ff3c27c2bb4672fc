package soak_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pgroute/pgroute/internal/cluster"
)

// client is one of many, with what it knows of its own session.
type client struct {
	s    *soak
	id   int
	user int
	rnd  *rand.Rand
	conn conn

	// start is what the session began with, cur what is in force now, and kept
	// what of it stays when the transaction commits.
	start, cur, kept map[string]string
	// given are the settings of the startup packet. RESET takes back to them,
	// which a shared backend does not know: inside of a transaction the proxy
	// leaves what the server has, so that the clients do not ask for it there.
	given        map[string]bool
	prepared     map[string]string // name → what it returns for 7
	dropped      []string          // names that were closed
	temp         map[string]string // temporary table → its content
	ear          *ear              // while it listens
	locked       int               // the session lock that it holds, -1 if none
	n            int               // of its row in ledger
	inTx, pinned bool
	serial       int // makes values that only this client has

	history []string
	since   atomic.Int64 // when the running statement began, 0 if none runs
	doing   atomic.Pointer[string]
	steps   atomic.Int64
}

// remembered bounds a client's history.
const remembered = 80

func (c *client) note(format string, args ...any) {
	if len(c.history) >= remembered {
		c.history = append(c.history[:0], c.history[remembered/2:]...)
	}
	c.history = append(c.history, strings.ReplaceAll(fmt.Sprintf(format, args...), settingsSQL, "(look at the settings)"))
}

// fail ends the test with the client's history, and the client.
func (c *client) fail(format string, args ...any) {
	c.s.fail(c, fmt.Sprintf(format, args...))
	runtime.Goexit()
}

// begun and done bracket whatever waits for the proxy.
func (c *client) begun(format string, args ...any) {
	c.note(format, args...)
	doing := c.history[len(c.history)-1]
	c.doing.Store(&doing)
	c.since.Store(time.Now().UnixNano())
}

func (c *client) done(result string, err error) {
	c.since.Store(0)
	if err != nil {
		result = err.Error()
	}
	if len(result) > 300 {
		result = result[:300] + "…"
	}
	c.note("    %s", result)
	if c.s.ctx.Err() != nil {
		runtime.Goexit() // the test is over
	}
	if err != nil && code(err) == "" {
		c.fail("the connection: %v", err)
	}
}

// want judges an answer's SQLSTATE. No state but the wanted one is right.
func (c *client) want(sql, state string, err error) {
	if got := code(err); got != state {
		c.fail("%s: SQLSTATE %q, want %q: %v", sql, got, state, err)
	}
}

// try runs a statement as a Query or with the unnamed statement, and returns
// the error for the caller to judge.
func (c *client) try(sql string) (answer, error) {
	extended := c.rnd.IntN(3) == 0 && !strings.Contains(sql, ";")
	var a answer
	var err error
	if extended {
		c.begun("P %s", sql)
		a, err = c.conn.params(c.s.ctx, sql)
	} else {
		c.begun("Q %s", sql)
		a, err = c.conn.simple(c.s.ctx, sql)
	}
	c.done(fmt.Sprintf("%s %q", a.tag, a.rows), err)
	return a, err
}

func (c *client) exec(format string, args ...any) answer {
	sql := fmt.Sprintf(format, args...)
	a, err := c.try(sql)
	c.want(sql, "", err)
	return a
}

// refused runs a statement that must fail.
func (c *client) refused(state, sql string) {
	_, err := c.try(sql)
	c.want(sql, state, err)
}

// is demands the only row.
func (c *client) is(sql, want string) {
	if got := c.exec("%s", sql).one(); got != want {
		c.fail("%s\n  gives %s\n  want  %s", sql, got, want)
	}
}

// run is the life of a client. Its connection is closed by leave, which the
// caller defers.
func (c *client) run() {
	c.connect()
	for c.s.going() {
		c.check()
		c.step()
		c.check()
		c.steps.Add(1)
	}
	if c.pinned && c.rnd.IntN(2) == 0 {
		c.discard()
	}
}

// leave ends the connection, in one of the ways that clients have.
func (c *client) leave() {
	if c.conn == nil {
		return
	}
	c.giveUp()
	if c.rnd.IntN(2) == 0 {
		c.conn.drop()
	} else {
		c.conn.leave(c.s.ctx)
	}
}

// giveUp takes back what others believe of the client, before it leaves.
func (c *client) giveUp() {
	c.s.board.close(c.id)
	c.ear = nil
	if c.locked >= 0 {
		c.s.locks.given(c.locked)
		c.locked = -1
	}
}

// connect opens a connection; what it begins with is known then.
func (c *client) connect() {
	c.start = maps.Clone(c.s.lab.base[c.user%users])
	params := map[string]string{"application_name": c.unique()}
	if c.rnd.IntN(3) == 0 {
		params["timezone"] = zones[c.rnd.IntN(len(zones))]
		params["search_path"] = fmt.Sprintf("w%d, public", c.rnd.IntN(places))
	}
	c.given = map[string]bool{"app.tenant": true}
	for name, value := range params {
		c.start[name], c.given[name] = value, true
	}
	if c.rnd.IntN(4) == 0 {
		tenant := fmt.Sprintf("t%d", c.rnd.IntN(tenants))
		params["options"] = "-c app.tenant=" + tenant
		c.start["app.tenant"] = tenant
	}
	c.forgetAll()
	c.begun("connect as %s with %v", user(c.user), params)
	var err error
	if c.id%2 == 0 {
		c.conn, err = openDriver(c.s.ctx, "postgres://"+user(c.user)+"@"+c.s.lab.addr+"/"+cluster.AppDatabase+"?sslmode=disable&connect_timeout=300", params, c.heard)
	} else {
		c.conn, err = openRaw(c.s.ctx, c.s.lab.addr, user(c.user), cluster.AppDatabase, params, c.rnd, c.heard)
	}
	c.done("connected", err)
	c.want("connect", "", err)
}

// forgetAll is what a new session knows.
func (c *client) forgetAll() {
	c.cur, c.kept = maps.Clone(c.start), maps.Clone(c.start)
	c.prepared, c.temp = map[string]string{}, map[string]string{}
	c.dropped = c.dropped[:0]
	c.inTx, c.pinned, c.locked = false, false, -1
}

// unique is a value that no other client ever has.
func (c *client) unique() string {
	c.serial++
	return fmt.Sprintf("c%d.%d", c.id, c.serial)
}

// heard takes a notification.
func (c *client) heard(channelName, payload string) {
	c.note("    notified on %s: %s", channelName, payload)
	wrong := ""
	switch {
	case c.ear == nil:
		wrong = "it does not listen"
	case channelName != channel(c.id):
		wrong = "it does not listen to that channel"
	default:
		wrong = c.ear.hear(payload)
	}
	if wrong != "" {
		c.fail("a notification on %s, %q: %s", channelName, payload, wrong)
	}
}

var errStalled = errors.New("no progress")

// stalled reports whether the client has waited for longer than it may.
func (c *client) stalled(now time.Time) error {
	if since := c.since.Load(); since != 0 && now.Sub(time.Unix(0, since)) > *stallFlag {
		return fmt.Errorf("client %d: %w for %v: %s", c.id, errStalled, *stallFlag, *c.doing.Load())
	}
	return nil
}
