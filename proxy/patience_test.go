package proxy_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/proxy"
	"github.com/pgroute/pgroute/router"
)

// TestLoginWaitsForAPrimary: a client that comes while the only server is away
// waits, as a statement does, and is let in when the server is back.
func TestLoginWaitsForAPrimary(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{Replicas: -1})
	trusting := cluster.Start(t, cluster.Options{Replicas: -1, Trust: true})
	for _, x := range []struct {
		name string
		c    *cluster.Cluster
		auth proxy.Auth
	}{{"scram", c, proxy.AuthSCRAM}, {"trust", trusting, proxy.AuthTrust}} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, proxy.Config{Source: source(x.c), Auth: x.auth})
			s.led(t)
			if err := x.c.Primary().Stop(cluster.Fast); err != nil {
				t.Fatal(err)
			}
			dsn := fmt.Sprintf("postgres://%s:%s@%s/%s?sslmode=disable", cluster.AppUser, cluster.AppPassword, s.addr(), cluster.AppDatabase)
			// Longer than anything in a login waits but for a primary.
			ctx, giveUp := context.WithTimeout(t.Context(), 6*time.Second)
			_, err := pgx.Connect(ctx, dsn)
			if giveUp(); err == nil || strings.Contains(err.Error(), "SQLSTATE") {
				t.Fatalf("a client that waits for six seconds is told %v", err)
			}
			entered := make(chan error, 1)
			go func() { // Ends with its login.
				conn, err := pgx.Connect(t.Context(), dsn)
				if err == nil {
					err = conn.Close(t.Context())
				}
				entered <- err
			}()
			if err := x.c.Primary().Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := <-entered; err != nil {
				t.Errorf("a client that waits for the server is told %v", err)
			}
		})
	}
}

// TestLoginWithoutAPrimary: after a while a replica decides about a login. What it
// refuses, it refuses for good, and nobody waits in vain for ever.
func TestLoginWithoutAPrimary(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{Replicas: 1, Trust: true})
	if err := c.WaitCaughtUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := start(t, proxy.Config{Source: source(c), Auth: proxy.AuthTrust, PrimaryWait: 300 * time.Millisecond})
	s.led(t)
	if err := c.Primary().Stop(cluster.Fast); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.Router().WaitTopology(ctx, func(t *router.Topology) bool { return t.Primary == nil }); err != nil {
		t.Fatal(err)
	}
	refused := func(database, code string) {
		t.Helper()
		p, err := login(s.addr(), cluster.AppUser, database)
		if err == nil {
			p.conn.Close()
		}
		if code == "" && err != nil || code != "" && (err == nil || !strings.Contains(err.Error(), "C="+code)) {
			t.Errorf("a client of %s is told %v, want %q", database, err, code)
		}
	}
	refused(cluster.AppDatabase, "")
	refused("nope", "3D000")
	if err := c.Replicas()[0].Stop(cluster.Fast); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		_, err := login(s.addr(), cluster.AppUser, cluster.AppDatabase, "work_mem", "777kB")
		if err == nil || !strings.Contains(err.Error(), "C=57P03") {
			return fmt.Errorf("with no server at all a client is told %v", err)
		}
		return nil
	})
}

// TestLoginThatNoTimeMends: a monitor that may not look up verifiers is told of
// at once; there is nothing to wait for.
func TestLoginThatNoTimeMends(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{Replicas: -1})
	super := connect(t, c.Primary().DSN(cluster.SuperUser, cluster.SuperPassword, "postgres"))
	if _, err := super.Exec(t.Context(), "REVOKE ALL ON FUNCTION pgroute.verifier(text) FROM public, "+cluster.MonitorUser); err != nil {
		t.Fatal(err)
	}
	s := start(t, proxy.Config{Source: source(c), PrimaryWait: time.Hour})
	s.led(t)
	ctx, cancel := context.WithTimeout(t.Context(), 45*time.Second) // a login may take a minute
	defer cancel()
	conn, err := pgx.Connect(ctx, fmt.Sprintf("postgres://%s:%s@%s/%s?sslmode=disable", cluster.AppUser, cluster.AppPassword, s.addr(), cluster.AppDatabase))
	if err == nil {
		conn.Close(ctx)
		t.Fatal("a client is let in")
	}
	wantCode(t, err, "57P03")
}

// TestDrainTellsThoseAtTheirLogin: all that wait for a server when the proxy is
// told to end are told so, also those who share the question of another.
func TestDrainTellsThoseAtTheirLogin(t *testing.T) {
	src, err := router.Static("127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	s, err := serve(proxy.Config{Source: src, Auth: proxy.AuthTrust})
	if err != nil {
		t.Fatal(err)
	}
	const clients = 8
	told := make(chan error, clients)
	for range clients {
		go func() { // Ends with its login.
			_, err := login(s.addr(), cluster.AppUser, cluster.AppDatabase)
			told <- err
		}()
	}
	eventually(t, func() error {
		if n := strings.Count(stacks(), "proxy.(*Server).welcome("); n < clients {
			return fmt.Errorf("%d wait", n)
		}
		return nil
	})
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	for range clients {
		if err := <-told; err == nil || !strings.Contains(err.Error(), "C=57P01") {
			t.Errorf("a client at its login is told %v", err)
		}
	}
}
