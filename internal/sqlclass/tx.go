package sqlclass

// transaction judges the commands that begin and end transactions.
func (c *classifier) transaction() {
	r := c.r
	c.isTx = true
	head := c.cur.word
	c.advance()
	switch head {
	case wordSavepoint:
		r.Tx = TxSavepoint
		c.statementName()
	case wordRelease:
		r.Tx = TxRelease
		c.savepointName()
	case wordBegin, wordStart:
		c.begin(head)
	case wordCommit, wordRollback:
		if c.cur.is(wordPrepared) {
			r.Tx = TxCommitPrepared
			c.writes = true
			break
		}
		c.finish(head)
	default:
		c.finish(head)
	}
	c.skip()
}

// savepointName puts the savepoint's name behind RELEASE or TO into Result.Name.
func (c *classifier) savepointName() {
	if c.cur.is(wordSavepoint) && !c.next.ends() {
		c.advance()
	}
	c.statementName()
}

func (c *classifier) begin(head word) {
	r := c.r
	r.Tx = TxBegin
	if c.cur.is(wordTransaction) || c.cur.is(wordWork) {
		c.advance()
	} else if head == wordStart {
		c.bad = true
		return
	}
	c.modes()
	if r.ReadOnly {
		r.Tx = TxBeginReadOnly
	}
}

// finish judges COMMIT, END, ROLLBACK and ABORT.
func (c *classifier) finish(head word) {
	if c.cur.is(wordTransaction) || c.cur.is(wordWork) {
		c.advance()
	}
	back := head == wordRollback || head == wordAbort
	chain := c.cur.is(wordAnd) && c.next.is(wordChain)
	switch {
	case back && c.cur.is(wordTo):
		c.r.Tx = TxRollbackTo
		c.advance()
		c.savepointName()
	case back && chain:
		c.r.Tx = TxRollbackChain
	case back:
		c.r.Tx = TxRollback
	case chain:
		c.r.Tx = TxCommitChain
	default:
		c.r.Tx = TxCommit
	}
}

// modes reads a list of transaction modes. The last of several wins, as it does
// on the server. What a replica refuses makes a text of several statements a
// write.
func (c *classifier) modes() {
	r := c.r
	for !c.atEnd() {
		switch {
		case c.cur.is(wordIsolation) && c.next.is(wordLevel):
			c.advance()
			c.advance()
			r.Isolation = c.isolation()
			if r.Isolation == Serializable {
				c.writes = true
			}
		case c.cur.is(wordRead) && c.next.is(wordOnly):
			c.advance()
			r.ReadOnly, r.ReadWrite = true, false
		case c.cur.is(wordRead) && c.next.is(wordWrite):
			c.advance()
			r.ReadOnly, r.ReadWrite = false, true
			c.writes = true
		case c.cur.is(wordNot) && c.next.is(wordDeferrable):
			c.advance()
		case c.cur.is(wordDeferrable), c.cur.kind == kindComma:
		default: // the server refuses it
			c.bad = true
			return
		}
		c.advanceInside()
	}
}

// isolation reads the name of a level and leaves its last word.
func (c *classifier) isolation() Isolation {
	switch {
	case c.cur.is(wordSerializable):
		return Serializable
	case c.cur.is(wordRepeatable) && c.next.is(wordRead):
		c.advance()
		return RepeatableRead
	case c.cur.is(wordRead) && (c.next.is(wordCommitted) || c.next.is(wordUncommitted)):
		c.advance()
		return ReadCommitted
	}
	c.bad = true
	return IsolationDefault
}

// setTransaction judges SET TRANSACTION.
func (c *classifier) setTransaction() {
	c.isTx = true
	c.r.Tx = TxSetTransaction
	if c.cur.is(wordSnapshot) {
		c.writes = true
		c.skip()
		return
	}
	c.modes()
}

// setTransactionParameter judges SET of a parameter that is the current
// transaction's mode under another name; value is its source text.
func (c *classifier) setTransactionParameter(parameter string, value []byte) {
	r := c.r
	c.isTx = true
	c.writes = true
	r.Tx = TxSetTransaction
	r.Setting = Setting{}
	if len(value) >= 2 && value[0] == '\'' {
		value = value[1 : len(value)-1]
	}
	switch parameter {
	case "transaction_isolation":
		switch {
		case equalFold(value, "serializable"):
			r.Isolation = Serializable
		case equalFold(value, "repeatable read"):
			r.Isolation = RepeatableRead
		case equalFold(value, "read committed"), equalFold(value, "read uncommitted"):
			r.Isolation = ReadCommitted
		default:
			r.Isolation = Serializable // what restricts most
		}
	case "transaction_read_only":
		r.ReadOnly = equalFold(value, "on") || equalFold(value, "true") || equalFold(value, "yes") || equalFold(value, "1")
		r.ReadWrite = !r.ReadOnly
	}
}
