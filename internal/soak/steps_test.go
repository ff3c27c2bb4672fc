package soak_test

import (
	"context"
	"fmt"
	"time"
)

// step is something that a client does between two looks at itself.
type step struct {
	weight int
	do     func(*client)
}

// steps are those that need no connection of the client's own.
var steps = []step{
	{10, (*client).set}, {4, (*client).reset}, {1, (*client).resetAll},
	{8, (*client).prepare}, {4, (*client).unprepare},
	{8, (*client).write}, {4, (*client).readOthers},
	{10, (*client).transaction}, {3, (*client).readOnly}, {3, (*client).copies},
	{4, (*client).notify}, {3, (*client).several}, {4, (*client).unnamed},
}

// binding are those that keep a server connection for the client, or end its
// own connection.
var binding = []step{
	{4, (*client).temporary}, {4, (*client).lock}, {4, (*client).listen}, {2, (*client).holdCursor}, {2, (*client).sqlPrepare},
	{2, (*client).configure}, {3, (*client).canceled}, {3, (*client).vanish}, {1, (*client).discard},
}

func (c *client) choose(from []step) {
	sum := 0
	for _, s := range from {
		sum += s.weight
	}
	n := c.rnd.IntN(sum)
	for _, s := range from {
		if n -= s.weight; n < 0 {
			s.do(c)
			return
		}
	}
}

func (c *client) step() {
	if c.rnd.IntN(6) == 0 {
		c.choose(binding)
	} else {
		c.choose(steps)
	}
	if c.pinned {
		c.discard()
	}
}

// some does a few small steps, while something binds the client.
func (c *client) some() {
	c.check()
	for range c.rnd.IntN(3) {
		c.choose(steps)
		c.check()
	}
}

// discard is what pools of applications send between two users.
func (c *client) discard() {
	c.endListen()
	c.unlocked()
	c.exec("discard all")
	c.forgetAll()
}

// put notes that a setting has a new value; local says until when.
func (c *client) put(name, value string, local bool) {
	c.cur[name] = value
	if !local {
		c.kept[name] = value
	}
}

func (c *client) set() { c.setting(c.inTx && c.rnd.IntN(3) == 0) }

// setting sets something.
func (c *client) setting(local bool) {
	word := "set"
	if local {
		word = "set local"
	} else if c.rnd.IntN(4) == 0 {
		word = "set session"
	}
	switch c.rnd.IntN(9) {
	case 0:
		v := c.unique()
		c.exec("%s application_name = '%s'", word, v)
		c.put("application_name", v, local)
	case 1:
		v := fmt.Sprintf("w%d, public", c.rnd.IntN(places))
		c.exec("%s search_path to %s", word, v)
		c.put("search_path", v, local)
	case 2:
		v := zones[c.rnd.IntN(len(zones))]
		c.exec("%s time zone '%s'", word, v)
		c.put("timezone", v, local)
	case 3:
		c.dateStyle(word, local)
	case 4:
		v := fmt.Sprintf("%dkB", 1025+2*c.id+4000*c.rnd.IntN(3)) // odd: it stays in kB
		c.exec("%s work_mem = '%s'", word, v)
		c.put("work_mem", v, local)
	case 5:
		v := []string{"postgres", "iso_8601", "sql_standard"}[c.rnd.IntN(3)]
		c.exec("%s intervalstyle = %s", word, v)
		c.put("intervalstyle", v, local)
	case 6:
		v := fmt.Sprintf("t%d", c.rnd.IntN(tenants))
		c.exec("%s app.tenant = '%s'", word, v)
		c.put("app.tenant", v, local)
	case 7:
		v := c.unique() + " it''s"
		c.exec("%s app.note = '%s'", word, v)
		c.put("app.note", v[:len(v)-2]+"s", local)
	case 8:
		v := fmt.Sprintf("hat%d", c.rnd.IntN(hats))
		c.exec("%s role %s", word, v)
		c.put("role", v, local)
	}
}

