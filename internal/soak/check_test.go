package soak_test

import (
	"fmt"
	"strings"
)

// The settings are looked at where they are, which is the primary; the rest by
// what follows from them, which a replica may answer.
var settingsSQL = func() string {
	var b strings.Builder
	b.WriteString("select ")
	for _, name := range tracked {
		fmt.Fprintf(&b, "coalesce(current_setting('%s', true), ''), ", name)
	}
	return b.String() + "current_user, session_user"
}()

// check compares everything that the client can see of its session with what it
// knows.
func (c *client) check() {
	c.checkSettings()
	c.checkEffects()
	if c.rnd.IntN(3) == 0 {
		c.checkTables()
	}
	if c.rnd.IntN(3) == 0 {
		c.checkPrepared()
	}
	if c.locked >= 0 {
		c.is(fmt.Sprintf("select count(*) from pg_locks where locktype = 'advisory' and granted and pid = pg_backend_pid() and objid = %d", c.locked), "1")
	}
}

func (c *client) checkSettings() {
	var want []string
	for _, name := range tracked {
		want = append(want, c.cur[name])
	}
	c.is(settingsSQL, strings.Join(append(want, c.cur["role"], user(c.user)), "|"))
}

// here is the table that the search_path leads to.
func (c *client) here() string {
	first, _, _ := strings.Cut(c.cur["search_path"], ",")
	if strings.HasPrefix(first, "w") {
		return first
	}
	return "public"
}

func (c *client) checkEffects() {
	c.is(fmt.Sprintf("select current_user, session_user, (%s)::text, (select name from here), (select n from ledger where client = %d)", instant, c.id),
		strings.Join([]string{c.cur["role"], user(c.user), c.s.lab.stamps[c.cur["timezone"]+"|"+c.cur["datestyle"]], c.here(), fmt.Sprint(c.n)}, "|"))
}

func (c *client) checkTables() {
	want := "-|0"
	if tenant := c.cur["app.tenant"]; tenant != "" {
		want = tenant + "|3"
	}
	c.is("select coalesce(string_agg(distinct tenant, ','), '-'), count(*) from owned", want)
	for _, name := range []string{"tmp_a", "tmp_b", "shadow"} {
		content, exists := c.temp[name]
		switch {
		case exists:
			c.is("select who from "+name, content)
		case name == "shadow":
			c.is("select who from shadow", "public")
		case !c.inTx:
			c.refused("42P01", "select who from "+name)
		}
	}
}

// checkPrepared runs one of the client's statements, and one that it has not.
func (c *client) checkPrepared() {
	for name, want := range c.prepared { // one at random
		c.begun("run %s", name)
		a, err := c.conn.execute(c.s.ctx, name, "7")
		c.done(a.one(), err)
		c.want(name, "", err)
		if got := a.one(); got != want {
			c.fail("the statement %s gives %s, want %s", name, got, want)
		}
		break
	}
	if len(c.dropped) > 0 && !c.inTx {
		name := c.dropped[c.rnd.IntN(len(c.dropped))]
		if _, exists := c.prepared[name]; exists {
			return
		}
		c.begun("run %s, which is closed", name)
		a, err := c.conn.execute(c.s.ctx, name, "7")
		c.done(a.one(), err)
		c.want(name, "26000", err)
		if !strings.Contains(err.Error(), `"`+name+`"`) {
			c.fail("the error is about another statement than %s: %v", name, err)
		}
	}
}
