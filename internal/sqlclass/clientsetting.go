package sqlclass

import (
	"bytes"
	"strconv"
	"strings"
)

// clientSetting reports whether current_setting of that name reads what belongs
// to the client: a custom setting, as policies of row security use them, or one
// of the few that decide what names and rows a client sees. Settings follow the
// client, so the backend on a replica has them as one on the primary would; a
// setting that cannot follow pins the client. So does the role, which decides
// about policies: SET ROLE is replayed on the backend, and if the replica does
// not know the role yet that fails before the read is sent. Settings of one
// server, such as transaction_read_only, are not the client's, and those of
// pgroute exist on no server.
func clientSetting(setting []byte) bool {
	switch {
	case equalFold(setting, "role"), equalFold(setting, "search_path"), equalFold(setting, "timezone"):
		return true
	case bytes.IndexByte(setting, '.') <= 0:
		return false
	}
	const own = "pgroute."
	return len(setting) < len(own) || !equalFold(setting[:len(own)], own)
}

// readsClientSetting reports whether the identifier at the current token, which
// is current_setting, is a call of it with a plain literal that names a
// clientSetting.
func (s *scanner) readsClientSetting() bool {
	if s.next.kind != kindOpen {
		return false
	}
	ahead := *s
	ahead.hint = nil
	ahead.advance()
	ahead.advance()
	t := &ahead.cur
	if t.kind != kindString || t.marks&markPlain == 0 || ahead.next.kind != kindClose && ahead.next.kind != kindComma {
		return false
	}
	text := ahead.text(t)
	if text[0] != '\'' || bytes.IndexByte(text[1:], '\'') != len(text)-2 { // one piece, nothing doubled
		return false
	}
	return clientSetting(text[1 : len(text)-1])
}

// constant decodes a text constant of a node tree: the bytes of the datum as
// signed numbers, behind a length of four bytes. It returns nil if it is none.
func constant(nodes string) []byte {
	const header = 4
	var b []byte
	for field := range strings.FieldsSeq(nodes) {
		n, err := strconv.ParseInt(field, 10, 8)
		if err != nil {
			return nil
		}
		b = append(b, byte(n))
	}
	if len(b) < header {
		return nil
	}
	return b[header:]
}
