package handshake_test

import (
	"context"
	"net"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/pgroute/pgroute/proxy/internal/auth"
	"github.com/pgroute/pgroute/proxy/internal/handshake"
)

// A script is a client without a goroutine and without a socket: what the
// server writes is answered at once.
type script struct {
	client *auth.Client
	inbox  []byte
	step   int
}

func (s *script) Read(b []byte) (int, error) {
	n := copy(b, s.inbox)
	s.inbox = s.inbox[n:]
	return n, nil
}

func (s *script) Write(b []byte) (int, error) {
	switch s.step++; s.step {
	case 1: // AuthenticationSASL
		s.inbox = append(s.inbox, response(auth.Mechanism, string(s.client.First()))...)
	case 2: // AuthenticationSASLContinue
		final, err := s.client.Final(b[9:])
		if err != nil {
			return 0, err
		}
		s.inbox = append(s.inbox, "p"+raw(string(final))...)
	case 3: // AuthenticationSASLFinal
		if err := s.client.Verify(b[9:]); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

func (*script) Close() error                     { return nil }
func (*script) LocalAddr() net.Addr              { return nil }
func (*script) RemoteAddr() net.Addr             { return nil }
func (*script) SetDeadline(time.Time) error      { return nil }
func (*script) SetReadDeadline(time.Time) error  { return nil }
func (*script) SetWriteDeadline(time.Time) error { return nil }

// keysOfApp logs in once with the password.
func keysOfApp(t testing.TB, u *users) *auth.Keys {
	t.Helper()
	s := &script{client: auth.NewPasswordClient("app-secret"), inbox: []byte(packet(protocol30, "user", "app"))}
	return logIn(t, s, scram(u))
}

func logIn(t testing.TB, s *script, cfg handshake.Config) *auth.Keys {
	t.Helper()
	outcome, err := handshake.Accept(context.Background(), s, cfg)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := handshake.Authenticate(context.Background(), s, outcome.Startup, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err = handshake.Welcome(s, reported, 4711, []byte("key4")); err != nil {
		t.Fatal(err)
	}
	return keys
}

// The benchmark's client is part of what it measures; BenchmarkClient is what
// to subtract.
func BenchmarkLogin(b *testing.B) {
	u := newUsers(b)
	keys := keysOfApp(b, u)
	cfg := scram(u)
	hello := packet(protocol30, "user", "app", "database", "shop", "application_name", "bench", "client_encoding", "UTF8")
	b.ReportAllocs()
	for b.Loop() {
		logIn(b, &script{client: auth.NewClient(keys), inbox: []byte(hello)}, cfg)
	}
}

func BenchmarkClient(b *testing.B) {
	keys := keysOfApp(b, newUsers(b))
	hello := packet(protocol30, "user", "app", "database", "shop", "application_name", "bench", "client_encoding", "UTF8")
	b.ReportAllocs()
	for b.Loop() {
		s := &script{client: auth.NewClient(keys), inbox: []byte(hello)}
		s.inbox = append(s.inbox[:0], response(auth.Mechanism, string(s.client.First()))...)
		final, err := s.client.Final([]byte("r=" + string(s.inbox[len(s.inbox)-24:]) + "xyz,s=c2l4dGVlbiBieXRlcyEhIQ==,i=4096"))
		if err != nil {
			b.Fatal(err)
		}
		s.inbox = append(s.inbox[:0], "p"+raw(string(final))...)
	}
}

// Logging in must leave nothing behind but the keys, and must not take long
// when all clients come back at once.
func TestLoginsRetainNothing(t *testing.T) {
	const logins = 5000
	u := newUsers(t)
	keys := keysOfApp(t, u)
	cfg := scram(u)
	cfg.Lookup = auth.NewCache(u.Verifier, auth.CacheConfig{})
	hello := packet(protocol30, "user", "app", "database", "shop")
	run := func() {
		for range logins {
			logIn(t, &script{client: auth.NewClient(keys), inbox: []byte(hello)}, cfg)
		}
	}
	run()
	before, spent := liveHeap(), processorTime(t)
	start := time.Now()
	run()
	took, spent := time.Since(start), processorTime(t)-spent
	grown := int64(liveHeap()) - int64(before)
	t.Logf("%d logins took %v and %v of a processor, the heap grew by %d bytes", logins, took, spent, grown)
	if grown > 64<<10 {
		t.Errorf("the heap grew by %d bytes", grown)
	}
	// Not the clock: a busy machine gives the processor to others.
	if spent > time.Minute {
		t.Errorf("%d logins took %v of a processor", logins, spent)
	}
}

// processorTime is what this process has used of the processors.
func processorTime(t testing.TB) time.Duration {
	t.Helper()
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		t.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

func liveHeap() uint64 {
	for range 3 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
