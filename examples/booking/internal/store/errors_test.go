package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// connBusy is pgconn's error of a connection that is in use.
type connBusy struct{}

func (connBusy) Error() string     { return "conn busy" }
func (connBusy) SafeToRetry() bool { return true }

func TestTransient(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want bool
	}{
		{&pgconn.PgError{Code: "08006"}, true}, // the connection was lost
		{&pgconn.PgError{Code: "08007"}, true}, // the outcome of a COMMIT is unknown
		{&pgconn.PgError{Code: "40001"}, true},
		{&pgconn.PgError{Code: "40P01"}, true},
		{&pgconn.PgError{Code: "57P01"}, true}, // the server or the sidecar is ending
		{&pgconn.PgError{Code: "57P03"}, true}, // there is no primary
		{&pgconn.PgError{Code: "53300"}, true},
		{fmt.Errorf("book: %w", io.ErrUnexpectedEOF), true},
		{&net.OpError{Op: "dial", Err: errors.New("connection refused")}, true},
		{context.DeadlineExceeded, true}, // one attempt has used up its time
		{errAgain, true},
		{fmt.Errorf("read: %w", pgconn.ErrConnClosed), true},
		{connBusy{}, false}, // as pgconn says it
		{&pgconn.PgError{Code: "23505"}, false},
		{&pgconn.PgError{Code: "42P01"}, false},
		{&pgconn.PgError{Code: "42501"}, false},
		{&pgconn.PgError{Code: "PR001"}, false},
		{ErrSeatTaken, false},
		{context.Canceled, false},
		{errors.New("cannot scan"), false},
	} {
		if got := transient(tt.err); got != tt.want {
			t.Errorf("%v: %v", tt.err, got)
		}
	}
}

func TestRetryEndsWithTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		attempts := 0
		err := retry(ctx, func(context.Context) error { attempts++; return io.EOF })
		if !errors.Is(err, ErrUnavailable) || !errors.Is(err, io.EOF) {
			t.Errorf("%v", err)
		}
		// Pauses double up to half a second and are random around that.
		if attempts < 10 || attempts > 60 {
			t.Errorf("%d attempts in 10 s", attempts)
		}
	})
}

func TestRetryBoundsEachAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
		defer cancel()
		attempts := 0
		err := retry(ctx, func(ctx context.Context) error {
			if attempts++; attempts == 2 {
				return nil
			}
			<-ctx.Done() // a server that hangs
			return ctx.Err()
		})
		if err != nil || attempts != 2 {
			t.Errorf("%v after %d attempts", err, attempts)
		}
	})
}

func TestRetryReturnsWhatIsFinal(t *testing.T) {
	attempts := 0
	err := retry(t.Context(), func(context.Context) error { attempts++; return ErrSeatTaken })
	if !errors.Is(err, ErrSeatTaken) || attempts != 1 {
		t.Errorf("%v after %d attempts", err, attempts)
	}
	err = retry(t.Context(), func(context.Context) error { attempts++; return &pgconn.PgError{Code: "PR001"} })
	if !errors.Is(err, ErrNotFresh) || attempts != 2 {
		t.Errorf("%v after %d attempts", err, attempts)
	}
}
