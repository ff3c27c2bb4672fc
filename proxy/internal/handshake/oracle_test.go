package handshake_test

import (
	"math/rand/v2"
	"net"
	"strings"
	"testing"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/proxy/internal/handshake"
)

// plain is an answer without what PostgreSQL says about its own source
// code and the versions of the
// protocol that it knows.
func plain(t *testing.T, answer string) string {
	t.Helper()
	before, after := answer, ""
	if i := strings.Index(answer, "E\x00"); i >= 0 {
		before, after = answer[:i], answer[i:]
	}
	if after == "" {
		return before
	}
	e := parseError(t, after)
	if strings.HasPrefix(e.Message, "no pg_hba.conf entry for replication") {
		// The packet was understood, and that is all that we compare.
		return "R\x00\x00\x00\x17\x00\x00\x00\nSCRAM-SHA-256\x00\x00"
	}
	e.File, e.Line, e.Routine = "", 0, ""
	e.Message, _, _ = strings.Cut(e.Message, ": server supports")
	b, err := e.Encode(nil)
	if err != nil {
		t.Fatal(err)
	}
	return before + string(b)
}

// PostgreSQL itself says what a startup packet is answered with.
func TestAcceptAnswersLikePostgreSQL(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Replicas: -1})
	sent := []string{
		"",
		packet(protocol30, "user", "app"),
		packet(protocol30, "user", "app", "database", "app", "application_name", "x"),
		packet(protocol30, "user", "app", "_pq_.a", "1", "_pq_.b", "2"),
		packet(protocol30, "_pq_.a", "1"),
		packet(protocol30, "_pq_.", "", "user", "app"),
		packet(protocol30, "user", "nobody"),
		packet(protocol30, "user", strings.Repeat("u", 100)),
		packet(protocol30, "user", ""),
		packet(protocol30, "user", "app", "user", ""),
		packet(protocol30, "User", "app"),
		packet(protocol30),
		packet(4<<16, "user", "app"),
		packet(1<<16|7, "user", "app")[:8],
		packet(4<<16|77, "user", "app"),
		sslRequest,
		raw("\x04\xd2\x16\x2e\x00\x00\x00\x01abcd"),
		raw("\x00\x03\x00\x00"),
		raw("\x00\x03\x00\x00\x00\x00"),
		raw("\x00\x03\x00\x00user\x00"),
		raw("\x00\x03\x00\x00user\x00\x00"),
		raw("\x00\x03\x00\x00user\x00app"),
		raw("\x00\x03\x00\x00user\x00app\x00"),
		raw("\x00\x03\x00\x00user\x00app\x00\x00\x00"),
		raw("\x00\x03\x00\x00user\x00app\x00\x00user\x00app\x00\x00"),
		packet(protocol30, "user", "app", "x", strings.Repeat("x", 9900)),
	}
	// parse_bool
	for _, v := range []string{"", "t", "TRUE", "truex", "y", "yes", "n", "no", "f", "fals", "o", "on", "of", "off", "offf", "0", "1", "2", "00", "database", "Database", "tr ue"} {
		sent = append(sent, packet(protocol30, "user", "nobody", "replication", v))
	}
	// Broken lists.
	whole := packet(protocol30, "user", "app", "a.b", "c", "database", "app", "_pq_.x", "y")[4:]
	random := rand.New(rand.NewPCG(1, 2))
	for range 150 {
		b := []byte(whole)
		for range 1 + random.IntN(3) {
			switch i := 4 + random.IntN(len(b)-4); random.IntN(3) {
			case 0:
				b[i] = 0
			case 1:
				b[i] = 'x'
			default:
				b = b[:max(i, 6)]
			}
		}
		sent = append(sent, raw(string(b)))
	}
	u := newUsers(t)
	for _, bytes := range sent {
		conn, err := net.Dial("tcp", c.Primary().Addr())
		if err != nil {
			t.Fatal(err)
		}
		theirs := say(t, conn, bytes)
		conn.Close()
		ours, _ := converse(t, scram(u), bytes)
		if theirs, ours = plain(t, theirs), plain(t, ours); theirs != ours {
			t.Errorf("%q:\nPostgreSQL answers %q\nwe answer         %q", bytes, theirs, ours)
		}
	}

	// The same errors while a client logs in.
	for _, bytes := range []string{
		"Q\x00\x00\x00\x06;\x00",
		response("SCRAM-SHA-256-PLUS", "n,,n=,r=abc"),
		"p" + raw("app-secret\x00"),
		"p" + raw("app-secret"),
		"p" + raw("SCRAM-SHA-256\x00\x00"),
		"p" + raw("SCRAM-SHA-256\x00\x00\x00\x00\x09n,,"),
		"p" + raw("SCRAM-SHA-256\x00\x00\x00\x00\x01n,,"),
		"p" + raw("SCRAM-SHA-256\x00\xff\xff\xff\xffn,,"),
		response("SCRAM-SHA-256", ""),
		response("SCRAM-SHA-256", "p=tls-unique,,n=,r=abc"),
		response("SCRAM-SHA-256", "n,,n=,r=abc\x00"),
		response("SCRAM-SHA-256", "n,,n=,r=a\x7fc"),
		response("SCRAM-SHA-256", "n,,m=1,n=,r=abc"),
		response("SCRAM-SHA-256", "n,a=x,n=,r=abc"),
	} {
		conn, err := net.Dial("tcp", c.Primary().Addr())
		if err != nil {
			t.Fatal(err)
		}
		bytes = packet(protocol30, "user", "app") + bytes
		theirs := say(t, conn, bytes)
		conn.Close()
		ours, _ := converse(t, handshake.Config{Lookup: u, Mock: mock}, bytes)
		if theirs, ours = plain(t, theirs), plain(t, ours); theirs != ours {
			t.Errorf("%q:\nPostgreSQL answers %q\nwe answer         %q", bytes, theirs, ours)
		}
	}
}
