package soak_test

import (
	"fmt"
	"maps"
)

// transaction is a transaction of a few steps, which ends in one of the ways
// that there are.
func (c *client) transaction() {
	if c.inTx {
		return
	}
	kept, n := maps.Clone(c.kept), c.n
	c.exec("%s", []string{"begin", "begin isolation level repeatable read", "begin read write"}[c.rnd.IntN(3)])
	c.inTx = true
	locked := -1
	if c.rnd.IntN(4) == 0 {
		locked = c.rnd.IntN(keys)
		if c.locked >= 0 {
			locked = c.locked // it has that one already
		}
		if c.exec("select pg_try_advisory_xact_lock(%d)", locked).one() != "t" || c.locked >= 0 {
			locked = -1
		} else {
			c.granted(locked)
		}
	}
	for range 1 + c.rnd.IntN(3) {
		switch c.rnd.IntN(8) {
		case 0, 1:
			c.set()
		case 2:
			c.reset()
		case 3:
			c.write()
		case 4:
			c.savepoint()
		case 5:
			c.cursor()
		case 6:
			c.prepare()
		case 7:
			c.copies()
		}
		c.check()
	}
	if locked >= 0 {
		c.s.locks.given(locked)
	}
	back := true
	switch c.rnd.IntN(6) {
	case 0:
		c.exec("rollback")
	case 1: // it fails, and COMMIT is answered with ROLLBACK
		c.refused("22012", "select 1 / 0")
		c.refused("25P02", "select 1")
		if tag := c.exec("commit").tag; tag != "ROLLBACK" {
			c.fail("the COMMIT of a failed transaction is answered %s", tag)
		}
	case 2: // the COMMIT itself fails
		v := 1000000*c.rnd.IntN(1000) + c.id
		c.exec("insert into singles values (%d), (%d)", v, v)
		c.refused("23505", "commit")
	default:
		c.exec("commit")
		back = false
	}
	c.inTx = false
	if back {
		c.kept, c.n = kept, n
	}
	c.cur = maps.Clone(c.kept)
	c.s.acked[c.id].Store(int64(c.n))
}

// savepoint does something that is taken back, or not.
func (c *client) savepoint() {
	cur, kept, n := maps.Clone(c.cur), maps.Clone(c.kept), c.n
	c.exec("savepoint s")
	c.set()
	c.write()
	c.check()
	if c.rnd.IntN(3) == 0 {
		c.exec("release s")
		return
	}
	if c.rnd.IntN(2) == 0 {
		c.refused("22012", "select 1 / 0")
	}
	c.exec("rollback to s")
	c.cur, c.kept, c.n = cur, kept, n
	c.pinned = true // what is set now is hard to follow
}

// cursor reads by a cursor.
func (c *client) cursor() {
	v := c.unique()
	c.exec("declare cur cursor for select '%s' || g from generate_series(1, 3) g", v)
	c.is("fetch cur", v+"1")
	c.check()
	c.is("fetch cur", v+"2")
	c.exec("close cur")
}

// readOnly is a read-only transaction, which a replica may run.
func (c *client) readOnly() {
	if c.inTx {
		return
	}
	c.exec("%s", []string{"begin read only", "begin isolation level repeatable read, read only", "start transaction read only"}[c.rnd.IntN(3)])
	c.inTx = true
	c.checkEffects()
	if c.rnd.IntN(2) == 0 {
		v := fmt.Sprintf("t%d", c.rnd.IntN(tenants))
		sql := fmt.Sprintf("set local app.tenant = '%s'", v)
		if _, err := c.try(sql); code(err) == "40001" { // it goes to the primary when it is run again
			c.exec("rollback")
			c.inTx = false
			return
		} else {
			c.want(sql, "", err)
		}
		c.put("app.tenant", v, true)
	}
	c.checkEffects()
	c.checkTables()
	c.checkPrepared()
	if c.rnd.IntN(8) == 0 {
		sql := fmt.Sprintf("update ledger set n = 0 where client = %d", c.id)
		if _, err := c.try(sql); code(err) != "40001" { // as above
			c.want(sql, "25006", err)
		}
		c.exec("rollback")
	} else {
		c.exec("%s", []string{"commit", "rollback"}[c.rnd.IntN(2)])
	}
	c.inTx = false
	c.cur = maps.Clone(c.kept)
}
