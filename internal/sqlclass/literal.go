package sqlclass

import "bytes"

// skipSpace returns where the next token begins, or -1 if a comment does not
// end. Comments are searched for hints.
func (s *scanner) skipSpace() int {
	sql := s.sql
	i := s.pos
	for i < len(sql) {
		switch c := sql[i]; {
		case classes[c]&classSpace != 0:
			i++
		case c == '-' && s.at(i+1) == '-':
			end := s.lineEnd(i)
			s.comment(sql[i+2 : end])
			i = end
		case c == '/' && s.at(i+1) == '*':
			end := s.commentEnd(i)
			if end < 0 {
				return -1
			}
			s.comment(sql[i+2 : end-2])
			i = end
		default:
			return i
		}
	}
	return i
}

func (s *scanner) comment(text []byte) {
	if s.hint != nil {
		s.hint.parse(text)
	}
}

// lineEnd finds the line break, or the end of the text.
func (s *scanner) lineEnd(i int) int {
	for i < len(s.sql) && s.sql[i] != '\n' && s.sql[i] != '\r' {
		i++
	}
	return i
}

// commentEnd finds the end of the comment at i; comments nest.
func (s *scanner) commentEnd(i int) int {
	sql := s.sql
	depth := 1
	for i += 2; i+1 < len(sql); {
		switch {
		case sql[i] == '*' && sql[i+1] == '/':
			i += 2
			depth--
			if depth == 0 {
				return i
			}
		case sql[i] == '/' && sql[i+1] == '*':
			i += 2
			depth++
		default:
			i++
		}
	}
	return -1
}

// scanString reads the literal whose opening quote is at i, with all its
// continuations: a literal goes on after a line break and another quote, and
// keeps its own rules there.
func (s *scanner) scanString(t *token, i int, escapes bool) {
	for {
		end := s.quoteEnd(i, escapes)
		if end < 0 {
			s.fail(t)
			return
		}
		t.kind = kindString
		s.take(t, end)
		i = s.continuation(end)
		if i < 0 {
			break
		}
	}
	for _, c := range s.sql[t.start:t.end] {
		if c >= 0x80 {
			t.marks |= markHigh
			return
		}
	}
}

// quoteEnd returns the position behind the closing quote, or -1.
func (s *scanner) quoteEnd(i int, escapes bool) int {
	sql := s.sql
	i++
	for i < len(sql) {
		if !escapes {
			k := bytes.IndexByte(sql[i:], '\'')
			if k < 0 {
				return -1
			}
			i += k
		}
		switch {
		case sql[i] == '\\' && escapes:
			i += 2
		case sql[i] != '\'':
			i++
		case s.at(i+1) == '\'':
			i += 2
		default:
			return i + 1
		}
	}
	return -1
}

// continuation returns the position of the quote that goes on with the literal
// that ended at i, or -1: white space with a line break may stand between them,
// and comments to the end of a line.
func (s *scanner) continuation(i int) int {
	broken := false
	for i < len(s.sql) {
		switch c := s.sql[i]; {
		case c == '\n' || c == '\r':
			broken = true
			i++
		case classes[c]&classSpace != 0:
			i++
		case c == '-' && s.at(i+1) == '-':
			i = s.lineEnd(i)
		case c == '\'' && broken:
			return i
		default:
			return -1
		}
	}
	return -1
}

// scanDollar reads a parameter or a dollar-quoted literal.
func (s *scanner) scanDollar(t *token, i int) {
	if classes[s.at(i+1)]&classDigit != 0 {
		t.kind = kindParam
		s.take(t, s.digitsEnd(i+1))
		return
	}
	j := i + 1
	if classes[s.at(j)]&classWord != 0 {
		for classes[s.at(j)]&(classWord|classDigit) != 0 {
			j++
		}
	}
	if s.at(j) != '$' {
		s.fail(t)
		return
	}
	j++
	tag := s.sql[i:j]
	k := bytes.Index(s.sql[j:], tag)
	if k < 0 {
		s.fail(t)
		return
	}
	t.kind = kindString
	t.marks |= markPlain
	s.take(t, j+k+len(tag))
	for _, c := range s.sql[i:t.end] {
		if c >= 0x80 {
			t.marks |= markHigh
			return
		}
	}
}
