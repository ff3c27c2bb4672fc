package handshake_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/proxy/internal/auth"
	"github.com/pgroute/pgroute/proxy/internal/handshake"
)

var errAway = errors.New("the primary is away")

// users is a pg_authid. The password of app is app-secret.
type users struct {
	secrets   map[string]string
	away      atomic.Bool
	forgotten atomic.Int64
}

func newUsers(t testing.TB) *users {
	t.Helper()
	v, err := auth.NewVerifier("app-secret", []byte("sixteen bytes!!!"), 4096)
	if err != nil {
		t.Fatal(err)
	}
	return &users{secrets: map[string]string{
		"app": v.Secret(),
		"old": "md5a6343a68d964ca596d9752250d54bb8a",
	}}
}

func (u *users) Verifier(_ context.Context, user string) (string, error) {
	if u.away.Load() {
		return "", errAway
	}
	return u.secrets[user], nil
}

func (u *users) Forget(string) { u.forgotten.Add(1) }

func scram(u *users) handshake.Config {
	return handshake.Config{Mode: handshake.SCRAM, Lookup: u, Mock: mock}
}

// listen serves logins until the test ends. It hands out how each ended.
func listen(t testing.TB, cfg handshake.Config) (dsn string, ends <-chan served) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	c := make(chan served, 16)
	go acceptLoop(t.Context(), l, cfg, c) // ends with the listener
	return "postgres://%s:%s@" + l.Addr().String() + "/shop?sslmode=disable", c
}

func acceptLoop(ctx context.Context, l net.Listener, cfg handshake.Config, ends chan<- served) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() { ends <- serve(ctx, conn, cfg) }() // ends with the connection
	}
}

func TestPgxLogsIn(t *testing.T) {
	u := newUsers(t)
	for _, version := range []string{"3.0", "3.2"} {
		dsn, ends := listen(t, scram(u))
		dsn = strings.Replace(dsn, "disable", "prefer", 1) // asks for TLS first
		conn, err := pgconn.Connect(t.Context(), fmt.Sprintf(dsn, "app", "app-secret")+"&max_protocol_version="+version)
		if err != nil {
			t.Fatal(err)
		}
		if v := conn.ParameterStatus("server_version"); v != "15.20" || conn.PID() != 4711 {
			t.Errorf("the client knows version %q and process %d", v, conn.PID())
		}
		if want := map[string]int{"3.0": 4, "3.2": 32}[version]; len(conn.SecretKey()) != want {
			t.Errorf("%s: a cancel key of %d bytes", version, len(conn.SecretKey()))
		}
		// The first query arrives whole, so nothing was read too far or too little.
		results, err := conn.Exec(t.Context(), "DID THIS").ReadAll()
		if err != nil || results[0].CommandTag.String() != "DID THIS" {
			t.Errorf("%v, %v", results, err)
		}
		if err = conn.Close(t.Context()); err != nil {
			t.Error(err)
		}
		var s served
		for s = range ends { // the first connection may have been refused TLS only
			if s.outcome.Startup != nil {
				break
			}
		}
		if s.err != nil || s.keys == nil || s.outcome.Startup.Database != "shop" {
			t.Fatalf("the server saw %+v", s)
		}
		v, err := auth.ParseVerifier(u.secrets["app"])
		if err != nil {
			t.Fatal(err)
		}
		if s.keys.StoredKey != v.StoredKey || s.keys.ServerKey != v.ServerKey {
			t.Error("the keys are not those of the user")
		}
	}
	if u.forgotten.Load() != 0 {
		t.Error("a good login is forgotten")
	}
}

