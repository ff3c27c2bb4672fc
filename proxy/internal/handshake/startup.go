package handshake

import (
	"bytes"
	"slices"
	"strings"
	"time"

	"github.com/pgroute/pgroute/internal/sqlstate"
)

// maxName is NAMEDATALEN-1: PostgreSQL cuts longer names in startup packets.
const maxName = 63

// A Startup is what a client asked for when it connected.
type Startup struct {
	// User is never empty; Database is User if the client named none.
	User, Database string
	// Params are the settings that the client wants to begin with, in the
	// order in which PostgreSQL would apply them: those inside "options"
	// first, then the packet's own. A later one wins. No name is Reserved.
	Params []Param
	// Replication is empty for a normal session, "true" for physical and
	// "database" for logical replication.
	Replication string
	// Minor is the protocol version 3.Minor that is spoken from here on: 0 or
	// 2. Cancel keys are 4 bytes long in 3.0, up to 256 in 3.2.
	Minor int

	options  string
	deadline time.Time // of the whole login
}

// parseStartup parses name and value pairs as ProcessStartupPacket does, and
// returns the protocol options among them, which nobody knows yet.
func parseStartup(body []byte) (s *Startup, unknown []string, err error) {
	s = new(Startup)
	rest := body
	for len(rest) > 0 && rest[0] != 0 {
		name, after, ok := cstring(rest)
		if !ok {
			break
		}
		value, after, ok := cstring(after)
		if !ok {
			break
		}
		rest = after
		switch {
		case name == "user":
			s.User = value
		case name == "database":
			s.Database = value
		case name == "options":
			s.options = value
		case name == "replication":
			if s.Replication, ok = parseReplication(value); !ok {
				return nil, nil, refuse(sqlstate.InvalidParameterValue,
					"invalid value for parameter \"%s\": \"%s\"", "replication", value).
					hint("Valid values are: \"false\", 0, \"true\", 1, \"database\".")
			}
		case strings.HasPrefix(name, protocolOption):
			unknown = append(unknown, name)
		default:
			s.Params = append(s.Params, Param{name, value})
		}
	}
	// PostgreSQL only looks at where the list ends, not at the byte there.
	if len(rest) != 1 {
		return nil, nil, protocolViolation("invalid startup packet layout: expected terminator as last byte")
	}
	return s, unknown, nil
}

// complete checks and fills what the packet left open.
func (s *Startup) complete() error {
	if s.User == "" {
		return refuse(sqlstate.InvalidAuthorization, "no PostgreSQL user name specified in startup packet")
	}
	if s.Database == "" {
		s.Database = s.User
	}
	s.User = s.User[:min(len(s.User), maxName)]
	s.Database = s.Database[:min(len(s.Database), maxName)]
	params, err := parseOptions(s.options)
	if err != nil {
		return err
	}
	s.Params = slices.Concat(params, s.Params)
	return nil
}

// cstring cuts a terminated string off the front of b.
func cstring(b []byte) (s string, rest []byte, ok bool) {
	i := bytes.IndexByte(b, 0)
	if i < 0 {
		return "", nil, false
	}
	return string(b[:i]), b[i+1:], true
}

// parseReplication accepts "database" and what parse_bool accepts: any
// beginning of true, false, yes, no, and unambiguous ones of on and off.
func parseReplication(s string) (string, bool) {
	if s == "database" {
		return s, true
	}
	v := strings.ToLower(s)
	switch {
	case v == "":
		return "", false
	case v == "1", v == "on", strings.HasPrefix("true", v), strings.HasPrefix("yes", v):
		return "true", true
	case v == "0", v == "of", v == "off", strings.HasPrefix("false", v), strings.HasPrefix("no", v):
		return "", true
	}
	return "", false
}