// dateStyle sets the style, the order, or both: what is not named stays.
func (c *client) dateStyle(word string, local bool) {
	style, order := styles[c.rnd.IntN(len(styles))], orders[c.rnd.IntN(len(orders))]
	had := c.cur["datestyle"]
	hadOrder := had[len(had)-3:]
	switch c.rnd.IntN(3) {
	case 0:
		if style == "German" {
			style = "ISO" // German alone brings an order with it
		}
		c.exec("%s datestyle = %s", word, style)
		order = hadOrder
	case 1:
		c.exec("%s datestyle = '%s'", word, order)
		style = had[:len(had)-5]
	default:
		c.exec("%s datestyle = %s, %s", word, style, order)
	}
	c.put("datestyle", style+", "+order, local)
}

func (c *client) reset() {
	name := tracked[c.rnd.IntN(len(tracked))]
	if c.inTx && c.given[name] {
		return // see given
	}
	switch c.rnd.IntN(4) {
	case 0:
		c.exec("reset role")
		c.put("role", user(c.user), false)
		return
	case 1:
		c.exec("set %s to default", name)
	default:
		c.exec("reset %s", name)
	}
	c.put(name, c.start[name], false)
}

func (c *client) resetAll() {
	c.exec("reset all")
	for _, name := range tracked { // the role stays
		c.put(name, c.start[name], false)
	}
}

// prepare prepares a text under a name that other clients have too. Some texts
// are shared, some are not.
func (c *client) prepare() {
	name := fmt.Sprintf("p%d", c.rnd.IntN(6))
	if _, exists := c.prepared[name]; exists {
		c.unprepareName(name)
	}
	k := c.rnd.IntN(50)
	sql, want := fmt.Sprintf("select $1::int + %d", k), fmt.Sprint(7+k)
	switch c.rnd.IntN(3) {
	case 0:
		mine := c.unique()
		sql, want = fmt.Sprintf("select $1::int + %d, '%s'", k, mine), fmt.Sprintf("%d|%s", 7+k, mine)
	case 1:
		sql, want = fmt.Sprintf("select $1::int * 0 + count(*) from ledger where client = %d", c.id), "1"
	}
	c.begun("prepare %s as %s", name, sql)
	err := c.conn.prepare(c.s.ctx, name, sql)
	c.done("prepared", err)
	c.want(sql, "", err)
	c.prepared[name] = want
}

// unnamed prepares the unnamed statement and runs it later, when others have
// had its backend.
func (c *client) unnamed() {
	v := c.unique()
	c.begun("prepare the unnamed statement")
	err := c.conn.prepare(c.s.ctx, "", fmt.Sprintf("select $1::int * %d, '%s'", c.id, v))
	c.done("prepared", err)
	c.want("prepare", "", err)
	for i := range 1 + c.rnd.IntN(3) {
		c.begun("run the unnamed statement")
		a, err := c.conn.execute(c.s.ctx, "", fmt.Sprint(i))
		c.done(a.one(), err)
		c.want("run", "", err)
		if want := fmt.Sprintf("%d|%s", i*c.id, v); a.one() != want {
			c.fail("the unnamed statement gives %s, want %s", a.one(), want)
		}
	}
}

func (c *client) unprepare() {
	for name := range c.prepared {
		c.unprepareName(name)
		return
	}
}

func (c *client) unprepareName(name string) {
	c.begun("close %s", name)
	err := c.conn.forget(c.s.ctx, name)
	c.done("closed", err)
	c.want("close", "", err)
	delete(c.prepared, name)
	if c.dropped = append(c.dropped, name); len(c.dropped) > 10 {
		c.dropped = c.dropped[5:]
	}
}

// write writes the client's row. What it wrote is to be seen by all reads that
// begin from now on, everywhere.
func (c *client) write() {
	n := fmt.Sprint(c.n + 1)
	switch c.rnd.IntN(3) {
	case 0:
		c.is(fmt.Sprintf("update ledger set n = n + 1 where client = %d returning n", c.id), n)
	case 1:
		c.is(fmt.Sprintf("with w as (update ledger set n = %s where client = %d returning n) select n from w", n, c.id), n)
	default:
		c.exec("update ledger set n = %s where client = %d", n, c.id)
	}
	c.n++
	if !c.inTx {
		c.s.acked[c.id].Store(int64(c.n))
	}
}