func TestPgxIsRefused(t *testing.T) {
	u := newUsers(t)
	dsn, ends := listen(t, scram(u))
	for _, tc := range []struct {
		user, password string
		away           bool
		code, message  string
	}{
		{"app", "wrong", false, "28P01", `password authentication failed for user "app"`},
		{"nobody", "app-secret", false, "28P01", `password authentication failed for user "nobody"`},
		{"old", "app-secret", false, "28P01", `password authentication failed for user "old"`},
		{"app", "app-secret", true, "57P03", `cannot look up the verifier of user "app"`},
	} {
		u.away.Store(tc.away)
		before := u.forgotten.Load()
		_, err := pgconn.Connect(t.Context(), fmt.Sprintf(dsn, tc.user, tc.password))
		e, ok := errors.AsType[*pgconn.PgError](err)
		if !ok || e.Severity != "FATAL" || e.Code != tc.code || e.Message != tc.message || strings.Contains(e.Detail, errAway.Error()) {
			t.Errorf("%s/%s: %v", tc.user, tc.password, err)
		}
		s := <-ends
		if r, ok := errors.AsType[*handshake.Refusal](s.err); !ok || r.SQLState() != tc.code || s.keys != nil {
			t.Errorf("%s/%s: the caller sees %v", tc.user, tc.password, s.err)
		}
		if tc.away {
			if !errors.Is(s.err, errAway) {
				t.Errorf("the log does not learn why: %v", s.err)
			}
		} else if u.forgotten.Load() != before+1 {
			t.Error("the verifier is not looked up again")
		}
	}
}

// psql brings libpq's opinion of us.
func TestPsqlLogsIn(t *testing.T) {
	psql, err := cluster.Tool("psql")
	if err != nil {
		t.Skip(err)
	}
	dsn, ends := listen(t, scram(newUsers(t)))
	for password, want := range map[string]string{
		"app-secret": "DID THIS\n",
		"wrong":      "FATAL:  password authentication failed for user \"app\"\n",
	} {
		cmd := exec.CommandContext(t.Context(), psql, "-X", "-w", "-c", "DID THIS", fmt.Sprintf(dsn, "app", password))
		out, err := cmd.CombinedOutput()
		if !strings.HasSuffix(string(out), want) || (err == nil) != (password == "app-secret") {
			t.Errorf("%s: psql says %q, %v", password, out, err)
		}
		if s := <-ends; (s.keys != nil) != (password == "app-secret") {
			t.Errorf("%s: %+v", password, s)
		}
	}
	// Without a password libpq hangs up as soon as it is asked for one.
	if out, err := exec.CommandContext(t.Context(), psql, "-X", "-w", strings.Replace(fmt.Sprintf(dsn, "app", ""), "app:@", "app@", 1)).CombinedOutput(); err == nil {
		t.Errorf("psql says %q", out)
	}
	if s := <-ends; !errors.Is(s.err, io.EOF) {
		t.Errorf("%v", s.err)
	}
}

// response is a SASLInitialResponse.
func response(mechanism, data string) string {
	body := mechanism + "\x00" + string(binary.BigEndian.AppendUint32(nil, uint32(len(data)))) + data
	return "p" + raw(body)
}

func TestAuthenticateRefuses(t *testing.T) {
	const first = "n,,n=,r=abc"
	for _, tc := range []struct{ why, sent, code, message, detail string }{
		{"a query before the login", "Q\x00\x00\x00\x06;\x00", "08P01", "expected SASL response, got message type 81", ""},
		{"-PLUS", response("SCRAM-SHA-256-PLUS", first), "08P01", "client selected an invalid SASL authentication mechanism", ""},
		{"a password", "p" + raw("app-secret\x00"), "08P01", "client selected an invalid SASL authentication mechanism", ""},
		{"no mechanism", "p" + raw("app-secret"), "08P01", "invalid string in message", ""},
		{"no length", "p" + raw("SCRAM-SHA-256\x00\x00"), "08P01", "insufficient data left in message", ""},
		{"a length beyond the end", "p" + raw("SCRAM-SHA-256\x00\x00\x00\x00\x09n,,"), "08P01", "insufficient data left in message", ""},
		{"a negative length", "p" + raw("SCRAM-SHA-256\x00\xff\xff\xff\xfen,,"), "08P01", "insufficient data left in message", ""},
		{"bytes behind the end", "p" + raw("SCRAM-SHA-256\x00\x00\x00\x00\x01n,,"), "08P01", "invalid message format", ""},
		{"bytes behind nothing", "p" + raw("SCRAM-SHA-256\x00\xff\xff\xff\xffn,,"), "08P01", "invalid message format", ""},
		{"an empty message", response("SCRAM-SHA-256", ""), "08P01", "malformed SCRAM message", "The message is empty."},
		{"channel binding", response("SCRAM-SHA-256", "p=tls-unique,,n=,r=abc"), "08P01", "malformed SCRAM message",
			"The client selected SCRAM-SHA-256 without channel binding, but the SCRAM message includes channel binding data."},
		{"an extension", response("SCRAM-SHA-256", "n,,m=1,n=,r=abc"), "0A000", "client requires an unsupported SCRAM extension", ""},
		{"another nonce", response("SCRAM-SHA-256", first) + "p" + raw("c=biws,r=abc,p="+strings.Repeat("A", 43)+"="),
			"08P01", "invalid SCRAM response", "Nonce does not match."},
		{"a query instead of the proof", response("SCRAM-SHA-256", first) + "Q\x00\x00\x00\x06;\x00", "08P01", "expected SASL response, got message type 81", ""},
	} {
		u := newUsers(t)
		answer, s := converse(t, scram(u), packet(protocol30, "user", "app")+tc.sent)
		i := strings.Index(answer, "E\x00\x00")
		if i < 0 {
			t.Errorf("%s: answered %q, %v", tc.why, answer, s.err)
			continue
		}
		if e := parseError(t, answer[i:]); e.Code != tc.code || e.Message != tc.message || e.Detail != tc.detail {
			t.Errorf("%s: answered %+v", tc.why, *e)
		}
	}
}

