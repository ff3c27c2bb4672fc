package sqlclass

import "bytes"

// scanner cuts a text into tokens by the rules of PostgreSQL's scan.l. It keeps
// one token of lookahead and remembers what stood before the current one. It
// holds no pointers into itself, so that it can live on the stack.
type scanner struct {
	sql  []byte
	pos  int
	cur  token
	next token

	prevKind kind
	prevWord word // zero after a dot: t.select is a name

	escapes bool // backslashes escape in plain literals
	bad     bool // the text cannot be scanned; the token is kindEnd
	began   bool // a token other than ; has been seen
	hint    *Hint

	turn    uint8
	scratch [2][maxName + 1]byte
}

func (s *scanner) init(sql []byte, standardStrings bool, hint *Hint) {
	s.sql, s.escapes, s.hint = sql, !standardStrings, hint
	s.scan(&s.next)
	s.advance()
	s.prevKind, s.prevWord = kindSemicolon, 0
}

// advance makes the next token the current one.
func (s *scanner) advance() {
	s.prevWord = s.cur.word
	if s.prevKind == kindDot {
		s.prevWord = 0
	}
	s.prevKind = s.cur.kind
	s.cur = s.next
	if s.cur.kind != kindEnd {
		s.scan(&s.next)
	}
}

// name returns the name of an identifier; it is valid until two more identifiers
// have been scanned.
func (s *scanner) name(t *token) []byte {
	if t.scratch != 0 {
		return s.scratch[t.scratch-1][:t.size]
	}
	if t.kind == kindQuoted {
		return s.sql[t.start+1:][:t.size]
	}
	return s.sql[t.start:][:t.size]
}

// text returns the token as written.
func (s *scanner) text(t *token) []byte { return s.sql[t.start:t.end] }

// fail ends the text here: what follows is not understood.
func (s *scanner) fail(t *token) {
	s.bad = true
	s.pos = len(s.sql)
	*t = token{start: s.pos, end: s.pos}
}

// scan reads the token at pos into t.
func (s *scanner) scan(t *token) {
	i := s.skipSpace()
	if i < 0 {
		s.fail(t)
		return
	}
	*t = token{start: i, end: i}
	if i >= len(s.sql) {
		s.pos = i
		return
	}
	c := s.sql[i]
	if c == ';' {
		if s.began {
			s.hint = nil // hints belong to the first statement
		}
		t.kind = kindSemicolon
		s.take(t, i+1)
		return
	}
	s.began = true
	switch class := classes[c]; {
	case class&classWord != 0:
		s.scanWord(t, i)
	case class&classDigit != 0:
		t.kind = kindNumber
		s.take(t, s.numberEnd(i))
	case class&classOperator != 0:
		t.kind = kindOperator
		s.take(t, s.operatorEnd(i))
	case c == '\'':
		s.scanString(t, i, s.escapes)
		if !s.escapes || bytes.IndexByte(s.text(t), '\\') < 0 {
			t.marks |= markPlain
		}
	case c == '"':
		s.scanQuoted(t, i)
	case c == '$':
		s.scanDollar(t, i)
	default:
		s.scanMark(t, i, c)
	}
}

func (s *scanner) take(t *token, end int) {
	t.end = end
	s.pos = end
}

func (s *scanner) at(i int) byte {
	if i < len(s.sql) {
		return s.sql[i]
	}
	return 0
}

// scanMark reads punctuation.
func (s *scanner) scanMark(t *token, i int, c byte) {
	end := i + 1
	switch c {
	case '(':
		t.kind = kindOpen
	case ')':
		t.kind = kindClose
	case ',':
		t.kind = kindComma
	case '.':
		if classes[s.at(i+1)]&classDigit != 0 {
			t.kind = kindNumber
			end = s.numberEnd(i)
			break
		}
		t.kind = kindDot
	case '[', ']':
		t.kind = kindOther
	case ':':
		t.kind = kindOther
		if n := s.at(i + 1); n == ':' {
			t.kind = kindCast
			end++
		} else if n == '=' {
			end++
		}
	default: // braces, backslashes, control bytes: no SQL has them here
		s.fail(t)
		return
	}
	s.take(t, end)
}

// operatorEnd finds the end of an operator: as long as possible, but not into a
// comment, and without a trailing + or - unless the operator has a character
// that SQL's own operators lack.
func (s *scanner) operatorEnd(i int) int {
	sql := s.sql
	special := false
	j := i
	for ; j < len(sql) && classes[sql[j]]&classOperator != 0; j++ {
		switch c := sql[j]; c {
		case '-', '/':
			if j > i && (c == '-' && s.at(j+1) == '-' || c == '/' && s.at(j+1) == '*') {
				return s.trimOperator(i, j, special)
			}
		case '~', '!', '@', '#', '%', '^', '&', '|', '`', '?':
			special = true
		}
	}
	return s.trimOperator(i, j, special)
}

func (s *scanner) trimOperator(i, j int, special bool) int {
	for !special && j > i+1 && (s.sql[j-1] == '+' || s.sql[j-1] == '-') {
		j--
	}
	return j
}

// numberEnd finds the end of a number by the rules before PostgreSQL 16: what
// later versions read as one token (0x1F, 1_000) is then a number and a word,
// and a word can only make the verdict more careful.
func (s *scanner) numberEnd(i int) int {
	j := s.digitsEnd(i)
	if s.at(j) == '.' && (s.at(j+1) != '.' || j == i) {
		j = s.digitsEnd(j + 1)
	}
	if c := s.at(j); c == 'e' || c == 'E' {
		k := j + 1
		if c := s.at(k); c == '+' || c == '-' {
			k++
		}
		if classes[s.at(k)]&classDigit != 0 {
			j = s.digitsEnd(k)
		}
	}
	return j
}

func (s *scanner) digitsEnd(i int) int {
	for i < len(s.sql) && classes[s.sql[i]]&classDigit != 0 {
		i++
	}
	return i
}
