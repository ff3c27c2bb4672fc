package sqlclass

// statement judges the statement that begins at the current token and leaves the
// token that ends it.
func (c *classifier) statement() {
	for c.cur.kind == kindOpen {
		c.open()
		c.advance()
	}
	if c.cur.kind != kindWord {
		c.unknown()
		return
	}
	switch c.cur.word {
	case wordSelect, wordValues, wordTable, wordWith:
		c.query()
		return
	}
	if c.body.depth > 0 { // only queries stand in parentheses
		c.unknown()
		return
	}
	switch c.cur.word {
	case wordInsert, wordUpdate, wordDelete, wordMerge:
		c.deny(ReasonCommand, &c.cur)
		c.firesTriggers()
		c.advance()
		c.scanBody(bodyStrict)
	case wordExplain:
		c.explain()
	case wordCopy:
		c.copy()
	case wordSet:
		c.set()
	case wordReset:
		c.reset()
	case wordShow:
		c.show()
	case wordBegin, wordStart, wordCommit, wordEnd, wordRollback, wordAbort, wordSavepoint, wordRelease:
		c.transaction()
	case wordPrepare, wordExecute, wordDeallocate:
		c.prepared()
	case wordDeclare:
		c.declare()
	default:
		c.command()
	}
}

// unknown is a statement whose first word we do not know: a syntax error, or a
// command of a later version.
func (c *classifier) unknown() {
	c.deny(ReasonSyntax, &c.cur)
	c.taint("unknown command")
	c.body = bodyState{}
	c.skip()
}

// query judges SELECT, VALUES, TABLE and WITH.
func (c *classifier) query() {
	if c.cat != nil {
		if c.cat.implicitOperator {
			c.deny(ReasonUserOperator, nil)
		}
		if c.cat.userCasts {
			c.deny(ReasonUserCast, nil)
		}
		c.taintIf(c.cat.dirtyHidden)
	}
	c.scanBody(bodyQuery)
}

// firesTriggers notes that triggers, rules, defaults and constraints may run.
func (c *classifier) firesTriggers() {
	if c.cat == nil {
		c.taint("no catalogue")
	} else if c.cat.DirtyTriggers {
		c.taint("trigger")
	}
}

// explain judges EXPLAIN: with ANALYZE as what it runs, otherwise it runs
// nothing.
func (c *classifier) explain() {
	analyze := false
	c.advance()
	if c.cur.kind == kindOpen && !c.next.is(wordSelect) && !c.next.is(wordWith) && !c.next.is(wordValues) &&
		!c.next.is(wordTable) && c.next.kind != kindOpen {
		for c.cur.kind != kindClose && c.cur.kind != kindEnd {
			analyze = analyze || c.explainsByRunning()
			c.advance()
		}
		c.advance()
	} else {
		for c.cur.is(wordAnalyze) || c.cur.is(wordAnalyse) || string(c.name(&c.cur)) == "verbose" {
			analyze = analyze || !c.cur.flags.has(flagParen) // VERBOSE has it
			c.advance()
		}
	}
	if c.cur.is(wordExplain) {
		c.unknown()
		return
	}
	before := c.r.Binds
	c.statement()
	if c.isTx || c.r.Setting.Kind != SettingNone { // not something that EXPLAIN takes
		c.bad = true
		return
	}
	if !analyze && c.r.Binds&BindsTaint == before&BindsTaint {
		c.harmless = true
		c.r.Binds &^= (BindsDDL | BindsTemporary) &^ before
	}
}

// explainsByRunning reports whether the current token is the option ANALYZE, in
// quotes or not, unless what follows turns it off.
func (c *classifier) explainsByRunning() bool {
	switch {
	case c.cur.is(wordAnalyze), c.cur.is(wordAnalyse):
	case c.cur.kind == kindQuoted && string(c.name(&c.cur)) == "analyze":
	default:
		return false
	}
	return !c.next.is(wordFalse) && !c.next.is(wordOff) && !(c.next.kind == kindNumber && string(c.text(&c.next)) == "0")
}

func (f wordFlags) has(g wordFlags) bool { return f&g != 0 }

// copy judges COPY. Only COPY … TO STDOUT of what may be read is a read.
func (c *classifier) copy() {
	c.advance()
	if c.cur.kind == kindOpen {
		c.open()
		c.advance()
		switch c.cur.word {
		case wordSelect, wordValues, wordTable, wordWith:
		default:
			c.deny(ReasonCommand, &c.cur)
			c.firesTriggers()
		}
		if c.cat != nil && (c.cat.implicitOperator || c.cat.userCasts) {
			c.deny(ReasonUserOperator, nil)
		}
		c.taintIf(c.cat != nil && c.cat.dirtyHidden)
		c.body.until = 1
		c.scanBody(bodyQuery)
		c.body.until = 0
		if c.body.depth != 0 || c.atEnd() {
			c.bad = true
			return
		}
		c.advance() // the closing parenthesis
	} else {
		if c.cat == nil {
			c.deny(ReasonNoCatalogue, nil)
		}
		for !c.atEnd() && !(c.prevKind != kindDot && (c.cur.is(wordFrom) || c.cur.is(wordTo))) {
			if c.cur.kind == kindOpen { // the columns
				for !c.atEnd() && c.cur.kind != kindClose {
					c.advance()
				}
			}
			if c.cur.kind == kindWord || c.cur.kind == kindQuoted {
				c.relation(&c.cur)
			}
			c.advance()
		}
	}
	client := c.next.is(wordStdin) || c.next.is(wordStdout)
	switch {
	case c.cur.is(wordTo):
		if !client {
			c.deny(ReasonCommand, &c.next)
		}
		c.skip() // options
	case c.cur.is(wordFrom):
		c.reason = ReasonRead // the command decides, not the relation
		c.deny(ReasonCommand, &c.next)
		c.firesTriggers()
		c.r.CopyIn = c.r.CopyIn || client
		for !c.atEnd() && !c.cur.is(wordWhere) {
			c.advance()
		}
		c.scanBody(bodyStrict)
	default:
		c.bad = true
	}
}

// declare judges DECLARE … CURSOR: its query runs later, and only here, with the
// snapshot of now.
func (c *classifier) declare() {
	head := c.cur
	c.advance()
	c.advance() // the name
	for !c.atEnd() && !c.cur.is(wordFor) {
		if c.cur.is(wordHold) && c.prevWord == wordWith {
			c.pin("cursor WITH HOLD")
		}
		c.advance()
	}
	if !c.atEnd() {
		c.advance()
		c.scanBody(bodyQuery)
		c.r.Cursor = c.r.Cursor || c.reason == ReasonRead
	}
	c.reason = ReasonRead // the command decides, not its query
	c.primary(ReasonCommand, &head)
}
