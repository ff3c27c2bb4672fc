package pgprobe_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/pgprobe"
)

func TestErrorsKillTheProbe(t *testing.T) {
	c := start(t, cluster.Options{Replicas: -1})
	node := c.Primary()
	relay, err := cluster.NewRelay(node.Addr(), 0)
	must(t, err)
	defer relay.Close()
	via := router.Addr{Name: "relayed", Host: "127.0.0.1", Port: relay.Port()}
	calls := map[string]func(context.Context, router.Probe) error{
		"Identify": func(ctx context.Context, p router.Probe) error { _, err := p.Identify(ctx); return err },
		"Replay":   func(ctx context.Context, p router.Probe) error { _, err := p.Replay(ctx); return err },
		"Insert":   func(ctx context.Context, p router.Probe) error { _, _, err := p.Insert(ctx); return err },
		"Nudge":    func(ctx context.Context, p router.Probe) error { return p.Nudge(ctx) },
	}
	dead := func(t *testing.T, p router.Probe) {
		t.Helper()
		for name, call := range calls {
			if err := call(t.Context(), p); err == nil || !contains(err, "dead") {
				t.Fatalf("%s on a dead probe: %v", name, err)
			}
		}
		_ = p.Close()
		must(t, p.Close())
	}
	for name, call := range calls {
		t.Run(name+"/reset", func(t *testing.T) {
			p := connect(t, monitorDSN, via)
			relay.Drop()
			eventually(t, "the reset", func() bool { return call(t.Context(), p) != nil })
			dead(t, p)
		})
		t.Run(name+"/terminated", func(t *testing.T) {
			p := connect(t, monitorDSN, via)
			terminateMonitors(t, node)
			err := call(t.Context(), p)
			var pgErr *pgconn.PgError
			if errors.As(err, &pgErr) && pgErr.Code != "57P01" || err == nil {
				t.Fatalf("after pg_terminate_backend: %v", err)
			}
			dead(t, p)
		})
		t.Run(name+"/cancelled", func(t *testing.T) {
			p := connect(t, monitorDSN, via)
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			must(t, call(ctx, p))
			relay.Cut()
			defer relay.Heal()
			reason := errors.New("enough")
			ended := make(chan error, 1)
			go func() { ended <- call(ctx, p) }()
			cancel(reason)
			select {
			case err := <-ended:
				if !errors.Is(err, reason) {
					t.Fatalf("cancelled call: %v", err)
				}
			case <-time.After(patience):
				t.Fatal("a cancelled call does not end")
			}
			dead(t, p)
		})
		t.Run(name+"/deadline", func(t *testing.T) {
			p := connect(t, monitorDSN, via)
			relay.Cut()
			defer relay.Heal()
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
			defer cancel()
			if err := call(ctx, p); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("call beyond its deadline: %v", err)
			}
			dead(t, p)
		})
		t.Run(name+"/closed", func(t *testing.T) {
			p := connect(t, monitorDSN, via)
			relay.Cut()
			defer relay.Heal()
			ended := make(chan error, 1)
			go func() { ended <- call(t.Context(), p) }()
			must(t, p.Close())
			if err := <-ended; err == nil {
				t.Fatal("a call survived Close")
			}
			dead(t, p)
		})
	}
	t.Run("no deadline at all", func(t *testing.T) {
		p, err := pgprobe.New(pgprobe.Config{DSN: monitorDSN, CallTimeout: 30 * time.Millisecond})
		must(t, err)
		c, err := p.Connect(t.Context(), via)
		must(t, err)
		relay.Cut()
		defer relay.Heal()
		if _, err := c.Replay(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("a call over a cut line: %v", err)
		}
		dead(t, c)
	})
	t.Run("a context that ends between calls does no harm", func(t *testing.T) {
		p := connect(t, monitorDSN, via)
		for range 50 {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			_, err := p.Replay(ctx)
			must(t, err)
			cancel()
			must(t, calls["Insert"](t.Context(), p))
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := p.Replay(ctx); !errors.Is(err, context.Canceled) {
			t.Fatalf("a call under an ended context: %v", err)
		}
		dead(t, p)
	})
	t.Run("connecting to a silent server", func(t *testing.T) {
		relay.Cut()
		defer relay.Heal()
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := prober(t, monitorDSN).Connect(ctx, via); err == nil {
			t.Fatal("connected over a cut line")
		}
	})
}

func TestConnectSaysWhatIsWrong(t *testing.T) {
	c := start(t, cluster.Options{Replicas: -1})
	for _, tt := range []struct {
		reason, dsn, code string
		addr              router.Addr
	}{
		{"wrong password", monitorDSN + " password=wrong", "28P01", addr(c.Primary())},
		{"unknown database", monitorDSN + " dbname=nowhere", "3D000", addr(c.Primary())},
		{"nobody listens", monitorDSN, "", router.Addr{Name: "n", Host: "127.0.0.1", Port: 1}},
		{"no host", monitorDSN, "", router.Addr{Name: "n", Port: 1}},
	} {
		t.Run(tt.reason, func(t *testing.T) {
			_, err := prober(t, tt.dsn).Connect(t.Context(), tt.addr)
			if err == nil {
				t.Fatal("connected")
			}
			if contains(err, cluster.MonitorPassword) {
				t.Fatalf("the error tells the password: %v", err)
			}
			var pgErr *pgconn.PgError
			if tt.code != "" && (!errors.As(err, &pgErr) || pgErr.Code != tt.code) {
				t.Fatalf("error %v, want SQLSTATE %s", err, tt.code)
			}
		})
	}
}
