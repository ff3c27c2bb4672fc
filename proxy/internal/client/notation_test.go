package client_test

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/pgroute/pgroute/proxy/internal/wire"
)

// Messages in scenarios are written as their type with what matters of them in
// parentheses: Q(select 1), P(name,select $1), B(portal,name), E(portal),
// D(S,name), C(S,name), S, H, X, d(data), c, f(why), EMAX(portal) with a row limit from a client;
// T, D, C(SELECT 1), Z(I), 1, 2, 3, t, n, s, I, G, H, E(code), FATAL(code),
// N(code), S(name,value), A(channel), V(number) or V(), STALE (the error that a prepared
// statement's result has changed its type), OTHER (a T of another type), FORMATS (the error that a Bind has
// more result formats than there are columns) from a server; RAW(\x00) is bytes.

// words splits text into messages and their arguments.
func words(text string) [][2]string {
	var out [][2]string
	for text = strings.TrimSpace(text); text != ""; text = strings.TrimSpace(text) {
		end := strings.IndexAny(text, " (")
		if end < 0 || text[end] == ' ' {
			if end < 0 {
				end = len(text)
			}
			out = append(out, [2]string{text[:end], ""})
			text = text[end:]
			continue
		}
		depth, i := 0, end
		for ; i < len(text); i++ {
			if text[i] == '(' {
				depth++
			} else if text[i] == ')' {
				if depth--; depth == 0 {
					break
				}
			}
		}
		out = append(out, [2]string{text[:end], text[end+1 : min(i, len(text))]})
		text = text[min(i+1, len(text)):]
	}
	return out
}

func split(args string) (first, rest string) {
	first, rest, _ = strings.Cut(args, ",")
	return first, rest
}

func message(typ byte, body string) []byte {
	b := append([]byte{typ, 0, 0, 0, 0}, body...)
	wire.Lengthen(b, len(b)-1)
	return b
}

// frontend makes messages of a client. TEXT*N repeats a text.
func frontend(text string) (b []byte) {
	for _, w := range words(text) {
		first, rest := split(w[1])
		switch w[0] {
		case "Q":
			b = wire.AppendQuery(b, repeated(w[1]))
		case "P":
			b = wire.AppendParse(b, []byte(first), []byte(repeated(rest)+"\x00\x00\x00"))
		case "B":
			b = wire.AppendBind(b, []byte(first), []byte(rest), make([]byte, 6))
		case "LONGB": // a Bind with a long parameter
			value := strings.Repeat("v", 100000)
			b = wire.AppendBind(b, nil, []byte(w[1]), fmt.Appendf(nil, "\x00\x00\x00\x01%s%s\x00\x00", binary.BigEndian.AppendUint32(nil, uint32(len(value))), value))
		case "D", "C":
			b = wire.AppendNamed(b, w[0][0], first[0], []byte(rest))
		case "E":
			b = append(b, message('E', w[1]+"\x00\x00\x00\x00\x00")...)
		case "EMAX": // with a limit of one row
			b = append(b, message('E', w[1]+"\x00\x00\x00\x00\x01")...)
		case "f":
			b = append(b, message('f', w[1]+"\x00")...)
		case "d":
			b = append(b, message('d', repeated(w[1]))...)
		case "RAW":
			raw, err := strconv.Unquote(`"` + w[1] + `"`)
			if err != nil {
				panic(err)
			}
			b = append(b, raw...)
		default:
			b = append(b, message(w[0][0], w[1])...)
		}
	}
	return b
}

// repeated turns TEXT*N into TEXT N times.
func repeated(text string) string {
	if i := strings.LastIndexByte(text, '*'); i >= 0 {
		n := 0
		if _, err := fmt.Sscanf(text[i+1:], "%d", &n); err == nil && n > 0 {
			return strings.Repeat(text[:i], n)
		}
	}
	return text
}

// row is a DataRow of these values.
func row(values []string) []byte {
	body := binary.BigEndian.AppendUint16(nil, uint16(len(values)))
	for _, v := range values {
		body = binary.BigEndian.AppendUint32(body, uint32(len(v)))
		body = append(body, v...)
	}
	return message('D', string(body))
}

