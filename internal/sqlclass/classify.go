package sqlclass

import "bytes"

// maxText bounds what is scanned at once; a longer text is a write of which
// nothing is known.
const maxText = 16 << 20

// Classify tells what sql does and puts the verdict into r, whose earlier
// content is lost. It does not allocate. cat may be nil while the catalogue is
// not known; then only what needs no relation and no operator can be a read.
func Classify(sql []byte, cat *Catalogue, opt Options, r *Result) {
	r.Reset()
	c := classifier{cat: cat, opt: opt, r: r}
	if len(sql) > maxText {
		r.Statements = 1
		r.Reason = ReasonTooLong
		c.taint("text too long")
		return
	}
	if opt.UnsafeEncoding && !ascii(sql) {
		r.Statements = 1
		c.syntax()
		return
	}
	c.init(sql, opt.StandardConformingStrings, &r.Hint)
	c.run()
}

// UnsafeEncoding reports whether a client_encoding of that name has characters
// whose later bytes look like ASCII, such as a backslash, so that only the
// server knows where a literal ends.
func UnsafeEncoding(encoding string) bool {
	var b [24]byte
	n := 0
	for i := 0; i < len(encoding); i++ {
		if c := encoding[i]; classes[c]&(classWord|classDigit) != 0 && c != '_' {
			if n == len(b) {
				return false
			}
			b[n] = fold(c)
			n++
		}
	}
	switch string(b[:n]) {
	case "sjis", "shiftjis", "mskanji", "win932", "windows932", "shiftjis2004", "sjis2004", "big5", "win950", "windows950",
		"gbk", "win936", "windows936", "gb18030", "uhc", "win949", "windows949", "johab":
		return true
	}
	return false
}

func ascii(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 {
			return false
		}
	}
	return true
}

// classifier is the state of one Classify.
type classifier struct {
	scanner
	cat *Catalogue
	opt Options
	r   *Result

	// What is known of the current statement.
	reason   Reason // the first reason against a read
	harmless bool   // nothing but reasons that write nothing
	isTx     bool

	// What is known of the text.
	writes   bool // some statement is not a read
	queries  bool // some statement is neither transaction control nor empty
	harms    bool
	sawTx    bool
	sawState bool // some statement changes session state
	creates  bool // CREATE FUNCTION: later statements may call what we cannot know

	body bodyState
}

func (c *classifier) run() {
	r := c.r
	for {
		for c.cur.kind == kindSemicolon {
			c.advance()
		}
		if c.cur.kind == kindEnd {
			break
		}
		r.Statements++
		c.reason, c.harmless, c.isTx = ReasonRead, true, false
		c.body = bodyState{}
		c.statement()
		if c.bad || c.body.depth != 0 {
			c.syntax()
			return
		}
		if c.isTx {
			c.sawTx = true
			c.harms = true
			if r.Reason == ReasonRead && r.Statements == 1 {
				r.Reason = ReasonTransaction
			}
			continue
		}
		if r.Reason == ReasonTransaction {
			r.Reason = ReasonRead
		}
		c.queries = true
		if c.reason != ReasonRead {
			c.writes = true
			if r.Reason == ReasonRead {
				r.Reason = c.reason
			}
		}
		c.harms = c.harms || !c.harmless
	}
	if c.bad {
		c.syntax()
		return
	}
	c.conclude()
}

// conclude sums up the statements.
func (c *classifier) conclude() {
	r := c.r
	if !c.writes && (c.queries || r.Statements == 0) {
		r.Access = AccessRead
	}
	r.Harmless = !c.harms
	if c.writes && r.Reason == ReasonRead {
		r.Reason = ReasonTransaction
	}
	if r.Statements < 2 {
		return
	}
	r.Mixed = c.sawTx || c.sawState
	r.Tx, r.Isolation, r.ReadOnly, r.ReadWrite = TxNone, IsolationDefault, false, false
	r.Setting, r.Name, r.Savepoint, r.Inner = Setting{}, nil, nil, Inner{}
	if r.Binds&BindsPrepare != 0 {
		c.taint("PREPARE")
	}
	if r.Binds&(BindsSetting|BindsDeallocate|BindsDiscardAll) != 0 {
		c.taint("session state among several statements")
	}
	if c.creates {
		c.taint("new function")
	}
}

// syntax is the verdict on what cannot be scanned: a write that may do anything.
func (c *classifier) syntax() {
	r := c.r
	hint, n := r.Hint, max(r.Statements, 1)
	r.Reset()
	r.Hint, r.Statements, r.Mixed = hint, n, n > 1
	r.Reason = ReasonSyntax
	c.taint("text not understood")
}

// deny notes a reason why the statement is not a read.
func (c *classifier) deny(reason Reason, t *token) {
	c.harmless = false
	c.primary(reason, t)
}

// primary is deny for what has to go to the primary but writes nothing.
func (c *classifier) primary(reason Reason, t *token) {
	if c.reason != ReasonRead {
		return
	}
	c.reason = reason
	if t != nil && !c.writes {
		c.r.Object = c.text(t)
	}
}

func (c *classifier) pin(why string) {
	c.r.Binds |= BindsPin
	c.r.Pins |= pinKind(why)
	if c.r.PinReason == "" {
		c.r.PinReason = why
	}
}

func (c *classifier) taint(why string) {
	before := c.r.Pins
	c.pin(why)
	c.r.Binds |= BindsTaint
	c.r.Pins = before | PinState
}

// is reports whether t is the unquoted keyword w.
func (t *token) is(w word) bool { return t.word == w && t.kind == kindWord }

// skip goes to the end of the statement without looking.
func (c *classifier) skip() {
	depth := 0
	for {
		switch c.cur.kind {
		case kindEnd:
			return
		case kindSemicolon:
			if depth <= 0 {
				return
			}
		case kindOpen:
			depth++
		case kindClose:
			depth--
		}
		c.advance()
	}
}

// ends reports whether t ends a statement.
func (t *token) ends() bool { return t.kind == kindEnd || t.kind == kindSemicolon }

func (c *classifier) atEnd() bool { return c.cur.ends() }

// temporarySchema reports whether a name is pg_temp or pg_temp_3.
func temporarySchema(name []byte) bool {
	return len(name) >= 7 && name[0] == 'p' && (string(name[:7]) == "pg_temp" && (len(name) == 7 || name[7] == '_') ||
		bytes.HasPrefix(name, []byte("pg_toast_temp_")))
}
