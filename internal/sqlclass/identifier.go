package sqlclass

import "bytes"

// scanWord reads an identifier, a keyword, or a literal with a letter in front.
func (s *scanner) scanWord(t *token, i int) {
	switch s.at(i + 1) {
	case '\'':
		switch s.sql[i] {
		case 'e', 'E':
			s.scanString(t, i+1, true)
			t.start = i
			t.marks |= markPlain
			return
		case 'b', 'B', 'x', 'X':
			s.scanString(t, i+1, false)
			t.start = i
			return
		case 'n', 'N': // the server reads the keyword NCHAR and a plain literal
			s.scanString(t, i+1, s.escapes)
			t.start = i
			return
		}
	case '&':
		if c := s.sql[i]; c == 'u' || c == 'U' {
			switch s.at(i + 2) {
			case '\'':
				if s.escapes { // the server refuses it
					s.fail(t)
					return
				}
				s.scanString(t, i+2, false)
				t.start = i
				return
			case '"': // an identifier in disguise
				s.fail(t)
				return
			}
		}
	}
	sql := s.sql
	seen := uint8(0)
	j := i
	for j < len(sql) {
		class := classes[sql[j]]
		if class&classWordPart == 0 {
			break
		}
		seen |= class
		j++
	}
	t.kind = kindWord
	s.take(t, j)
	n := min(j-i, maxName)
	t.size = uint8(n)
	if seen&classHigh != 0 {
		t.marks |= markHigh
	}
	if seen&classUpper != 0 {
		b := s.buffer(t)
		for k, c := range sql[i : i+n] {
			b[k] = fold(c)
		}
	}
	id := s.name(t)
	if wordLengths[id[0]]>>n&1 != 0 {
		if w, ok := words[string(id)]; ok {
			t.word, t.flags = w.word, w.flags
		}
	}
}

// buffer gives t a scratch buffer for its name. Two are enough: no more than two
// tokens are alive.
func (s *scanner) buffer(t *token) []byte {
	s.turn ^= 1
	t.scratch = 1 + s.turn
	return s.scratch[s.turn][:]
}

func fold(c byte) byte {
	if classes[c]&classUpper != 0 {
		return c + 'a' - 'A'
	}
	return c
}

// scanQuoted reads a "quoted" identifier.
func (s *scanner) scanQuoted(t *token, i int) {
	t.kind = kindQuoted
	j := i + 1
	for {
		k := bytes.IndexByte(s.sql[j:], '"')
		if k < 0 {
			s.fail(t)
			return
		}
		j += k + 1
		if s.at(j) != '"' {
			break
		}
		t.marks |= markBroken
		j++
	}
	s.take(t, j)
	inner := s.sql[i+1 : j-1]
	if len(inner) == 0 { // the server refuses it
		s.fail(t)
		return
	}
	n := min(len(inner), maxName)
	if t.marks&markBroken != 0 {
		b := s.buffer(t)
		n = 0
		for k := 0; k < len(inner) && n < maxName; k++ {
			b[n] = inner[k]
			n++
			if inner[k] == '"' {
				k++
			}
		}
	}
	t.size = uint8(n)
	for _, c := range inner {
		if c >= 0x80 {
			t.marks |= markHigh
			break
		}
	}
}
