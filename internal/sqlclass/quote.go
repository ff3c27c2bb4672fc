package sqlclass

import "strings"

// FoldIdentifier returns the name that the server looks up for an identifier as
// written: unquoted, or folded to lower case, and cut to 63 bytes. Letters
// outside ASCII are not folded, as in UTF-8 databases.
func FoldIdentifier(written string) string {
	if len(written) >= 2 && written[0] == '"' && written[len(written)-1] == '"' {
		return cut(strings.ReplaceAll(written[1:len(written)-1], `""`, `"`))
	}
	return cut(strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, written))
}

// cut shortens a name as the server does, at the border of a character.
func cut(s string) string {
	if len(s) <= maxName {
		return s
	}
	n := maxName
	for n > 0 && s[n]&0xC0 == 0x80 {
		n--
	}
	return s[:n]
}

// QuoteIdentifier returns the identifier in quotes that names exactly this.
func QuoteIdentifier(name string) string {
	return `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
}

// QuoteLiteral returns a string literal that means the same whatever
// standard_conforming_strings is.
func QuoteLiteral(value string) string {
	quoted := `'` + strings.ReplaceAll(value, `'`, `''`) + `'`
	if strings.Contains(value, `\`) {
		return ` E` + strings.ReplaceAll(quoted, `\`, `\\`)
	}
	return quoted
}
