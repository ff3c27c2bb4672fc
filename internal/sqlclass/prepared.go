package sqlclass

// prepared judges PREPARE, EXECUTE and DEALLOCATE.
func (c *classifier) prepared() {
	head := c.cur
	c.advance()
	if head.word == wordPrepare && c.cur.is(wordTransaction) {
		c.isTx = true
		c.r.Tx = TxPrepare
		c.writes = true
		c.skip()
		return
	}
	c.sawState = true
	switch head.word {
	case wordDeallocate:
		c.deny(ReasonCommand, &head)
		c.deallocate()
	case wordExecute:
		c.execute(&head)
	default:
		c.prepare(&head)
	}
}

func (c *classifier) deallocate() {
	if c.cur.is(wordPrepare) {
		c.advance()
	}
	c.r.Binds |= BindsDeallocate
	c.harmless = true
	if c.cur.is(wordAll) {
		c.r.DeallocateAll = true
	} else {
		c.statementName(&c.cur)
	}
	c.skip()
}

// execute judges EXECUTE: what it runs was judged when it was prepared, here it
// is a command whose arguments are expressions.
func (c *classifier) execute(head *token) {
	c.executes(&c.cur)
	c.advanceInside()
	before := c.setAside()
	c.query()
	in := c.takeBack(before)
	c.r.Inner = in
	c.r.Binds |= in.Binds
	c.r.Pins |= in.Pins
	if c.r.PinReason == "" {
		c.r.PinReason = in.PinReason
	}
	c.deny(ReasonCommand, head)
}

// prepare judges PREPARE, which runs nothing: what it prepares is judged by
// itself, and binds when it is executed. Where that cannot be followed, because
// the server may take the name for another one, it binds at once.
func (c *classifier) prepare(head *token) {
	exact := c.statementName(&c.cur)
	c.advanceInside()
	before := c.setAside()
	for !c.atEnd() && !c.cur.is(wordAs) { // the types
		if c.cur.kind == kindWord || c.cur.kind == kindQuoted {
			c.typeName(&c.cur)
		}
		c.advance()
	}
	c.advanceInside()
	switch c.cur.word {
	case wordSelect, wordValues, wordTable, wordWith, wordInsert, wordUpdate, wordDelete, wordMerge:
		c.statement()
	default:
		if c.cur.kind != kindOpen { // the server refuses it
			c.unknown()
			break
		}
		c.statement()
	}
	c.r.Inner = c.takeBack(before)
	c.r.Binds |= BindsPrepare
	c.primary(ReasonCommand, head)
	if !exact {
		c.taint("PREPARE")
	}
}

// aside is what is known of a statement while a part of it is judged by itself.
type aside struct {
	reason    Reason
	harmless  bool
	binds     Binds
	pins      Pins
	pinReason string
	object    []byte
}

// setAside and takeBack enclose the judgement on a part of a statement.
func (c *classifier) setAside() aside {
	a := aside{c.reason, c.harmless, c.r.Binds, c.r.Pins, c.r.PinReason, c.r.Object}
	c.reason, c.harmless, c.r.Binds, c.r.Pins, c.r.PinReason = ReasonRead, true, 0, 0, ""
	return a
}

func (c *classifier) takeBack(a aside) Inner {
	in := Inner{Reason: c.reason, Harmless: c.harmless, Binds: c.r.Binds, Pins: c.r.Pins, PinReason: c.r.PinReason}
	if c.reason == ReasonRead {
		in.Access = AccessRead
	}
	c.reason, c.harmless, c.r.Binds, c.r.Pins, c.r.PinReason, c.r.Object = a.reason, a.harmless, a.binds, a.pins, a.pinReason, a.object
	return in
}

// executes notes that the text refers to the prepared statement t.
func (c *classifier) executes(t *token) {
	c.r.Binds |= BindsExecute
	c.sawState = true
	c.statementName(t)
}

// statementName puts the identifier t into Result.Name, and reports whether the
// server is certain to read the same name.
func (c *classifier) statementName(t *token) (exact bool) {
	if t.kind != kindWord && t.kind != kindQuoted {
		return false
	}
	n := copy(c.r.name[:], c.name(t))
	c.r.Name = c.r.name[:n]
	return t.marks&markHigh == 0
}

// listsStatements notes that t is the server's list of prepared statements.
func (c *classifier) listsStatements(t *token) {
	switch string(c.scanner.name(t)) {
	case "pg_prepared_statement", "pg_prepared_statements":
		c.r.Binds |= BindsStatements
	}
}
