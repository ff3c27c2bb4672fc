package sqlclass

// transactionTime lists the functions that came with the server and tell when
// the transaction began. age does with one argument.
func transactionTime(fn string) bool {
	switch fn {
	case "now", "transaction_timestamp", "age":
		return true
	}
	return false
}

// timeWord reports whether a literal has one of the words in it that the input
// of dates and times turns into the time at which the transaction began. That it
// may be any other text only makes the verdict more careful.
func timeWord(literal []byte) bool {
	for i := 0; i < len(literal); i++ {
		if i > 0 && letter(literal[i-1]) {
			continue
		}
		for _, w := range [...]string{"now", "today", "tomorrow", "yesterday"} {
			end := i + len(w)
			if end <= len(literal) && equalFold(literal[i:end], w) && (end == len(literal) || !letter(literal[end])) {
				return true
			}
		}
	}
	return false
}

func letter(c byte) bool { return classes[c]&(classWord|classHigh) != 0 }

// publishTime notes the names by which u is known, if using it tells when the
// transaction began.
func (l *loader) publishTime(u *unit, names ...string) {
	if !u.time {
		return
	}
	for _, key := range names {
		if key != "" {
			n := l.cat.names[key]
			n.flags |= nameTime
			l.special(key, n)
		}
	}
}

// plainSavepoint puts the savepoint that ends the statement into Result.Savepoint.
// optional: SAVEPOINT may stand in front of it. A name that might be a keyword
// is left to the server.
func (c *classifier) plainSavepoint(optional bool) {
	if optional && c.cur.is(wordSavepoint) {
		c.advance()
	}
	t := &c.cur
	plain := t.kind == kindQuoted || t.kind == kindWord && t.word == 0 && t.flags == 0
	if !plain || t.marks&(markHigh|markBroken) != 0 || !c.next.ends() {
		return
	}
	n := copy(c.r.name[:], c.name(t))
	c.r.Savepoint = c.r.name[:n]
}
