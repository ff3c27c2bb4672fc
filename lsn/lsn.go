package lsn

import (
	"database/sql/driver"
	"errors"
	"fmt"
)

// ErrSyntax is wrapped by every error about text that is not an LSN.
var ErrSyntax = errors.New("malformed LSN")

// LSN is a byte position in the write-ahead log. It is a plain number: two
// LSNs may be compared only when they belong to the same history, which is
// what Position and History are for. Zero is PostgreSQL's invalid LSN, which
// no record has.
type LSN uint64

// Parse reads an LSN as PostgreSQL prints it: two groups of one to eight
// hexadecimal digits of either case with a slash between, zero-padded or not
// (PostgreSQL 19 prints 0/01000000). Nothing else is accepted. The error wraps
// ErrSyntax.
func Parse(s string) (LSN, error) {
	l, ok := parse(s)
	if !ok {
		return 0, syntaxError(s)
	}
	return l, nil
}

// parse is Parse for text in either form, without the error, so that no copy
// of the text is made.
func parse[T string | []byte](s T) (LSN, bool) {
	var l, half uint64
	digits, slashes := 0, 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		var d byte
		switch {
		case '0' <= c && c <= '9':
			d = c - '0'
		case 'a' <= c && c <= 'f':
			d = c - 'a' + 10
		case 'A' <= c && c <= 'F':
			d = c - 'A' + 10
		case c == '/' && digits > 0 && slashes == 0:
			l, half, digits, slashes = half<<32, 0, 0, 1
			continue
		default:
			return 0, false
		}
		if digits++; digits > 8 {
			return 0, false
		}
		half = half<<4 | uint64(d)
	}
	return LSN(l | half), slashes == 1 && digits > 0
}

// syntaxError quotes the beginning of the text only: it came from elsewhere
// and may be of any length.
func syntaxError[T string | []byte](s T) error {
	const most = 32
	if len(s) > most {
		return fmt.Errorf("%w: %q… (%d bytes)", ErrSyntax, s[:most], len(s))
	}
	return fmt.Errorf("%w: %q", ErrSyntax, s)
}

// maxText is the length of the longest LSN in text.
const maxText = 8 + 1 + 8

// String returns the LSN in PostgreSQL's classic form, such as 0/16B3748.
func (l LSN) String() string {
	var buf [maxText]byte
	return string(l.Append(buf[:0]))
}

// Append appends the text of String to dst and returns the longer slice. It
// allocates only when dst has no room.
func (l LSN) Append(dst []byte) []byte {
	dst = appendHex(dst, uint32(l>>32))
	dst = append(dst, '/')
	return appendHex(dst, uint32(l))
}

func appendHex(dst []byte, v uint32) []byte {
	shift := 28
	for shift > 0 && v>>shift == 0 {
		shift -= 4
	}
	for ; shift >= 0; shift -= 4 {
		dst = append(dst, "0123456789ABCDEF"[v>>shift&0xF])
	}
	return dst
}

// AppendText is Append in the shape of encoding.TextAppender. It never fails.
func (l LSN) AppendText(dst []byte) ([]byte, error) { return l.Append(dst), nil }

// MarshalText returns the text of String; JSON shows an LSN as that string.
func (l LSN) MarshalText() ([]byte, error) { return l.Append(make([]byte, 0, maxText)), nil }

// UnmarshalText is Parse. It leaves the LSN alone when it fails.
func (l *LSN) UnmarshalText(text []byte) error {
	parsed, ok := parse(text)
	if !ok {
		return syntaxError(text)
	}
	*l = parsed
	return nil
}

// Scan implements sql.Scanner for a column of type pg_lsn or text. NULL is an
// error, because zero is not NULL: scan what may be NULL (such as
// pg_last_wal_replay_lsn on a primary) into a *LSN or a sql.Null[LSN].
func (l *LSN) Scan(src any) error {
	switch v := src.(type) {
	case string:
		parsed, err := Parse(v)
		if err != nil {
			return err
		}
		*l = parsed
		return nil
	case []byte:
		return l.UnmarshalText(v)
	case nil:
		return errors.New("scan NULL into an LSN: use a *lsn.LSN or a sql.Null[lsn.LSN] for what may be NULL")
	default:
		return fmt.Errorf("scan %T into an LSN: it is neither text nor bytes", src)
	}
}

// Value implements driver.Valuer: an LSN is sent as text, which PostgreSQL
// reads as a pg_lsn.
func (l LSN) Value() (driver.Value, error) { return l.String(), nil }
