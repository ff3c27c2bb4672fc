package sqlclass

// command judges the commands that are no queries.
func (c *classifier) command() {
	c.deny(ReasonCommand, &c.cur)
	switch c.cur.word {
	case wordCreate:
		c.create()
	case wordAlter:
		c.r.Binds |= BindsDDL
		c.firesTriggers()
		c.scanBody(bodyWeak)
	case wordDrop, wordImport, wordReassign, wordGrant, wordRevoke, wordComment, wordSecurity:
		c.r.Binds |= BindsDDL
		c.firesTriggers()
		c.skip()
	case wordTruncate, wordVacuum, wordAnalyze, wordAnalyse, wordReindex, wordCluster, wordRefresh, wordRepack:
		c.firesTriggers()
		c.scanBody(bodyWeak)
	case wordUnlisten:
		c.r.Binds |= BindsListen
		c.skip()
	case wordLock, wordNotify, wordFetch, wordMove, wordClose, wordCheckpoint, wordWait:
		c.skip()
	case wordListen:
		c.sawState = true
		c.r.Binds |= BindsListen
		c.pin("LISTEN")
		c.skip()
	case wordLoad:
		c.sawState = true
		c.pin("LOAD")
		c.skip()
	case wordDiscard:
		c.sawState = true
		if c.next.is(wordAll) {
			c.r.Binds |= BindsDiscardAll
		}
		c.skip()
	case wordCall, wordDo:
		c.r.CallsProc = true
		c.r.Binds |= BindsDDL
		if c.cur.word == wordDo {
			c.taint("DO")
		} else {
			c.taint("CALL")
		}
		c.skip()
	default:
		c.reason = ReasonRead
		c.r.Object = nil
		c.unknown()
	}
}

// create judges CREATE.
func (c *classifier) create() {
	c.r.Binds |= BindsDDL
	c.firesTriggers()
	c.advance()
	for !c.atEnd() {
		switch c.cur.word {
		case wordOr, wordReplace, wordGlobal, wordLocal, wordUnlogged, wordRecursive:
			c.advance()
			continue
		case wordTemp, wordTemporary:
			c.pin("temporary table")
			c.advance()
			continue
		case wordFunction, wordProcedure:
			c.creates = true
			c.body.creates = true
		case wordExtension:
			c.taint("CREATE EXTENSION")
		}
		break
	}
	c.scanBody(bodyWeak)
}

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
	c.deny(ReasonCommand, &head)
	c.sawState = true
	if head.word == wordDeallocate {
		if c.cur.is(wordPrepare) {
			c.advance()
		}
		c.r.Binds |= BindsDeallocate
		c.harmless = true
		if c.cur.is(wordAll) {
			c.r.DeallocateAll = true
		} else {
			c.statementName()
		}
		c.skip()
		return
	}
	c.statementName()
	c.advance()
	if head.word == wordExecute {
		c.scanBody(bodyStrict)
		return
	}
	c.pin("PREPARE")
	for !c.atEnd() && !c.cur.is(wordAs) { // the types
		c.advance()
	}
	c.advanceInside()
	c.scanBody(bodyStrict)
}

// advanceInside advances unless the statement ends here.
func (c *classifier) advanceInside() {
	if !c.atEnd() {
		c.advance()
	}
}

// statementName puts the current identifier into Result.Name.
func (c *classifier) statementName() {
	if c.cur.kind == kindWord || c.cur.kind == kindQuoted {
		n := copy(c.r.name[:], c.name(&c.cur))
		c.r.Name = c.r.name[:n]
	}
}
