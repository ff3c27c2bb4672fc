package sqlclass

// kind is the lexical kind of a token.
type kind uint8

const (
	kindEnd    kind = iota
	kindWord        // an unquoted identifier or keyword
	kindQuoted      // a "quoted" identifier
	kindString      // any literal in quotes or dollars
	kindNumber
	kindParam // $1
	kindOperator
	kindCast // ::
	kindOpen
	kindClose
	kindComma
	kindDot
	kindSemicolon
	kindOther // [ ] : :=
)

// Marks of a token.
const (
	markHigh   uint8 = 1 << iota // has bytes outside ASCII
	markPlain                    // a literal whose text means the same under every setting
	markBroken                   // a quoted identifier with "" inside; its name is in scratch
)

// token is a piece of the text. Its name, for the two kinds of identifiers, is
// what the server would look up: folded, unquoted, cut to 63 bytes.
type token struct {
	kind    kind
	word    word
	flags   wordFlags
	marks   uint8
	scratch uint8 // 1 + index of the scratch buffer that holds the name, or 0
	size    uint8 // length of the name
	start   int
	end     int
}

// maxName is NAMEDATALEN-1: the server cuts longer identifiers.
const maxName = 63

// Classes of bytes.
const (
	classSpace uint8 = 1 << iota
	classWord        // may begin an identifier
	classDigit
	classDollar
	classUpper
	classHigh
	classOperator

	classWordPart = classWord | classDigit | classDollar
)

var classes = func() (t [256]uint8) {
	for _, c := range " \t\n\r\f\v" {
		t[c] = classSpace
	}
	for c := '0'; c <= '9'; c++ {
		t[c] = classDigit
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c] = classWord
		t[c-'a'+'A'] = classWord | classUpper
	}
	t['_'] = classWord
	t['$'] = classDollar
	for c := 0x80; c < 0x100; c++ {
		t[c] = classWord | classHigh
	}
	for _, c := range "~!@#^&|`?+-*/%<>=" {
		t[c] = classOperator
	}
	return t
}()
