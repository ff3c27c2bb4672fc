package soak_test

import (
	"fmt"
)

// natural reports whether the client ends by itself what binds it. DISCARD ALL
// ends everything else.
func (c *client) natural() bool {
	c.pinned = c.pinned || *pinsFlag != "natural"
	return !c.pinned
}

// temporary makes temporary tables whose names others use too; one of them
// hides a table that everybody has.
func (c *client) temporary() {
	if !c.s.ddl() {
		return
	}
	name := []string{"tmp_a", "tmp_b", "shadow"}[c.rnd.IntN(3)]
	v := c.unique()
	if c.rnd.IntN(2) == 0 {
		c.exec("create temp table %s (who text)", name)
		c.exec("insert into %s values ('%s')", name, v)
	} else {
		c.exec("create temp table %s as select '%s'::text as who", name, v)
	}
	c.exec("grant all on pg_temp.%s to public", name) // it may put on a hat
	c.temp[name] = v
	c.some()
	if c.rnd.IntN(2) == 0 {
		v = c.unique()
		c.exec("update %s set who = '%s'", name, v)
		c.temp[name] = v
		c.some()
	}
	if _, exists := c.temp[name]; exists && c.natural() {
		// Only its owner may drop it, and the client may wear a hat.
		c.exec("reset role")
		c.put("role", user(c.user), false)
		c.exec("drop table pg_temp.%s", name)
		delete(c.temp, name)
	}
}

// keys is how many advisory locks there are.
const keys = 10

// lock holds a session lock, alone.
func (c *client) lock() {
	key := c.rnd.IntN(keys)
	if c.rnd.IntN(2) == 0 {
		c.exec("select pg_advisory_lock(%d)", key)
	} else if c.exec("select pg_try_advisory_lock(%d)", key).one() != "t" {
		c.natural()
		return
	}
	c.granted(key)
	c.locked = key
	c.some()
	if c.locked >= 0 && c.natural() {
		c.unlocked()
		c.is(fmt.Sprintf("select pg_advisory_unlock(%d)", key), "t")
	}
}

func (c *client) granted(key int) {
	if other := c.s.locks.granted(key, c.id); other >= 0 {
		c.fail("it was granted the lock %d, which client %d holds", key, other)
	}
}

// unlocked says that the session lock is about to be given up.
func (c *client) unlocked() {
	if c.locked >= 0 {
		c.s.locks.given(c.locked)
		c.locked = -1
	}
}

// listen listens for a while.
func (c *client) listen() {
	if c.ear != nil {
		return
	}
	c.ear = &ear{sent: map[string]bool{}, heard: map[string]bool{}}
	c.exec("listen %s", channel(c.id))
	c.ear = c.s.board.listen(c.id)
	for range 1 + c.rnd.IntN(3) {
		ear, payload := c.s.board.send(c.id, c.id)
		c.exec("notify %s, '%s'", channel(c.id), payload)
		ear.acknowledged(payload)
	}
	c.some()
	if c.natural() {
		c.endListen()
		c.exec("unlisten %s", channel(c.id))
		c.ear = nil
	}
}

// endListen waits for what has to come. The caller ends listening.
func (c *client) endListen() {
	if c.ear == nil {
		return
	}
	c.s.board.close(c.id)
	for {
		payload := c.ear.missing()
		if payload == "" {
			return
		}
		c.begun("wait for %q", payload)
		err := c.conn.wait(c.s.ctx)
		c.done("", err)
	}
}

// holdCursor uses a cursor that outlives its transaction.
func (c *client) holdCursor() {
	v := c.unique()
	c.exec("declare held cursor with hold for select '%s' || g from generate_series(1, 3) g", v)
	c.is("fetch held", v+"1")
	c.some()
	c.is("fetch held", v+"2")
	if c.natural() {
		c.exec("close held")
	}
}

// sqlPrepare uses PREPARE, whose names are those of the protocol's statements.
func (c *client) sqlPrepare() {
	v := c.unique()
	c.exec("prepare mine (int) as select $1 + %d, '%s'", c.id, v)
	c.is("execute mine (5)", fmt.Sprintf("%d|%s", c.id+5, v))
	c.some()
	c.is("execute mine (6)", fmt.Sprintf("%d|%s", c.id+6, v))
	if c.natural() {
		c.exec("deallocate mine")
	}
}

// configure sets by function, by DO, and by LOAD's relatives, which nobody can
// follow.
func (c *client) configure() {
	v := c.unique()
	switch c.rnd.IntN(3) {
	case 0:
		c.is(fmt.Sprintf("select set_config('app.note', '%s', false)", v), v)
	case 1:
		c.exec("do $$ begin perform set_config('app.note', '%s', false); end $$", v)
	default:
		c.is(fmt.Sprintf("select set_config(n, '%s', false) from (values ('app.note')) x (n)", v), v)
	}
	c.put("app.note", v, false)
	c.pinned = true
	c.some()
}

// vanish ends the connection in the middle of something, and comes back as
// somebody new.
func (c *client) vanish() {
	switch c.rnd.IntN(8) {
	case 0: // idle
	case 1: // in a transaction that has written
		c.exec("begin")
		c.exec("update ledger set n = n + 1000 where client = %d", c.id)
	case 2: // in a transaction that has set something and holds a lock
		c.exec("begin")
		c.exec("set local app.tenant = 't1'")
		c.exec("set app.note = 'vanished'")
		c.exec("select pg_try_advisory_xact_lock(%d)", keys+c.rnd.IntN(keys))
	case 3: // in the middle of a message
		c.note("half a message")
		_ = c.conn.half(c.s.ctx)
	case 4: // pinned
		c.exec("select pg_advisory_lock(%d)", 2*keys+c.id)
		c.exec("listen vanished")
		c.ear = nil
	case 5: // with a temporary table
		if c.s.ddl() {
			c.exec("create temp table tmp_a as select 'vanished' as who")
		}
	case 6: // in a failed transaction
		c.exec("begin")
		c.exec("set application_name = 'vanished'")
		c.refused("22012", "select 1 / 0")
	case 7: // while something runs
		c.exec("begin")
		c.exec("update ledger set n = n + 1000 where client = %d", c.id)
		c.note("and leave while a statement runs")
		_ = c.conn.half(c.s.ctx)
	}
	c.giveUp()
	c.note("vanish")
	c.conn.drop()
	c.connect()
}
