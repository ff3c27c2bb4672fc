package sqlclass

// set judges SET.
func (c *classifier) set() {
	r := c.r
	s := &r.Setting
	s.Kind = SettingSet
	c.settingStatement()
	local := false
	switch {
	case c.cur.is(wordLocal):
		local = true
		c.advance()
	case c.cur.is(wordSession) && c.next.is(wordCharacteristics):
		c.characteristics()
		return
	case c.cur.is(wordSession) && !c.next.is(wordAuthorization):
		c.advance()
	}
	if local {
		s.Kind = SettingSetLocal
		s.Local = true
	}
	switch {
	case c.cur.is(wordTransaction):
		c.advance()
		r.Setting = Setting{}
		c.setTransaction()
		return
	case c.cur.is(wordConstraints): // it belongs to the transaction
		r.Setting = Setting{}
		c.reason, c.harmless = ReasonCommand, false
		c.skip()
		return
	case c.special():
		c.value()
	default:
		if !c.settingName() {
			c.bad = true
			return
		}
		switch {
		case c.cur.is(wordTo), c.cur.kind == kindOperator && string(c.text(&c.cur)) == "=":
			c.advance()
			c.value()
		default: // SET x FROM CURRENT, and errors
			s.Untrackable = true
			c.skip()
		}
	}
	c.settle()
}

// settingStatement notes what all of SET, RESET and SHOW have in common, and
// goes on to the next token.
func (c *classifier) settingStatement() {
	c.primary(ReasonSetting, nil)
	c.advance()
}

// special reads the settings that have a syntax of their own, up to their value.
func (c *classifier) special() bool {
	plain := !c.next.is(wordTo) && !(c.next.kind == kindOperator && string(c.text(&c.next)) == "=") && c.next.kind != kindDot
	if !plain {
		return false
	}
	switch c.cur.word {
	case wordTime:
		if !c.next.is(wordZone) {
			return false
		}
		c.advance()
		c.setName("timezone")
	case wordNames:
		c.setName("client_encoding")
	case wordRole:
		c.setName("role")
	case wordSchema:
		c.setName("search_path")
	case wordXml:
		c.advance() // OPTION
		c.setName("xmloption")
	case wordSession: // AUTHORIZATION
		c.advance()
		c.setName("session_authorization")
	default:
		return false
	}
	c.advanceInside()
	return true
}

// setName names the setting by a word of our own.
func (c *classifier) setName(name string) {
	n := copy(c.r.name[:], name)
	c.r.Setting.Name = c.r.name[:n]
}

// settingName reads a name of one or more parts into Setting.Name. PostgreSQL
// compares them without regard to case, quoted or not.
func (c *classifier) settingName() bool {
	b := c.r.name[:0]
	for {
		if c.cur.kind != kindWord && c.cur.kind != kindQuoted {
			return false
		}
		id := c.name(&c.cur)
		if len(b)+len(id)+1 > len(c.r.name) {
			return false
		}
		for _, x := range id {
			b = append(b, fold(x))
		}
		c.advance()
		if c.cur.kind != kindDot {
			break
		}
		b = append(b, '.')
		c.advance()
	}
	c.r.Setting.Name = b
	return true
}

// value reads the value list of a SET.
func (c *classifier) value() {
	s := &c.r.Setting
	zone := c.prevWord == wordZone // SET TIME ZONE LOCAL is the default; local is a value elsewhere
	if c.atEnd() || (c.cur.is(wordDefault) || zone && c.cur.is(wordLocal)) && c.next.ends() {
		if c.atEnd() && string(s.Name) != "client_encoding" { // only SET NAMES needs no value
			c.bad = true
			return
		}
		s.Kind = SettingReset
		c.skip()
		return
	}
	start, end := c.cur.start, c.cur.end
	good := true
	for item := true; !c.atEnd(); item = !item {
		if item {
			if c.cur.kind == kindOperator {
				if op := string(c.text(&c.cur)); (op != "-" && op != "+") || c.next.kind != kindNumber {
					good = false
				}
				c.advance()
			}
			switch c.cur.kind {
			case kindNumber:
			case kindString:
				good = good && c.cur.marks&(markPlain|markHigh) == markPlain
			case kindWord, kindQuoted:
				good = good && c.cur.marks&markHigh == 0
			default:
				good = false
			}
			end = c.cur.end
		} else if c.cur.kind != kindComma {
			good = false
		} else {
			end = c.cur.end
		}
		if c.atEnd() {
			break
		}
		c.advance()
	}
	if c.prevKind == kindComma {
		good = false
	}
	s.Value = c.sql[start:end]
	if !good {
		s.Untrackable = true
		s.Value = nil
	}
}
