package sqlclass

import "bytes"

// maxCode bounds how deep code in literals may be nested: DO inside DO, EXECUTE of
// a constant.
const maxCode = 4

// codeFollower follows the statements in the source text of a function, a
// procedure or a DO, as far as they tell what outlives it.
type codeFollower struct {
	first   word // the keyword that began the current statement
	updates bool // UPDATE has been seen in it, so a SET belongs to that
	path    bool // it is SET LOCAL search_path
	changes bool // some statement may change the catalogue
}

// begins reports whether a statement may begin at the current token.
func begins(s *scanner) bool {
	switch s.prevWord {
	case wordBegin, wordThen, wordElse, wordLoop:
		return true
	}
	return s.prevKind == kindSemicolon
}

// dirty reports whether the current token belongs to something that outlives the
// code. A constant behind EXECUTE or DO is left to who asks; see constant.
func (f *codeFollower) dirty(s *scanner) bool {
	head := begins(s)
	if head {
		f.first, f.updates, f.path = s.cur.word, false, false
	}
	switch s.cur.kind {
	case kindWord:
		return s.prevKind != kindDot && f.keyword(s, head)
	case kindString:
		if !f.path {
			return false
		}
		text := literal(s, &s.cur)
		return text == nil || bytes.Contains(text, []byte("pg_temp"))
	}
	return false
}

func (f *codeFollower) keyword(s *scanner, head bool) bool {
	switch s.cur.word {
	case wordUpdate:
		f.updates = true
	case wordCreate, wordAlter, wordDrop, wordImport, wordReassign, wordGrant, wordRevoke, wordComment, wordSecurity:
		f.changes = f.changes || head
	case wordExecute:
		return f.executes(s)
	case wordDo:
		return head && s.next.kind != kindString
	case wordSet:
		switch {
		case head:
			return !s.next.is(wordLocal) || f.setLocal(s)
		case f.first == wordAlter, f.first == wordCreate, f.first == wordGrant, f.first == wordRevoke: // ON DELETE SET NULL
			return false
		}
		return !f.updates
	case wordReset, wordListen, wordUnlisten, wordPrepare, wordDeallocate, wordDiscard, wordLoad:
		return head
	case wordTemp, wordTemporary:
		switch s.prevWord {
		case wordCreate, wordReplace, wordInto, wordLocal, wordGlobal:
			return true
		}
	case wordHold:
		return s.prevWord == wordWith
	case wordFunction, wordProcedure: // what follows may call it, and nobody knows it yet
		return s.prevWord == wordCreate || s.prevWord == wordReplace
	case wordExtension: // its script may do anything
		return s.prevWord == wordCreate || s.prevWord == wordAlter
	}
	return false
}

// executes judges EXECUTE: a text that nobody has seen, unless it is a constant,
// the function of a trigger, or a privilege.
func (f *codeFollower) executes(s *scanner) bool {
	switch f.first {
	case wordCreate:
		return s.prevWord == wordAs || !s.next.is(wordFunction) && !s.next.is(wordProcedure)
	case wordGrant, wordRevoke:
		return false
	}
	return s.next.kind != kindString
}

// setLocal judges the SET LOCAL at the current token. What it sets ends with the
// transaction; but search_path may make a table a temporary one, and some settings
// say where literals end. A setting may have the name local.x, too.
func (f *codeFollower) setLocal(s *scanner) bool {
	ahead := *s
	ahead.hint = nil
	ahead.advance()
	ahead.advance()
	if ahead.cur.kind != kindWord && ahead.cur.kind != kindQuoted || ahead.cur.is(wordTo) {
		return true
	}
	id := ahead.name(&ahead.cur)
	switch {
	case equalFold(id, "search_path"), ahead.cur.is(wordSchema):
		f.path = true
	case equalFold(id, "standard_conforming_strings"), equalFold(id, "backslash_quote"):
		return true
	}
	return false
}

// constant returns the code in the literal at the current token, if that is what
// EXECUTE or DO runs. The code is nil if it is not known.
func (f *codeFollower) constant(s *scanner) (code []byte, found bool) {
	if s.cur.kind != kindString || s.prevKind != kindWord || s.prevWord != wordExecute && s.prevWord != wordDo {
		return nil, false
	}
	switch {
	case s.next.ends():
	case s.prevWord == wordExecute && (s.next.is(wordInto) || s.next.is(wordUsing) || s.next.is(wordLoop)):
	default: // EXECUTE 'a' || b, DO 'a' LANGUAGE b
		return nil, true
	}
	return literal(s, &s.cur), true
}

// literal returns what a plain literal of one piece says, and nil if t is another
// one. It allocates only if there are doubled quotes in it.
func literal(s *scanner, t *token) []byte {
	if t.kind != kindString || t.marks&markPlain == 0 {
		return nil
	}
	text := s.text(t)
	switch text[0] {
	case '$':
		tag := bytes.IndexByte(text[1:], '$') + 2
		return text[tag : len(text)-tag]
	case '\'':
	default:
		return nil
	}
	text = text[1 : len(text)-1]
	quotes := bytes.Count(text, []byte("'"))
	if quotes == 0 {
		return text
	}
	if 2*bytes.Count(text, []byte("''")) != quotes { // it goes on in another line
		return nil
	}
	return bytes.ReplaceAll(text, []byte("''"), []byte("'"))
}
