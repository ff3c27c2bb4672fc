package sqlclass

// BindsTemporary: the text creates or drops temporary relations, so that names
// may mean something else to this client afterwards. To everybody else the
// catalogue is what it was.
const BindsTemporary Binds = 1 << 15

// changesCatalogue notes what a CREATE, whose object is named at the current token, does
// to the catalogue. Of what is temporary only relations are nobody else's
// business; of a cast there is no temporary kind.
func (c *classifier) changesCatalogue(temporary bool) {
	if temporary && c.cat != nil && !c.cat.changingTriggers && c.relationKind() {
		c.r.Binds |= BindsTemporary
		return
	}
	c.r.Binds |= BindsDDL
}

// relationKind reports whether the current token is TABLE, VIEW or SEQUENCE.
func (c *classifier) relationKind() bool {
	switch {
	case c.cur.is(wordTable):
		return true
	case c.cur.kind != kindWord:
		return false
	}
	kind := string(c.name(&c.cur))
	return kind == "view" || kind == "sequence"
}

// drop judges DROP. That of relations in pg_temp, and without CASCADE of nothing
// else, is nobody else's business.
func (c *classifier) drop() {
	c.r.Binds |= BindsEndsPin
	c.firesTriggers()
	c.advance()
	temporary := c.cat != nil && !c.cat.changingTriggers && c.relationKind()
	c.advanceInside()
	if c.cur.kind == kindWord && string(c.name(&c.cur)) == "if" {
		c.advance()
		c.advanceInside() // EXISTS
	}
	for first := true; temporary && !c.atEnd(); first = false {
		if !first {
			if c.cur.kind != kindComma {
				temporary = c.cur.kind == kindWord && string(c.name(&c.cur)) == "restrict" && c.next.ends()
				break
			}
			c.advance()
		}
		temporary = (c.cur.kind == kindWord || c.cur.kind == kindQuoted) && temporarySchema(c.name(&c.cur)) && c.next.kind == kindDot
		for range 3 { // the schema, the dot, the name
			c.advanceInside()
		}
	}
	if temporary {
		c.r.Binds |= BindsTemporary
	} else {
		c.r.Binds |= BindsDDL
	}
	c.skip()
}