func TestAuthenticateHangsUp(t *testing.T) {
	for why, sent := range map[string]string{
		"as psql does before it asks for the password": "",
		"half a message":    "p\x00\x00",
		"2 GiB":             "p\x7f\xff\xff\xff",
		"64 KiB and a byte": "p\x00\x01\x00\x05",
		"a length of three": "p\x00\x00\x00\x03",
	} {
		answer, s := converse(t, scram(newUsers(t)), packet(protocol30, "user", "app")+sent)
		if s.err == nil || strings.Contains(answer, "E\x00\x00") {
			t.Errorf("%s: answered %q, %v", why, answer, s.err)
		}
		if sent == "" && !errors.Is(s.err, io.EOF) {
			t.Errorf("%s: %v is not a plain end", why, s.err)
		}
		if strings.Contains(why, "64") && !errors.Is(s.err, handshake.ErrTooLong) {
			t.Errorf("%s: %v", why, s.err)
		}
	}
}

// A client may leave the first response out and wait for an empty challenge.
func TestInitialResponseCanFollow(t *testing.T) {
	answer, _ := converse(t, scram(newUsers(t)),
		packet(protocol30, "user", "app")+"p"+raw("SCRAM-SHA-256\x00\xff\xff\xff\xff")+"p"+raw("n,,n=,r=abc"))
	_, rest, _ := strings.Cut(answer, "SCRAM-SHA-256\x00\x00")
	if !strings.HasPrefix(rest, "R\x00\x00\x00\x08\x00\x00\x00\x0bR") || !strings.Contains(rest, "r=abc") {
		t.Errorf("answered %q", answer)
	}
}

func TestAuthenticationTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		defer client.Close()
		done := make(chan served, 1)
		go func() { done <- serve(t.Context(), server, scram(newUsers(t))) }() // ends with its timeout
		start := time.Now()
		time.Sleep(50 * time.Second) // the time counts from the beginning
		if _, err := io.WriteString(client, packet(protocol30, "user", "app")); err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(client)
		if err != nil || time.Since(start) != time.Minute {
			t.Errorf("%v after %v", err, time.Since(start))
		}
		if i := strings.Index(string(b), "E\x00\x00"); i < 0 || parseError(t, string(b[i:])).Code != "57014" {
			t.Errorf("answered %q", b)
		}
		if s := <-done; s.err == nil {
			t.Error("the caller sees nothing")
		}
	})
}

func TestUnixSocket(t *testing.T) {
	dir := t.TempDir()
	l, err := net.Listen("unix", dir+"/.s.PGSQL.6432")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ends := make(chan served, 2)
	go acceptLoop(t.Context(), l, scram(newUsers(t)), ends) // ends with the listener
	conn, err := pgconn.Connect(t.Context(), "host="+dir+" port=6432 user=app password=app-secret")
	if err != nil {
		t.Fatal(err)
	}
	if err = conn.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if s := <-ends; s.err != nil || s.keys == nil {
		t.Errorf("%+v", s)
	}
	_, err = pgconn.Connect(t.Context(), "host="+dir+" port=6432 user=app password=wrong")
	if e, ok := errors.AsType[*pgconn.PgError](err); !ok || e.Code != "28P01" {
		t.Errorf("%v", err)
	}
}
