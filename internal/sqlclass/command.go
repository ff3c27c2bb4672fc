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
	case wordDrop:
		c.drop()
	case wordImport, wordReassign, wordGrant, wordRevoke, wordComment, wordSecurity:
		c.r.Binds |= BindsDDL
		c.firesTriggers()
		c.skip()
	case wordTruncate, wordVacuum, wordAnalyze, wordAnalyse, wordReindex, wordCluster, wordRefresh, wordRepack:
		c.firesTriggers()
		c.scanBody(bodyWeak)
	case wordUnlisten:
		c.r.Binds |= BindsEndsPin | BindsListen
		c.skip()
	case wordClose:
		c.r.Binds |= BindsEndsPin
		c.skip()
	case wordLock, wordNotify, wordFetch, wordMove, wordCheckpoint, wordWait:
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
		} else {
			c.r.Binds |= BindsEndsPin
		}
		c.skip()
	case wordCall, wordDo:
		if c.cur.word == wordDo {
			c.do()
		} else {
			c.procedure()
		}
	default:
		c.reason = ReasonRead
		c.r.Object = nil
		c.unknown()
	}
}

// create judges CREATE.
func (c *classifier) create() {
	c.firesTriggers()
	c.advance()
	temporary := false
	for !c.atEnd() {
		switch c.cur.word {
		case wordOr, wordReplace, wordGlobal, wordLocal, wordUnlogged, wordRecursive:
			c.advance()
			continue
		case wordTemp, wordTemporary:
			c.pin("temporary table")
			temporary = true
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
	c.changesCatalogue(temporary)
	c.scanBody(bodyWeak)
}

// advanceInside advances unless the statement ends here.
func (c *classifier) advanceInside() {
	if !c.atEnd() {
		c.advance()
	}
}
