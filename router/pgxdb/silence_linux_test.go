package pgxdb_test

import (
	"context"
	"net"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sys/unix"

	"github.com/pgroute/pgroute/internal/silence"
	"github.com/pgroute/pgroute/router/pgxdb"
)

// TestSilenceOfAServerIsBounded: a statement does not wait for a host that was
// cut off, on whatever connection it runs, unless a hook dials in its own way.
func TestSilenceOfAServerIsBounded(t *testing.T) {
	c := common(t)
	var dials atomic.Int64
	for _, test := range []struct {
		name   string
		change func(*pgxdb.Config)
		want   time.Duration
	}{
		{"by default", func(*pgxdb.Config) {}, silence.Limit},
		{"with a timeout", func(cfg *pgxdb.Config) { cfg.DSN += "&connect_timeout=60" }, silence.Limit},
		{"with a DialFunc", func(cfg *pgxdb.Config) {
			cfg.Pool = func(p *pgxpool.Config) {
				p.ConnConfig.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
					dials.Add(1)
					return new(net.Dialer).DialContext(ctx, network, addr)
				}
			}
		}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			dials.Store(0)
			db := open(t, c, test.change)
			ctx := patience(t)
			conn, err := db.Acquire(ctx)
			must(t, err)
			defer conn.Release()
			rows, err := db.Read().Query(ctx, "select 1")
			must(t, err)
			defer rows.Close()
			for _, c := range []net.Conn{conn.Conn().PgConn().Conn(), rows.Conn().PgConn().Conn()} {
				if got := unacknowledged(t, c.(syscall.Conn)); got != test.want {
					t.Errorf("a connection whose data nobody acknowledges breaks after %v, want %v", got, test.want)
				}
			}
			if test.want == 0 && dials.Load() < 2 {
				t.Errorf("the hook has dialled %d times", dials.Load())
			}
		})
	}
}

// unacknowledged is TCP_USER_TIMEOUT, 0 if there is none.
func unacknowledged(t *testing.T, c syscall.Conn) (d time.Duration) {
	t.Helper()
	raw, err := c.SyscallConn()
	must(t, err)
	must(t, raw.Control(func(fd uintptr) {
		var ms int
		ms, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
		d = time.Duration(ms) * time.Millisecond
	}))
	must(t, err)
	return d
}
