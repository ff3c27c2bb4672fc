package sqlclass

// lookup finds what the catalogue knows about a name.
func (c *classifier) lookup(t *token) (name, bool) {
	if c.cat == nil {
		return name{}, false
	}
	n, ok := c.cat.names[string(c.scanner.name(t))]
	return n, ok
}

// call judges the function called by the identifier t.
func (c *classifier) call(t *token, flags wordFlags, qualified bool, mode bodyMode) {
	if t.marks&markHigh != 0 { // the bytes depend on client_encoding
		c.unknownFunction(t, mode)
		return
	}
	n, ok := c.lookup(t)
	if !ok || n.function&(hasBuiltin|hasUser) == 0 {
		switch {
		case flags&flagParen != 0 && c.cat != nil:
		case flags&flagParen != 0:
			c.deny(ReasonNoCatalogue, t)
		case c.cat == nil && (c.opt.SearchPathDefault || c.body.system) && knownWithoutCatalogue(c.scanner.name(t)):
			c.r.TransactionTime = c.r.TransactionTime || transactionTime(string(c.scanner.name(t)))
		default:
			c.unknownFunction(t, mode)
		}
		return
	}
	if n.functionReason == ReasonServerState && n.function&hasUser == 0 &&
		string(c.scanner.name(t)) == "current_setting" && c.readsClientSetting() {
		return
	}
	c.function(t, n, qualified)
}

// function judges a function that the catalogue knows.
func (c *classifier) function(t *token, n name, qualified bool) {
	f := n.function
	if f&tellsTime != 0 {
		c.r.TransactionTime = true
	}
	if f&bindsAny != 0 {
		switch {
		case f&bindsConfig != 0:
			c.taint("set_config")
		case f&bindsAdvisory != 0:
			c.pin("advisory lock")
		default:
			c.taint("session state")
		}
	}
	switch {
	case f&bindsIdentity != 0:
		c.pin("pg_backend_pid()")
	case f&bindsSequence != 0:
		c.pin("currval")
	}
	if f&endsPin != 0 {
		c.r.Binds |= BindsEndsPin
	}
	if f&builtinUnsafe != 0 {
		if f&builtinObserves != 0 {
			c.primary(n.functionReason, t)
			c.listsStatements(t)
		} else {
			c.deny(n.functionReason, t)
		}
	}
	if f&hasUser == 0 {
		return
	}
	if f&userChanges != 0 {
		c.r.Binds |= BindsDDL
	}
	switch {
	case f&userUnclean != 0:
		c.taint("unknown function")
		c.deny(ReasonUnknownFunction, t)
	case f&userUnsafe != 0:
		c.deny(ReasonVolatileFunction, t)
	case !qualified && !c.opt.SearchPathDefault:
		c.deny(ReasonUnknownFunction, t)
	}
}

func (c *classifier) unknownFunction(t *token, mode bodyMode) {
	if mode == bodyWeak {
		return
	}
	if c.cat == nil {
		c.deny(ReasonNoCatalogue, t)
	}
	c.deny(ReasonUnknownFunction, t)
	c.taint("unknown function")
}

// attribute judges .name, which is a call of name(x) if x has no such column:
// (1::bigint).pg_advisory_lock takes the lock.
func (c *classifier) attribute(t *token) {
	if c.cat == nil {
		c.deny(ReasonNoCatalogue, t)
		return
	}
	n, ok := c.lookup(t)
	if !ok || n.function&hasArguments == 0 {
		return
	}
	if n.function&hasUser == 0 {
		n.function &^= tellsTime // .age is a column; nobody writes age(x) like that
	}
	c.function(t, n, true)
}

// relation judges a name that may be that of a relation or a type.
func (c *classifier) relation(t *token) {
	id := c.scanner.name(t)
	if id[0] == 'p' && temporarySchema(id) {
		c.deny(ReasonTemporary, t)
		c.pin("temporary table")
		return
	}
	if c.next.kind == kindDot {
		if t.is(wordInformationSchema) || t.kind == kindQuoted && string(id) == "information_schema" {
			c.primary(ReasonView, t)
		}
		return
	}
	if c.cat == nil {
		return
	}
	if t.marks&markHigh != 0 && c.cat.beyondASCII {
		c.deny(ReasonView, t)
		return
	}
	n, ok := c.cat.names[string(id)]
	if !ok || n.relation == ReasonRead && n.flags == 0 {
		return
	}
	if n.flags&nameUnclean != 0 {
		c.taint("view or type")
	}
	if n.flags&nameTime != 0 {
		c.r.TransactionTime = true
	}
	switch {
	case n.relation != ReasonRead:
		if n.flags&nameObserves != 0 {
			c.primary(n.relation, t)
			c.listsStatements(t)
		} else {
			c.deny(n.relation, t)
		}
	case n.flags&nameType != 0:
		c.deny(ReasonUserType, t)
	case n.flags&nameInformation != 0 && !c.opt.SearchPathDefault:
		c.primary(ReasonView, t)
	}
}

// typeName judges a name that is that of a type, if not an alias.
func (c *classifier) typeName(t *token) {
	if c.cat == nil {
		return
	}
	if t.marks&markHigh != 0 && c.cat.beyondASCII {
		c.deny(ReasonUserType, t)
		return
	}
	n := c.cat.names[string(c.scanner.name(t))]
	if n.flags&nameTime != 0 {
		c.r.TransactionTime = true
	}
	if n.flags&nameType != 0 {
		if n.flags&nameUnclean != 0 {
			c.taint("view or type")
		}
		c.deny(ReasonUserType, t)
	}
}

// operator judges an operator. Only those made by users that are not safe are in
// the catalogue.
func (c *classifier) operator(t *token) {
	op := c.text(t)
	if c.cat == nil {
		if string(op) != "*" && string(op) != "-" {
			c.deny(ReasonNoCatalogue, t)
		}
		return
	}
	if len(c.cat.operators) == 0 {
		return
	}
	if _, ok := c.cat.operators[string(op)]; ok {
		c.deny(ReasonUserOperator, t)
		c.taintIf(c.cat.dirtyOperators)
	}
}

func (c *classifier) taintIf(dirty bool) {
	if dirty {
		c.taint("operator")
	}
}
