package wire

import (
	"encoding/binary"
	"strings"
)

// The Append functions add one whole message to b and return the longer
// slice, as append does.

// begin adds a header with an open length; end closes it.
func begin(b []byte, typ byte) ([]byte, int) {
	return append(b, typ, 0, 0, 0, 0), len(b) + 1
}

func end(b []byte, at int) []byte {
	binary.BigEndian.PutUint32(b[at:], uint32(len(b)-at))
	return b
}

func cstring(b []byte, s string) []byte { return append(append(b, s...), 0) }

// AppendQuery adds a Query.
func AppendQuery(b []byte, sql string) []byte {
	b, at := begin(b, 'Q')
	return end(cstring(b, sql), at)
}

// AppendSync adds a Sync.
func AppendSync(b []byte) []byte { return append(b, 'S', 0, 0, 0, 4) }

// AppendTerminate adds a Terminate.
func AppendTerminate(b []byte) []byte { return append(b, 'X', 0, 0, 0, 4) }

// AppendParse adds a Parse for the statement name. rest is what follows the
// name in a Parse: query text, terminator, number of types and types.
func AppendParse(b []byte, name, rest []byte) []byte {
	b, at := begin(b, 'P')
	b = append(append(b, name...), 0)
	return end(append(b, rest...), at)
}

// AppendBind adds a Bind. rest is what follows the statement's name.
func AppendBind(b []byte, portal, name, rest []byte) []byte {
	b, at := begin(b, 'B')
	b = append(append(b, portal...), 0)
	b = append(append(b, name...), 0)
	return end(append(b, rest...), at)
}

// AppendNamed adds a Describe ('D') or Close ('C') of a statement ('S') or
// portal ('P').
func AppendNamed(b []byte, typ, what byte, name []byte) []byte {
	b, at := begin(b, typ)
	b = append(b, what)
	return end(append(append(b, name...), 0), at)
}

// AppendEmpty adds a message without a body: ParseComplete ('1'),
// BindComplete ('2'), CloseComplete ('3'), NoData ('n') and so on.
func AppendEmpty(b []byte, typ byte) []byte { return append(b, typ, 0, 0, 0, 4) }

// AppendReady adds a ReadyForQuery with the transaction status 'I', 'T' or 'E'.
func AppendReady(b []byte, status byte) []byte { return append(b, 'Z', 0, 0, 0, 5, status) }

// AppendCommandComplete adds a CommandComplete.
func AppendCommandComplete(b []byte, tag string) []byte {
	b, at := begin(b, 'C')
	return end(cstring(b, tag), at)
}

// AppendParameterStatus adds a ParameterStatus.
func AppendParameterStatus(b []byte, name, value string) []byte {
	b, at := begin(b, 'S')
	return end(cstring(cstring(b, name), value), at)
}

// AppendNoParameters adds a ParameterDescription of no parameters.
func AppendNoParameters(b []byte) []byte { return append(b, 't', 0, 0, 0, 6, 0, 0) }

// AppendTextColumns adds a RowDescription of columns of type text. format is
// the format code that the client asked for; text reads the same in both.
func AppendTextColumns(b []byte, format uint16, names ...string) []byte {
	b, at := begin(b, 'T')
	b = binary.BigEndian.AppendUint16(b, uint16(len(names)))
	for _, n := range names {
		b = cstring(b, n)
		b = binary.BigEndian.AppendUint32(b, 0)          // table
		b = binary.BigEndian.AppendUint16(b, 0)          // column
		b = binary.BigEndian.AppendUint32(b, 25)         // text
		b = binary.BigEndian.AppendUint16(b, 0xffff)     // variable length
		b = binary.BigEndian.AppendUint32(b, 0xffffffff) // no type modifier
		b = binary.BigEndian.AppendUint16(b, format)
	}
	return end(b, at)
}

// AppendTextRow adds a DataRow of text values.
func AppendTextRow(b []byte, values ...string) []byte {
	b, at := begin(b, 'D')
	b = binary.BigEndian.AppendUint16(b, uint16(len(values)))
	for _, v := range values {
		b = binary.BigEndian.AppendUint32(b, uint32(len(v)))
		b = append(b, v...)
	}
	return end(b, at)
}

// Report is what an ErrorResponse or a NoticeResponse says.
type Report struct {
	// Severity is ERROR, FATAL, WARNING or NOTICE.
	Severity string
	Code     string
	Message  string
	Detail   string
	Hint     string
	// Position is where in the statement's text it is, in characters from 1.
	Position string
	// Routine is where the server would have reported it; drivers know some
	// errors by it.
	Routine string
}

// AppendReport adds an ErrorResponse for ERROR and FATAL, and a
// NoticeResponse for everything else.
func AppendReport(b []byte, r *Report) []byte {
	typ := byte('N')
	if r.Severity == "ERROR" || r.Severity == "FATAL" {
		typ = 'E'
	}
	b, at := begin(b, typ)
	b = field(b, 'S', r.Severity)
	b = field(b, 'V', r.Severity)
	b = field(b, 'C', r.Code)
	b = field(b, 'M', r.Message)
	if r.Detail != "" {
		b = field(b, 'D', r.Detail)
	}
	if r.Hint != "" {
		b = field(b, 'H', r.Hint)
	}
	if r.Position != "" {
		b = field(b, 'P', r.Position)
	}
	if r.Routine != "" {
		b = field(b, 'R', r.Routine)
	}
	return end(append(b, 0), at)
}

// field adds one field; a zero byte inside would end the field early, so it
// is left out.
func field(b []byte, typ byte, v string) []byte {
	b = append(b, typ)
	if strings.IndexByte(v, 0) >= 0 {
		v = strings.ReplaceAll(v, "\x00", "")
	}
	return cstring(b, v)
}