// readOthers reads a row that somebody else writes: never less than what that
// client was told is written.
func (c *client) readOthers() {
	other := c.rnd.IntN(len(c.s.acked))
	least := c.s.acked[other].Load()
	a := c.exec("select n from ledger where client = %d", other)
	var got int64
	if _, err := fmt.Sscan(a.one(), &got); err != nil || got < least && !c.inTx {
		c.fail("client %d has written %d, read %s", other, least, a.one())
	}
}

// copies copies in and out.
func (c *client) copies() {
	const rows = 20
	data := ""
	for i := range rows {
		data += fmt.Sprintf("%d\t%d\n", c.id, i)
	}
	if c.rnd.IntN(4) == 0 && !c.inTx { // one that fails in the middle
		c.begun("copy in what is wrong")
		_, err := c.conn.copyIn(c.s.ctx, "copy copied from stdin", data+"wrong\n"+data)
		c.done("copied", err)
		c.want("copy", "22P02", err)
	}
	c.begun("copy in")
	a, err := c.conn.copyIn(c.s.ctx, "copy copied from stdin", data)
	c.done(a.tag, err)
	c.want("copy", "", err)
	c.begun("copy out")
	got, err := c.conn.copyOut(c.s.ctx, fmt.Sprintf("copy (select client, n from copied where client = %d order by n) to stdout", c.id))
	c.done(got, err)
	c.want("copy out", "", err)
	if got != data {
		c.fail("copied in %q, out %q", data, got)
	}
	c.is(fmt.Sprintf("with d as (delete from copied where client = %d returning 1) select count(*) from d", c.id), fmt.Sprint(rows))
}

// several sends more than one statement in one Query.
func (c *client) several() {
	v := c.unique()
	c.is(fmt.Sprintf("set application_name = '%s'; select current_setting('application_name'), %d", v, c.id), fmt.Sprintf("%s|%d", v, c.id))
	c.put("application_name", v, false)
	c.exec("select 1; select 2")
	c.pinned = true
}

// notify sends to somebody who listens.
func (c *client) notify() {
	to := c.rnd.IntN(len(c.s.acked))
	c.s.board.mu.Lock()
	for id := range c.s.board.open { // any of them
		to = id
		break
	}
	c.s.board.mu.Unlock()
	if c.inTx { // it is sent at the end, if that is a COMMIT
		return
	}
	ear, payload := c.s.board.send(to, c.id)
	if ear == nil {
		return
	}
	if c.rnd.IntN(2) == 0 {
		c.exec("notify %s, '%s'", channel(to), payload)
	} else {
		c.exec("select pg_notify('%s', '%s')", channel(to), payload)
	}
	ear.acknowledged(payload)
}

// canceled runs something long, and cancels it. A cancel request may come too
// late: the next statement may get it, if it is the client's own.
func (c *client) canceled() {
	sql := "select pg_sleep(300)"
	if c.rnd.IntN(2) == 0 {
		sql = "/* pgroute: primary */ " + sql
	}
	ctx, stop := context.WithCancel(c.s.ctx)
	ended := make(chan struct{})
	// stop ends it; waited for below.
	go c.cancelLoop(ctx, ended)
	_, err := c.try(sql)
	stop()
	<-ended
	c.want(sql, "57014", err)
	for range 10 {
		if _, err = c.try("select 'settled'"); err == nil {
			return
		}
		c.want("select 'settled'", "57014", err)
	}
	c.fail("ten statements in a row were cancelled")
}

func (c *client) cancelLoop(ctx context.Context, ended chan<- struct{}) {
	defer close(ended)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			c.s.cancels.Add(1)
			_ = c.conn.cancel(ctx)
		case <-ctx.Done():
			return
		}
	}
}
