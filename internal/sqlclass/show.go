package sqlclass

// reset judges RESET.
func (c *classifier) reset() {
	s := &c.r.Setting
	s.Kind = SettingReset
	c.settingStatement()
	switch {
	case c.cur.is(wordAll):
		s.Kind = SettingResetAll
		c.advance()
		c.r.Binds |= BindsSetting
		c.sawState = true
		return
	case c.commonName():
	default:
		c.bad = true
		return
	}
	if !c.atEnd() {
		c.bad = true
		return
	}
	c.settle()
}

// show judges SHOW. It belongs to the primary, since some settings differ
// between servers.
func (c *classifier) show() {
	c.r.Setting.Kind = SettingShow
	c.settingStatement()
	if c.cur.is(wordAll) {
		c.setName("all")
		c.advance()
	} else if !c.commonName() {
		c.bad = true
	}
	if !c.atEnd() {
		c.bad = true
	}
	if n := c.r.Setting.Name; len(n) > 8 && string(n[:8]) == "pgroute." {
		c.r.Binds |= BindsLocal
	}
}

// commonName reads the name in RESET and SHOW.
func (c *classifier) commonName() bool {
	switch {
	case c.cur.is(wordTime) && c.next.is(wordZone):
		c.setName("timezone")
		c.advance()
		c.advance()
	case c.cur.is(wordSession) && c.next.is(wordAuthorization):
		c.setName("session_authorization")
		c.advance()
		c.advance()
	case c.cur.is(wordTransaction) && c.next.is(wordIsolation):
		c.setName("transaction_isolation")
		c.advance()
		c.advance()
		c.advanceInside() // LEVEL
	default:
		return c.settingName()
	}
	return true
}
