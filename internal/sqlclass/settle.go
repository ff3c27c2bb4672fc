package sqlclass

// settle draws the conclusions from a SET or RESET whose setting is known.
func (c *classifier) settle() {
	r := c.r
	s := &r.Setting
	if len(s.Name) > 8 && string(s.Name[:8]) == "pgroute." {
		r.Binds |= BindsLocal
		c.sawState = true
		return
	}
	switch string(s.Name) {
	case "transaction_isolation":
		c.setTransactionParameter("transaction_isolation", s.Value)
		return
	case "transaction_read_only":
		c.setTransactionParameter("transaction_read_only", s.Value)
		return
	case "transaction_deferrable":
		c.setTransactionParameter("transaction_deferrable", s.Value)
		return
	case "session_authorization", "seed":
		if s.Kind != SettingReset {
			s.Untrackable = true
		}
	case "search_path":
		if containsFold(s.Value, "pg_temp") {
			c.pin("temporary table")
			s.Untrackable = true
		}
	}
	c.sawState = true
	switch {
	case s.Local:
	case s.Untrackable && string(s.Name) == "session_authorization":
		c.pin("SET SESSION AUTHORIZATION")
	case s.Untrackable:
		c.taint("SET")
	default:
		r.Binds |= BindsSetting
	}
}

func containsFold(b []byte, lower string) bool {
	for i := 0; i+len(lower) <= len(b); i++ {
		if equalFold(b[i:i+len(lower)], lower) {
			return true
		}
	}
	return false
}

// characteristics judges SET SESSION CHARACTERISTICS AS TRANSACTION.
func (c *classifier) characteristics() {
	r := c.r
	r.Setting.Multi = true
	c.sawState = true
	r.Binds |= BindsSetting
	c.advance()
	for _, w := range [...]word{wordCharacteristics, wordAs} {
		if !c.cur.is(w) {
			c.bad = true
			return
		}
		c.advance()
	}
	if !c.cur.is(wordTransaction) {
		c.bad = true
		return
	}
	c.advance()
	start := c.cur.start
	end := start
	writes := c.writes
	c.modes()
	c.writes = writes
	if !c.bad {
		end = c.cur.start
		r.Setting.Value = trimSpace(c.sql[start:end])
	}
}

func trimSpace(b []byte) []byte {
	for len(b) > 0 && classes[b[len(b)-1]]&classSpace != 0 {
		b = b[:len(b)-1]
	}
	return b
}
