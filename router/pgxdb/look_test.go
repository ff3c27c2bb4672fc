package pgxdb_test

import (
	"context"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/pgxdb"
)

// hidden is a cluster whose primary hides commits: it waits for a standby that
// does not exist, while its replica shows them.
type hidden struct {
	*cluster.Cluster
	table string
	n     int // commits
}

func newHidden(t *testing.T) *hidden {
	t.Helper()
	c := cluster.Start(t, cluster.Options{Replicas: 1})
	return &hidden{Cluster: c, table: tableOf(t, c, "k int")}
}

func (h *hidden) hide(t *testing.T, name string) {
	t.Helper()
	must(t, h.Primary().SetSynchronous(patience(t), name))
}

// commits lets a commit be shown by the replica alone, until the function that it
// returns is called, and reads it there for the session of ctx.
func (h *hidden) commits(t *testing.T, db *pgxdb.DB, ctx context.Context) (show func()) {
	t.Helper()
	h.hide(t, "nobody")
	conn, err := h.Primary().App(ctx)
	must(t, err)
	done := make(chan error, 1)
	go func() { // ends when the commit is shown
		_, err := conn.Exec(ctx, "insert into "+h.table+" values (1)")
		done <- err
	}()
	h.n++
	for replica := db.Read().Within(time.Minute, router.OnTimeoutError); ; {
		if one[int](t, replica.QueryRow(ctx, "select count(*) from "+h.table)) == h.n {
			break
		}
	}
	if n, err := h.Primary().QueryString(ctx, "select count(*) from "+h.table); err != nil || n != strconv.Itoa(h.n-1) {
		t.Fatalf("the primary shows %s rows of %d, %v", n, h.n, err)
	}
	return func() {
		h.hide(t, "")
		must(t, <-done)
		must(t, conn.Close(ctx))
	}
}

// TestReadOnThePrimaryIsGuarded: whoever has read on a replica does not go back
// by reading on the primary, in a transaction that may write and elsewhere.
func TestReadOnThePrimaryIsGuarded(t *testing.T) {
	h := newHidden(t)
	count := "select count(*) from " + h.table
	db := open(t, h.Cluster, patient)
	inTx := func(options pgx.TxOptions, do func(context.Context, pgx.Tx) int) func(context.Context) int {
		return func(ctx context.Context) (n int) {
			must(t, pgx.BeginTxFunc(ctx, db, options, func(tx pgx.Tx) error {
				n = do(ctx, tx)
				return nil
			}))
			return n
		}
	}
	queryRow := func(ctx context.Context, tx pgx.Tx) int {
		return one[int](t, tx.QueryRow(ctx, "/* a /* b */ */ -- c\n ("+count+")"))
	}
	for _, test := range []struct {
		name string
		read func(ctx context.Context) int
	}{
		{"a transaction", inTx(pgx.TxOptions{}, queryRow)},
		{"a transaction that wrote before", inTx(pgx.TxOptions{}, func(ctx context.Context, tx pgx.Tx) int {
			_, err := tx.Exec(ctx, "update "+h.table+" set k = k where false")
			must(t, err)
			return queryRow(ctx, tx)
		})},
		{"REPEATABLE READ", inTx(pgx.TxOptions{IsoLevel: pgx.RepeatableRead}, queryRow)},
		{"a savepoint in REPEATABLE READ", inTx(pgx.TxOptions{IsoLevel: pgx.RepeatableRead}, func(ctx context.Context, tx pgx.Tx) int {
			inner, err := tx.Begin(ctx)
			must(t, err)
			return queryRow(ctx, inner)
		})},
		{"a batch in a transaction", inTx(pgx.TxOptions{}, func(ctx context.Context, tx pgx.Tx) (n int) {
			b := &pgx.Batch{}
			b.Queue("update " + h.table + " set k = k where false")
			b.Queue("with x as (" + count + ") select * from x").QueryRow(func(row pgx.Row) error { return row.Scan(&n) })
			must(t, tx.SendBatch(ctx, b).Close())
			return n
		})},
		{"an acquired connection", func(ctx context.Context) int {
			conn, err := db.Acquire(ctx)
			must(t, err)
			defer conn.Release()
			return one[int](t, conn.QueryRow(ctx, count))
		}},
		{"a query by Write", func(ctx context.Context) int { return one[int](t, db.QueryRow(ctx, count)) }},
		{"a batch by Write", func(ctx context.Context) (n int) {
			b := &pgx.Batch{}
			b.Queue(count).QueryRow(func(row pgx.Row) error { return row.Scan(&n) })
			must(t, db.SendBatch(ctx, b).Close())
			return n
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			ctx := router.WithSession(patience(t), router.NewSession())
			waits := db.Router().Stats().GuardWaits
			show := h.commits(t, db, ctx)
			got := make(chan int, 1)
			go func() { got <- test.read(ctx) }() // ends once the commit is shown
			for db.Router().Stats().GuardWaits == waits && len(got) == 0 {
				<-time.After(time.Millisecond)
			}
			show()
			if n := <-got; n != h.n {
				t.Errorf("%d rows on the primary after %d on the replica", n, h.n)
			}
		})
	}
}

// TestWriteIsNotGuarded: a write waits for nothing, nor does who reads first
// and asked for less; a read that may not wait fails, and its transaction goes
// on.
func TestWriteIsNotGuarded(t *testing.T) {
	h := newHidden(t)
	count := "select count(*) from " + h.table
	db := open(t, h.Cluster, patient)
	ctx := router.WithSession(patience(t), router.NewSession())
	defer h.commits(t, db, ctx)()
	tx, err := db.Begin(ctx)
	must(t, err)
	_, err = tx.Exec(ctx, "insert into "+h.table+" values (2)")
	must(t, err)
	must(t, tx.Rollback(ctx))
	eventual, err := db.Write().At(router.LevelEventual).Begin(ctx)
	must(t, err)
	if n := one[int](t, eventual.QueryRow(ctx, count)); n != 0 {
		t.Errorf("%d rows are shown", n)
	}
	must(t, eventual.Rollback(ctx))
	// Should the monitor of the replica connect again after the read there, then
	// nobody can tell, and the read is let through.
	var pg *pgconn.PgError
	for refused := false; !refused; {
		if n := one[int](t, db.Read().Within(time.Minute, router.OnTimeoutError).QueryRow(ctx, count)); n != h.n {
			t.Fatalf("%d rows on the replica", n)
		}
		tx, err = db.Write().Within(0, router.OnTimeoutError).Begin(ctx)
		must(t, err)
		err = tx.QueryRow(ctx, count).Scan(new(int))
		if refused = errors.As(err, &pg) && pg.Code == "PR001"; !refused {
			must(t, err)
			must(t, tx.Rollback(ctx))
		}
	}
	_, err = tx.Exec(ctx, "insert into "+h.table+" values (2)")
	must(t, err)
	must(t, tx.Rollback(ctx))
}
