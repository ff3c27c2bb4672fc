package stress_test

import (
	"context"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgroute/pgroute/internal/cluster"
)

// A transaction whose server connection ended between two statements is lost.
// A COMMIT that follows must say so with an error: the tag ROLLBACK, which is
// all that PostgreSQL answers in a failed transaction, is what few clients look
// at.
func TestCommitOfLostTransactionFails(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Trust: true, Replicas: 1})
	if err := errors.Join(c.Primary().Exec(t.Context(), schema...), c.WaitCaughtUp(t.Context())); err != nil {
		t.Fatal(err)
	}
	s := startSidecar(t, "a", newSource(c.Nodes()...), nil)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	commits := map[string]func(*pgx.Conn) error{
		"simple": func(conn *pgx.Conn) error {
			_, err := simple(ctx, conn, "COMMIT")
			return err
		},
		"extended": func(conn *pgx.Conn) error {
			_, err := conn.PgConn().ExecParams(ctx, "COMMIT", nil, nil, nil, nil).Close()
			return err
		},
	}
	for name, commit := range commits {
		t.Run(name, func(t *testing.T) {
			conn, err := s.dial(ctx)
			if err != nil {
				t.Fatal(err)
			}
			defer hangUp(conn)
			for _, sql := range []string{"BEGIN", "UPDATE kv SET v = v + 1 WHERE k = 0"} {
				if _, err = simple(ctx, conn, sql); err != nil {
					t.Fatal(err)
				}
			}
			// To ask the session itself would pin it.
			pid, err := c.Primary().QueryString(ctx, "SELECT pid FROM pg_stat_activity WHERE state = 'idle in transaction'")
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Primary().EndBackends(ctx, "pid = "+pid); err != nil {
				t.Fatal(err)
			}
			if err := commit(conn); err == nil {
				t.Error("COMMIT was answered without an error, and nothing was committed")
			} else {
				t.Log(err)
			}
			// The client's connection goes on.
			if got, err := simple(ctx, conn, primaryHint+probeSQL); err != nil || got != "0" {
				t.Errorf("read %q afterwards, %v", got, err)
			}
		})
	}
}
