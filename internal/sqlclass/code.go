package sqlclass

// do judges DO. What it may run is a write; code that is proven to leave nothing
// behind in the session binds nothing.
func (c *classifier) do() {
	c.r.CallsProc = true
	c.firesTriggers()
	var code token
	known := true
	for c.advance(); !c.atEnd(); c.advance() {
		switch {
		case c.cur.kind == kindString && code.kind == kindEnd:
			code = c.cur
		case c.cur.is(wordLanguage) && !c.next.ends():
			c.advance()
			known = known && c.plainLanguage()
		default:
			known = false
		}
	}
	dirty, changes := true, true
	if text := literal(&c.scanner, &code); known && text != nil && c.cat != nil {
		dirty, changes = c.code(text, 1)
	}
	if dirty {
		c.taint("DO")
	}
	if changes {
		c.r.Binds |= BindsDDL
	}
}

// plainLanguage reports whether the current token names a language whose code we
// can read.
func (c *classifier) plainLanguage() bool {
	switch c.cur.kind {
	case kindWord, kindQuoted:
		return string(c.name(&c.cur)) == "plpgsql" || string(c.name(&c.cur)) == "sql"
	case kindString:
		return string(c.text(&c.cur)) == "'plpgsql'" || string(c.text(&c.cur)) == "'sql'"
	}
	return false
}

// procedure judges CALL: a call like any other, but that the procedure may commit.
func (c *classifier) procedure() {
	c.r.CallsProc = true
	c.firesTriggers()
	before := c.r.Binds
	c.r.Binds &^= BindsTaint
	c.advance()
	c.scanBody(bodyStrict)
	if c.r.Binds&BindsTaint != 0 {
		c.r.Binds |= BindsDDL
	}
	c.r.Binds |= before
}

// code searches the code of a DO, or what such code executes, and reports whether
// it may leave something behind in the session, and whether it may change the
// catalogue. depth counts from 1 how deep it is nested.
func (c *classifier) code(text []byte, depth int) (dirty, changes bool) {
	var r Result
	n := classifier{cat: c.cat, opt: c.opt, r: &r}
	n.init(text, !c.escapes, nil)
	var f codeFollower
	mode := bodyStrict
	returns := false // RETURN is the token before
	for ; n.cur.kind != kindEnd; n.advance() {
		if begins(&n.scanner) {
			mode = codeMode(n.cur.word)
			*n.body.level() &^= levelWith
		}
		if f.dirty(&n.scanner) {
			return true, true
		}
		if inner, found := f.constant(&n.scanner); found {
			if inner == nil || depth == maxCode {
				return true, true
			}
			d, ch := n.code(inner, depth+1)
			if d {
				return true, true
			}
			f.changes = f.changes || ch
		}
		n.codeToken(&mode, depth, returns, &f)
		if n.bad || r.Binds&(BindsPin|BindsTaint) != 0 {
			return true, true
		}
		returns = n.cur.kind == kindWord && string(n.name(&n.cur)) == "return"
	}
	if n.bad || n.body.depth != 0 {
		return true, true
	}
	return false, f.changes || r.Binds&BindsDDL != 0
}

// codeToken judges one token of code as scanBody does in a statement.
func (c *classifier) codeToken(mode *bodyMode, depth int, returns bool, f *codeFollower) {
	switch c.cur.kind {
	case kindOpen:
		c.open()
	case kindClose:
		c.close()
	case kindOperator:
		c.operator(&c.cur)
	case kindQuoted, kindWord:
		n, ok := c.lookup(&c.cur)
		if ok && n.function&(bindsAny|userUnclean) != 0 { // called, or made an operator or a default of
			c.taint("unknown function")
			return
		}
		switch {
		case c.cur.is(wordInto) && c.prevKind != kindDot: // a variable, in PL/pgSQL
			f.changes = f.changes || depth > 1 && c.prevWord != wordInsert && c.prevWord != wordMerge
		case c.next.kind == kindOpen && n.function&hasUser == 0 && c.codeWord(returns):
		default:
			c.identifier(mode, false)
		}
	}
}

// codeMode is how the statement is judged that begins with this keyword.
func codeMode(w word) bodyMode {
	switch w {
	case wordCreate, wordAlter, wordDrop, wordImport, wordReassign, wordGrant, wordRevoke, wordComment, wordSecurity,
		wordTruncate, wordVacuum, wordAnalyze, wordAnalyse, wordReindex, wordCluster, wordRefresh, wordLock, wordNotify:
		return bodyWeak
	}
	return bodyStrict
}

// codeWord reports whether the current token is a keyword of PL/pgSQL that may
// stand before a parenthesis.
func (c *classifier) codeWord(returns bool) bool {
	if c.cur.kind != kindWord {
		return false
	}
	switch string(c.name(&c.cur)) {
	case "if", "elsif", "elseif", "while", "return", "perform", "assert", "raise", "exit", "continue":
		return begins(&c.scanner) || c.prevKind == kindOperator // behind a <<label>>
	case "query":
		return returns
	case "cursor":
		return true
	}
	return false
}