// answers makes messages of a server.
func answers(text string) (b []byte) {
	for _, w := range words(text) {
		first, rest := split(w[1])
		switch w[0] {
		case "T":
			b = wire.AppendTextColumns(b, 0, "c")
		case "OTHER":
			b = wire.AppendTextColumns(b, 0, "d")
		case "D":
			b = wire.AppendTextRow(b, repeated(w[1]))
		case "C":
			b = wire.AppendCommandComplete(b, w[1])
		case "Z":
			b = wire.AppendReady(b, w[1][0])
		case "E":
			b = wire.AppendReport(b, &wire.Report{Severity: "ERROR", Code: first, Message: repeated(rest)})
		case "STALE":
			b = append(b, message('E', "SERROR\x00VERROR\x00C0A000\x00Mcached plan must not change result type\x00RRevalidateCachedQuery\x00\x00")...)
		case "FORMATS":
			b = append(b, message('E', "SERROR\x00VERROR\x00C08P01\x00Mbind message has 2 result formats but query has 3 columns\x00RPortalSetResultFormat\x00\x00")...)
		case "ROW": // of Booleans
			b = append(b, row(strings.Split(w[1], ","))...)
		case "SYNTAX": // the raw parser's error
			b = append(b, message('E', "SERROR\x00VERROR\x00C42601\x00Msyntax error\x00Rscanner_yyerror\x00\x00")...)
		case "WITHIN": // the same, of a text within a function
			b = append(b, message('E', "SERROR\x00VERROR\x00C42601\x00Msyntax error\x00Wfunction f\x00Rscanner_yyerror\x00\x00")...)
		case "FATAL":
			b = wire.AppendReport(b, &wire.Report{Severity: "FATAL", Code: first, Message: rest})
		case "N":
			b = wire.AppendReport(b, &wire.Report{Severity: "NOTICE", Code: first, Message: repeated(rest)})
		case "S":
			b = wire.AppendParameterStatus(b, first, rest)
		case "A":
			b = append(b, message('A', "\x00\x00\x00\x01"+w[1]+"\x00\x00")...)
		case "V": // the value of a function, or NULL
			if n, err := strconv.ParseUint(w[1], 10, 64); err == nil {
				b = append(b, message('V', string(binary.BigEndian.AppendUint64([]byte{0, 0, 0, 8}, n)))...)
			} else {
				b = append(b, message('V', "\xff\xff\xff\xff")...)
			}
		case "G", "H":
			b = append(b, message(w[0][0], "\x00\x00\x00")...)
		case "RAW":
			raw, err := strconv.Unquote(`"` + w[1] + `"`)
			if err != nil {
				panic(err)
			}
			b = append(b, raw...)
		default:
			b = wire.AppendEmpty(b, w[0][0])
		}
	}
	return b
}

// tell writes messages down; server says whose they are.
func tell(b []byte, server bool) string {
	var out []string
	for len(b) > 0 {
		typ, total, ok := wire.Header(b)
		if !ok || total > len(b) || total < wire.HeaderLen {
			out = append(out, fmt.Sprintf("part(%d)", len(b)))
			break
		}
		body := b[wire.HeaderLen:total]
		b = b[total:]
		if server {
			out = append(out, tellAnswer(typ, body))
		} else {
			out = append(out, tellRequest(typ, body))
		}
	}
	return strings.Join(out, " ")
}

func cut(b []byte) (string, []byte) {
	s, rest, ok := wire.CString(b)
	if !ok {
		return string(b), nil
	}
	return string(s), rest
}

func short(s string) string {
	if len(s) > 200 {
		return fmt.Sprintf("%s*%d", s[:1], len(s))
	}
	return s
}

// asked names what a query of ours asks about pins.
func asked(sql string) string {
	if !strings.HasPrefix(sql, "SELECT EXISTS (SELECT FROM pg_catalog.") {
		return ""
	}
	var out []string
	for _, what := range [][2]string{{"pg_depend", "temporary"}, {"pg_locks", "lock"}, {"pg_listening", "listen"},
		{"is_holdable", "cursor"}, {"from_sql", "prepared"}} {
		if strings.Contains(sql, what[0]) {
			out = append(out, what[1])
		}
	}
	return strings.Join(out, ",")
}

func tellRequest(typ byte, body []byte) string {
	switch typ {
	case 'Q', 'f', 'E':
		s, _ := cut(body)
		if found := asked(s); found != "" {
			return "ASK(" + found + ")"
		}
		if s == "" && typ == 'E' {
			return "E"
		}
		return fmt.Sprintf("%c(%s)", typ, short(s))
	case 'P', 'B':
		a, rest := cut(body)
		b, _ := cut(rest)
		return fmt.Sprintf("%c(%s,%s)", typ, a, short(b))
	case 'D', 'C':
		s, _ := cut(body[1:])
		return fmt.Sprintf("%c(%c,%s)", typ, body[0], s)
	case 'd':
		return fmt.Sprintf("d(%s)", short(string(body)))
	case 'F':
		return fmt.Sprintf("F(%d)", binary.BigEndian.Uint32(body))
	}
	return string(typ)
}

func tellAnswer(typ byte, body []byte) string {
	switch typ {
	case 'C':
		s, _ := cut(body)
		return fmt.Sprintf("C(%s)", s)
	case 'Z':
		return fmt.Sprintf("Z(%s)", body)
	case 'E', 'N':
		name := string(typ)
		if string(wire.Field(body, 'V')) == "FATAL" {
			name = "FATAL"
		}
		if string(wire.Field(body, 'R')) == "RevalidateCachedQuery" {
			return "STALE"
		}
		if m := string(wire.Field(body, 'M')); strings.Contains(m, `"`) {
			return fmt.Sprintf("%s(%s,%s)", name, wire.Field(body, 'C'), m)
		}
		return fmt.Sprintf("%s(%s)", name, wire.Field(body, 'C'))
	case 'A':
		if len(body) > 4 {
			a, _ := cut(body[4:])
			return fmt.Sprintf("A(%s)", a)
		}
	case 'S':
		a, rest := cut(body)
		b, _ := cut(rest)
		if strings.HasPrefix(b, "pgr1_") {
			b = "TOKEN"
		}
		return fmt.Sprintf("S(%s,%s)", a, b)
	case 'D':
		if len(body) > 6 {
			v := body[6:]
			if n := int(binary.BigEndian.Uint32(body[2:])); n <= len(v) {
				v = v[:n]
			}
			if strings.HasPrefix(string(v), "pgr1_") {
				return "D(TOKEN)"
			}
			return fmt.Sprintf("D(%s)", short(string(v)))
		}
	}
	return string(typ)
}
