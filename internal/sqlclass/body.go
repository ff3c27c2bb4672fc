package sqlclass

// bodyMode says what a body may be.
type bodyMode uint8

const (
	// bodyQuery: it begins with a query, and may turn out to be a read.
	bodyQuery bodyMode = iota
	// bodyStrict: a write whose calls run; an unknown function taints.
	bodyStrict
	// bodyWeak: a command in which a name before a parenthesis is hardly ever a
	// call, but the name of a table, a column or a type. Only functions that are
	// known not to be clean taint.
	bodyWeak
)

// Marks of a level of parentheses.
const (
	// levelWith: the WITH list of a query; a name in front of parentheses is a
	// new name there, not a call.
	levelWith uint8 = 1 << iota
	// levelBeforeExpression: an expression may follow the closing parenthesis,
	// as in DISTINCT ON (a) f(b). Behind any other one a name in front of
	// parentheses is an alias, or OVER, FILTER and the like.
	levelBeforeExpression
)

// pathKind says in what position a path of names stands, if not in one where it
// could be called.
type pathKind uint8

const (
	pathPlain  pathKind = iota
	pathName            // a type, an alias, a name in a WITH list: never a call
	pathTarget          // behind INTO: a relation, with columns perhaps
)

// bodyState is what scanBody remembers. Deeper levels than there is room for are
// taken for what makes the verdict most careful.
type bodyState struct {
	levels  [48]uint8
	depth   int
	until   int // stop at the parenthesis that closes this depth, if not 0
	blocks  int // of BEGIN ATOMIC … END
	closed  uint8
	path    pathKind
	system  bool // the path begins with pg_catalog
	creates bool // inside CREATE FUNCTION
}

func (c *classifier) open() {
	b := &c.body
	mark := uint8(0)
	switch c.prevWord {
	case wordOn, wordOperator, wordWith:
		mark = levelBeforeExpression
	}
	b.depth++
	if b.depth >= len(b.levels) {
		c.deny(ReasonTooLong, nil)
		return
	}
	b.levels[b.depth] = mark
}

func (c *classifier) close() {
	b := &c.body
	if b.depth == 0 {
		c.bad = true
		return
	}
	b.closed = levelBeforeExpression
	if b.depth < len(b.levels) {
		b.closed = b.levels[b.depth]
	}
	b.depth--
}

// level returns the marks of the current level, or a place to lose them.
func (b *bodyState) level() *uint8 {
	if b.depth < len(b.levels) {
		return &b.levels[b.depth]
	}
	b.levels[0] &^= levelWith
	return &b.levels[0]
}

// scanBody goes through the tokens up to the end of the statement.
func (c *classifier) scanBody(mode bodyMode) {
	b := &c.body
	head := mode == bodyQuery
	for {
		wasHead := head
		head = false
		switch c.cur.kind {
		case kindEnd:
			return
		case kindSemicolon:
			// In CREATE RULE and in BEGIN ATOMIC the semicolon separates parts.
			if b.depth == 0 && b.blocks == 0 {
				return
			}
		case kindOpen:
			c.open()
			head = true
		case kindClose:
			stop := b.until > 0 && b.depth == b.until
			c.close()
			if stop || c.bad {
				return
			}
		case kindWord, kindQuoted:
			c.identifier(&mode, wasHead)
		case kindOperator:
			c.operator(&c.cur)
		case kindString:
			c.r.TransactionTime = c.r.TransactionTime || timeWord(c.text(&c.cur))
		case kindCast:
			if c.cat == nil {
				c.deny(ReasonNoCatalogue, &c.cur)
			}
		}
		c.advance()
	}
}

// identifier judges the identifier or keyword at the current token. head is true
// where a query begins.
func (c *classifier) identifier(mode *bodyMode, head bool) {
	t := &c.cur
	b := &c.body
	word, flags := t.word, t.flags
	afterDot := c.prevKind == kindDot
	if afterDot { // any keyword may be a name there
		word, flags = 0, 0
	} else {
		c.r.TransactionTime = c.r.TransactionTime || flags&flagTime != 0
		b.path = c.pathHere()
		b.system = c.next.kind == kindDot && string(c.name(t)) == "pg_catalog"
	}
	if flags&flagReserved != 0 {
		c.endWith(word)
	}
	if word != 0 {
		c.keyword(word, mode, head)
	}
	if c.next.kind == kindOpen {
		switch {
		case flags&(flagReserved|flagColumn) != 0:
		case b.path == pathTarget:
			c.relation(t)
		case b.path == pathName: // a type with modifiers, perhaps: 1::t(3)
			c.typeName(t)
		case b.path == pathPlain:
			c.call(t, flags, afterDot, *mode)
		}
		return
	}
	if flags&flagReserved != 0 {
		return
	}
	if afterDot {
		c.attribute(t)
	}
	if c.cat == nil && c.next.kind == kindString {
		c.deny(ReasonNoCatalogue, t) // a literal of a type
	}
	c.relation(t)
}

