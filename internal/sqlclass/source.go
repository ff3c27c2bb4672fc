package sqlclass

// search looks through the source text of a function in SQL or PL/pgSQL for what
// must not run on a replica and for what may change the session. It goes by
// names alone, wherever they stand: that a column has the name of an unsafe
// function costs a read on the primary, no more. depth counts from 1 how deep the
// code is nested.
func (l *loader) search(u *unit, source []byte, depth int) {
	s := &scanner{}
	s.init(source, true, nil)
	var f codeFollower
	seen := make(map[string]bool)
	for ; s.cur.kind != kindEnd; s.advance() {
		u.dirty = f.dirty(s) || u.dirty
		if code, found := f.constant(s); found {
			if code == nil || depth == maxCode {
				u.dirty = true
			} else {
				l.search(u, code, depth+1)
			}
		}
		switch s.cur.kind {
		case kindString:
			u.time = u.time || timeWord(s.text(&s.cur))
		case kindOperator:
			if key := "P:" + string(s.text(&s.cur)); l.units[key] != nil {
				u.refs = append(u.refs, key)
			}
		case kindWord:
			if s.prevKind != kindDot {
				u.unsafe = u.unsafe || writes(s)
				u.time = u.time || s.cur.flags&flagTime != 0
			}
			if string(s.name(&s.cur)) == "current_setting" && l.units["f:current_setting"] == nil && s.readsClientSetting() {
				continue
			}
			l.mention(u, s, seen)
		case kindQuoted:
			l.mention(u, s, seen)
		}
	}
	u.changes = u.changes || f.changes
	if s.bad {
		u.dirty = true
	}
}

// mention judges one name in a source text.
func (l *loader) mention(u *unit, s *scanner, seen map[string]bool) {
	id := s.name(&s.cur)
	if temporarySchema(id) {
		u.dirty = true
	}
	n, known := l.cat.names[string(id)]
	if known {
		if n.function&bindsAny != 0 {
			u.dirty = true
		}
		if n.function&builtinUnsafe != 0 && (s.next.kind == kindOpen || s.prevKind == kindDot) {
			u.unsafe = true
		}
		if n.function&tellsTime != 0 && s.next.kind == kindOpen {
			u.time = true
		}
	}
	if string(id) == "information_schema" {
		u.unsafe = true
	}
	key := string(id)
	if seen[key] {
		return
	}
	seen[key] = true
	if l.units["t:"+key] != nil {
		u.weak = append(u.weak, "t:"+key)
	}
	for _, prefix := range [...]string{"f:", "r:"} {
		if l.units[prefix+key] != nil {
			u.refs = append(u.refs, prefix+key)
		}
	}
}

// writes reports whether the keyword at the current token belongs to a statement
// that a function declared STABLE should not have.
func writes(s *scanner) bool {
	switch s.cur.word {
	case wordInsert, wordUpdate, wordDelete, wordMerge, wordTruncate:
		return true
	case wordFor:
		return s.next.word == wordShare || s.next.word == wordNo || s.next.word == wordKey
	}
	return false
}
