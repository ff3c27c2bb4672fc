package pgxdb_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/pgxdb"
)

// demo says how to reach a cluster, and empties its table of bookings. A
// service has its cluster already.
func demo() (context.Context, pgxdb.Config) {
	ctx := context.Background()
	c, err := started()
	check(err)
	conn, err := c.Primary().App(ctx)
	check(err)
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, "drop table if exists bookings; create table bookings (seat int primary key, who text)")
	check(err)
	source, err := router.Static(c.Addrs()...)
	check(err)
	return ctx, pgxdb.Config{Source: source, DSN: appDSN, MonitorDSN: monitorDSN, Logger: quiet}
}

// opened is demo with an open DB.
func opened() (context.Context, *pgxdb.DB, func()) {
	ctx, cfg := demo()
	db, err := pgxdb.Open(ctx, cfg)
	check(err)
	return ctx, db, db.Close
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func ExampleOpen() {
	ctx, cfg := demo()
	// cfg.Source names the servers, cfg.DSN user, password and database.
	cfg.Wait = 200 * time.Millisecond
	cfg.Pool = func(p *pgxpool.Config) { p.MaxConnLifetime = time.Hour }
	db, err := pgxdb.Open(ctx, cfg)
	check(err)
	defer db.Close()

	_, err = db.Exec(ctx, "insert into bookings values (17, 'Anna')")
	check(err)
	var who string
	check(db.Read().QueryRow(ctx, "select who from bookings where seat = 17").Scan(&who))
	fmt.Println(who)
	// Output: Anna
}

func ExampleLostWriteError() {
	ctx, cfg := demo()
	cfg.OnLostWrite = func(_ context.Context, lost *pgxdb.LostWriteError) error {
		if lost.Fate == router.FateMaybeLost {
			log.Print(lost) // whoever books next is not to be bothered
			return nil
		}
		return lost
	}
	db, err := pgxdb.Open(ctx, cfg)
	check(err)
	defer db.Close()

	// An end user has a session of their own, so that nobody else is told.
	ctx = router.WithSession(ctx, router.NewSession())
	_, err = db.Exec(ctx, "insert into bookings values (17, 'Anna')")
	check(err)
	_, err = db.Exec(ctx, "insert into bookings values (18, 'Anna')")
	var lost *pgxdb.LostWriteError
	switch {
	case errors.As(err, &lost):
		// Seat 17 is free again, and 18 was not booked: this call has not run.
		fmt.Println(lost.SQLState(), lost)
	case err == nil:
		fmt.Println("both are booked")
	}
	// Output: both are booked
}

func ExampleDB_Read() {
	ctx, db, stop := opened()
	defer stop()
	_, err := db.Exec(ctx, "insert into bookings values (1, 'Anna'), (2, 'Bert')")
	check(err)
	rows, err := db.Read().Query(ctx, "select who from bookings order by seat")
	check(err)
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	check(err)
	fmt.Println(names)

	_, err = db.Read().Exec(ctx, "delete from bookings")
	var pg *pgconn.PgError
	fmt.Println(errors.As(err, &pg), pg.Code)
	// Output:
	// [Anna Bert]
	// true 25006
}

func ExampleDB_Write() {
	ctx, db, stop := opened()
	defer stop()
	var seat int
	check(db.Write().QueryRow(ctx, "insert into bookings values (3, 'Carla') returning seat").Scan(&seat))
	fmt.Println(seat)
	// Output: 3
}

func ExampleDB_Auto() {
	ctx, db, stop := opened()
	defer stop()
	auto := db.Auto()
	_, err := auto.Exec(ctx, "insert into bookings values (4, 'Dora')") // the primary
	check(err)
	var n int
	check(auto.QueryRow(ctx, "select count(*) from bookings").Scan(&n)) // a replica
	fmt.Println(n)
	check(auto.QueryRow(ctx, "/* pgroute: primary */ select count(*) from bookings").Scan(&n))
	fmt.Println(n)
	// Output:
	// 1
	// 1
}

func ExampleDB_BeginTx() {
	ctx, db, stop := opened()
	defer stop()
	err := pgx.BeginFunc(ctx, db, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "insert into bookings values (5, 'Emil')")
		return err
	})
	check(err)
	report := pgx.TxOptions{AccessMode: pgx.ReadOnly, IsoLevel: pgx.RepeatableRead}
	err = pgx.BeginTxFunc(ctx, db, report, func(tx pgx.Tx) error {
		var n int
		err := tx.QueryRow(ctx, "select count(*) from bookings").Scan(&n)
		fmt.Println(n)
		return err
	})
	check(err)
	// Output: 1
}