// endWith ends the WITH list of this level at a reserved word that has no place
// in one. The words that have are those of AS NOT MATERIALIZED, SEARCH and CYCLE.
func (c *classifier) endWith(w word) {
	switch w {
	case wordAs, wordNot, wordTo, wordDefault, wordUsing, wordTrue, wordFalse:
	default:
		*c.body.level() &^= levelWith
	}
}

// pathHere tells what kind of path begins at the current token.
func (c *classifier) pathHere() pathKind {
	switch c.prevKind {
	case kindCast:
		return pathName
	case kindClose:
		if c.body.closed&levelBeforeExpression == 0 {
			return pathName
		}
	case kindComma:
		if *c.body.level()&levelWith != 0 {
			return pathName
		}
	case kindWord:
		switch c.prevWord {
		case wordAs, wordWith, wordRecursive:
			return pathName
		case wordInto:
			return pathTarget
		case wordExecute: // CREATE TABLE … AS EXECUTE name (…)
			if c.r.Binds&BindsExecute != 0 {
				return pathName
			}
		}
	}
	return pathPlain
}

// keyword follows the structure of the statement as far as it matters.
func (c *classifier) keyword(w word, mode *bodyMode, head bool) {
	b := &c.body
	switch w {
	case wordWith:
		if head || *mode == bodyStrict && b.depth == 0 && c.beginsWith() {
			*b.level() |= levelWith
		}
	case wordSelect, wordValues, wordTable:
		*b.level() &^= levelWith
		if *mode == bodyWeak && (w == wordSelect || c.prevWord == wordAs) {
			*mode = bodyStrict
		}
		if w == wordTable && c.cat == nil {
			c.deny(ReasonNoCatalogue, nil)
		}
	case wordInsert, wordUpdate, wordDelete, wordMerge:
		*b.level() &^= levelWith
		if *mode == bodyWeak {
			break
		}
		if c.prevWord != wordFor && c.prevWord != wordKey { // FOR NO KEY UPDATE
			c.firesTriggers()
		}
		c.deny(ReasonWritingCTE, &c.cur)
	case wordExecute:
		if *mode == bodyWeak && c.prevWord == wordAs {
			*mode = bodyStrict
			c.executes(&c.next)
		}
	case wordInto:
		c.into(*mode)
	case wordFor:
		switch c.next.word {
		case wordUpdate, wordShare, wordNo, wordKey:
			c.deny(ReasonLocking, &c.cur)
		}
	case wordDrop:
		if c.prevWord == wordCommit { // ON COMMIT DROP
			c.r.Binds |= BindsEndsPin
		}
	case wordFrom, wordCast, wordOperator:
		if c.cat == nil {
			c.deny(ReasonNoCatalogue, nil)
		}
	case wordBegin:
		if b.creates && (b.blocks > 0 || c.next.is(wordAtomic)) {
			b.blocks++
		}
	case wordCase:
		if b.blocks > 0 {
			b.blocks++
		}
	case wordEnd:
		if b.blocks > 0 {
			b.blocks--
		}
	}
}

// beginsWith reports whether the WITH at the current token begins a WITH list, as
// it may in the middle of INSERT, and not one of the other things that WITH does.
func (c *classifier) beginsWith() bool {
	if c.prevWord == wordAs || c.next.kind != kindWord && c.next.kind != kindQuoted {
		return false
	}
	switch string(c.name(&c.next)) {
	case "time", "ties", "ordinality", "unique", "wrapper", "conditional", "unconditional":
		return false
	}
	return true
}

// into judges SELECT … INTO; that of INSERT and MERGE is none.
func (c *classifier) into(mode bodyMode) {
	if mode == bodyWeak || c.prevWord == wordInsert || c.prevWord == wordMerge {
		return
	}
	c.deny(ReasonSelectInto, &c.cur)
	c.r.Binds |= BindsDDL
	c.firesTriggers()
	switch c.next.word {
	case wordTemp, wordTemporary, wordLocal, wordGlobal:
		c.pin("temporary table")
	}
}
