package wire_test

import (
	"bytes"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgroute/pgroute/proxy/internal/wire"
)

// TestFrontendMessages compares what we build for servers with what pgproto3
// reads.
func TestFrontendMessages(t *testing.T) {
	rest := []byte("select $1\x00\x00\x01\x00\x00\x00\x17")
	values := []byte{0, 1, 0, 1, 0, 1, 0, 0, 0, 2, 'h', 'i', 0, 1, 0, 1}
	for _, c := range []struct {
		name string
		got  []byte
		want pgproto3.FrontendMessage
	}{
		{"Query", wire.AppendQuery(nil, "select 1"), &pgproto3.Query{String: "select 1"}},
		{"Sync", wire.AppendSync(nil), &pgproto3.Sync{}},
		{"Terminate", wire.AppendTerminate(nil), &pgproto3.Terminate{}},
		{"Parse", wire.AppendParse(nil, []byte("s"), rest), &pgproto3.Parse{Name: "s", Query: "select $1", ParameterOIDs: []uint32{23}}},
		{"Bind", wire.AppendBind(nil, []byte("p"), []byte("s"), values), &pgproto3.Bind{DestinationPortal: "p", PreparedStatement: "s",
			ParameterFormatCodes: []int16{1}, Parameters: [][]byte{[]byte("hi")}, ResultFormatCodes: []int16{1}}},
		{"Describe", wire.AppendNamed(nil, 'D', 'S', []byte("s")), &pgproto3.Describe{ObjectType: 'S', Name: "s"}},
		{"Close", wire.AppendNamed(nil, 'C', 'P', nil), &pgproto3.Close{ObjectType: 'P'}},
	} {
		want, err := c.want.Encode(nil)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(c.got, want) {
			t.Errorf("%s: %q, want %q", c.name, c.got, want)
		}
	}
}

// TestBackendMessages compares what we build for clients.
func TestBackendMessages(t *testing.T) {
	for _, c := range []struct {
		name string
		got  []byte
		want pgproto3.BackendMessage
	}{
		{"ParseComplete", wire.AppendEmpty(nil, '1'), &pgproto3.ParseComplete{}},
		{"CloseComplete", wire.AppendEmpty(nil, '3'), &pgproto3.CloseComplete{}},
		{"NoData", wire.AppendEmpty(nil, 'n'), &pgproto3.NoData{}},
		{"ReadyForQuery", wire.AppendReady(nil, 'T'), &pgproto3.ReadyForQuery{TxStatus: 'T'}},
		{"CommandComplete", wire.AppendCommandComplete(nil, "SHOW"), &pgproto3.CommandComplete{CommandTag: []byte("SHOW")}},
		{"ParameterStatus", wire.AppendParameterStatus(nil, "TimeZone", "UTC"), &pgproto3.ParameterStatus{Name: "TimeZone", Value: "UTC"}},
		{"ParameterDescription", wire.AppendNoParameters(nil), &pgproto3.ParameterDescription{}},
		{"RowDescription", wire.AppendTextColumns(nil, 1, "a", "b"), &pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{
			{Name: []byte("a"), DataTypeOID: 25, DataTypeSize: -1, TypeModifier: -1, Format: 1},
			{Name: []byte("b"), DataTypeOID: 25, DataTypeSize: -1, TypeModifier: -1, Format: 1}}}},
		{"DataRow", wire.AppendTextRow(nil, "x", ""), &pgproto3.DataRow{Values: [][]byte{[]byte("x"), {}}}},
		{"ErrorResponse", wire.AppendReport(nil, &wire.Report{Severity: "ERROR", Code: "57P03", Message: "m", Detail: "d", Hint: "h"}),
			&pgproto3.ErrorResponse{Severity: "ERROR", SeverityUnlocalized: "ERROR", Code: "57P03", Message: "m", Detail: "d", Hint: "h"}},
		{"NoticeResponse", wire.AppendReport(nil, &wire.Report{Severity: "WARNING", Code: "01000", Message: "m\x00n"}),
			&pgproto3.NoticeResponse{Severity: "WARNING", SeverityUnlocalized: "WARNING", Code: "01000", Message: "mn"}},
	} {
		want, err := c.want.Encode(nil)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(c.got, want) {
			t.Errorf("%s: %q, want %q", c.name, c.got, want)
		}
	}
}

// TestHeader: a length that cannot be is seen, also one of four gigabytes.
func TestHeader(t *testing.T) {
	for _, c := range []struct {
		bytes string
		total int
		ok    bool
	}{
		{"", 0, false}, {"Q\x00\x00\x00", 0, false},
		{"Q\x00\x00\x00\x04", 5, true}, {"Q\x00\x00\x00\x00", 1, true}, {"Q\xff\xff\xff\xff", 1 << 32, true},
	} {
		typ, total, ok := wire.Header([]byte(c.bytes))
		if total != c.total || ok != c.ok || ok && typ != 'Q' {
			t.Errorf("%q: %c %d %v", c.bytes, typ, total, ok)
		}
	}
	for typ := range 256 {
		limit := wire.FrontendLimit(byte(typ))
		if known := bytes.IndexByte([]byte("QPBDECHSXFdcf"), byte(typ)) >= 0; known != (limit > 0) || limit > wire.MaxFrame+1 {
			t.Errorf("%c: limit %d", typ, limit)
		}
		if wire.FrontendExtended(byte(typ)) && limit == 0 {
			t.Errorf("%c is extended and not allowed", typ)
		}
	}
}

// FuzzReports: no body of an error makes Field or CString leave its bounds, and
// what is built is read back.
func FuzzReports(f *testing.F) {
	f.Add([]byte("SERROR\x00C57P01\x00Mmessage\x00\x00"), "57P01", "message")
	f.Add([]byte("S"), "", "")
	f.Add([]byte("Sx"), "\x00", "\x00\x00")
	f.Fuzz(func(t *testing.T, body []byte, code, text string) {
		for _, typ := range []byte("SVCMDH\x00x") {
			if v := wire.Field(body, typ); v != nil && !bytes.Contains(body, v) {
				t.Fatalf("%q has no %q", body, v)
			}
		}
		if s, rest, ok := wire.CString(body); ok && len(s)+1+len(rest) != len(body) {
			t.Fatalf("%q is cut into %q and %q", body, s, rest)
		}
		b := wire.AppendReport(nil, &wire.Report{Severity: "ERROR", Code: code, Message: text})
		_, total, ok := wire.Header(b)
		if !ok || total != len(b) {
			t.Fatalf("a report of %d bytes says %d", len(b), total)
		}
		if v := wire.Field(b[wire.HeaderLen:], 'M'); string(v) != string(bytes.ReplaceAll([]byte(text), []byte{0}, nil)) {
			t.Fatalf("the message is %q, want %q", v, text)
		}
		if typ, total, ok := wire.Header(body); ok && total == 0 {
			t.Fatalf("%c has no length", typ)
		}
	})
}