func ExampleDB_SendBatch() {
	ctx, db, stop := opened()
	defer stop()
	b := &pgx.Batch{}
	b.Queue("insert into bookings values (6, 'Fred')")
	b.Queue("select count(*) from bookings").QueryRow(func(row pgx.Row) error {
		var n int
		err := row.Scan(&n)
		fmt.Println(n)
		return err
	})
	check(db.SendBatch(ctx, b).Close())
	// Output: 1
}

func ExampleDB_CopyFrom() {
	ctx, db, stop := opened()
	defer stop()
	n, err := db.CopyFrom(ctx, pgx.Identifier{"bookings"}, []string{"seat", "who"},
		pgx.CopyFromRows([][]any{{7, "Gina"}, {8, "Hugo"}}))
	check(err)
	fmt.Println(n)
	// Output: 2
}

func ExampleDB_Acquire() {
	ctx, db, stop := opened()
	defer stop()
	conn, err := db.Acquire(ctx)
	check(err)
	defer conn.Release()
	_, err = conn.Exec(ctx, "create temporary table draft (like bookings)")
	check(err)
	tag, err := conn.Exec(ctx, "insert into draft values (9, 'Ida')")
	check(err)
	fmt.Println(tag)
	// Output: INSERT 0 1
}

func ExampleDB_Token() {
	ctx, db, stop := opened()
	defer stop()
	_, err := db.Exec(ctx, "insert into bookings values (10, 'Jan')")
	check(err)
	token, err := db.Token(ctx)
	check(err)

	// Elsewhere: a job that was handed the token, with a session of its own.
	job := router.WithSession(ctx, router.NewSession())
	check(db.Accept(job, token))
	var n int
	check(db.Read().QueryRow(job, "select count(*) from bookings").Scan(&n))
	fmt.Println(n)
	// Output: 1
}

func ExampleQueries_At() {
	ctx, db, stop := opened()
	defer stop()
	var n int
	// A dashboard that may be late, and an audit that may not.
	check(db.Read().At(router.LevelEventual).QueryRow(ctx, "select count(*) from pg_class where false").Scan(&n))
	check(db.Read().At(router.LevelStrong).QueryRow(ctx, "select count(*) from bookings").Scan(&n))
	fmt.Println(n)
	// Output: 0
}

func ExampleQueries_MaxStaleness() {
	ctx, db, stop := opened()
	defer stop()
	_, err := db.Exec(ctx, "insert into bookings values (14, 'Nora')")
	check(err)
	somebodyElse := router.WithSession(ctx, router.NewSession())
	dashboard := db.Read().At(router.LevelBounded).MaxStaleness(5 * time.Second)
	var n int
	check(dashboard.QueryRow(somebodyElse, "select count(*) from pg_class where false").Scan(&n))
	check(dashboard.MaxStaleness(0).QueryRow(somebodyElse, "select count(*) from bookings").Scan(&n))
	fmt.Println(n)
	// Output: 1
}

func ExampleQueries_Within() {
	ctx, db, stop := opened()
	defer stop()
	// Up to a second for a replica, then an error rather than load on the primary.
	careful := db.Read().Within(time.Second, router.OnTimeoutError)
	var n int
	err := careful.QueryRow(ctx, "select 1").Scan(&n)
	var refused *router.RouteError
	if errors.As(err, &refused) {
		n, err = 1, nil // SQLSTATE PR001: tell the user to try again
	}
	fmt.Println(n, err)
	// Output: 1 <nil>
}

func ExampleQueries_Trace() {
	ctx, db, stop := opened()
	defer stop()
	q := db.Write().Trace(func(r pgxdb.Route) { fmt.Println(r.Role, r.Reason, r.Level) })
	_, err := q.Exec(ctx, "insert into bookings values (11, 'Kai')")
	check(err)
	// Output: primary write primary
}

func ExampleDB_Stat() {
	ctx, db, stop := opened()
	defer stop()
	_, err := db.Exec(ctx, "insert into bookings values (12, 'Lea')")
	check(err)
	fmt.Println(db.Stat().Writes)
	// Output: 1
}
