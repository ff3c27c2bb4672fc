package pgxdb_test

import (
	"context"
	"database/sql"
	"fmt"
	"log"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/pgxdb"
)

// exampleSource names the servers of a cluster that runs for the tests.
func exampleSource() router.Source {
	shared.once.Do(func() { shared.c, shared.err = cluster.New(context.Background(), cluster.Options{Replicas: 2}) })
	if shared.err != nil {
		log.Fatal(shared.err)
	}
	source, err := router.Static(shared.c.Addrs()...)
	if err != nil {
		log.Fatal(err)
	}
	return source
}

// With database/sql, and with what is built on it, the cluster is one *sql.DB.
func ExampleNewConnector() {
	ctx := context.Background()
	cluster, err := pgxdb.Open(ctx, pgxdb.Config{Source: exampleSource(), DSN: appDSN, MonitorDSN: monitorDSN})
	if err != nil {
		log.Fatal(err)
	}
	defer cluster.Close()
	db := sql.OpenDB(pgxdb.NewConnector(cluster.Auto()))
	defer db.Close()

	if _, err := db.ExecContext(ctx, `CREATE TABLE example_seats (id int PRIMARY KEY, taken_by text)`); err != nil {
		log.Fatal(err)
	}
	// The primary takes the write …
	if _, err := db.ExecContext(ctx, `INSERT INTO example_seats VALUES (17, $1)`, "Ada"); err != nil {
		log.Fatal(err)
	}
	// … and a replica that has replayed it, or else the primary, answers the read.
	var name string
	if err := db.QueryRowContext(ctx, `SELECT taken_by FROM example_seats WHERE id = $1`, 17).Scan(&name); err != nil {
		log.Fatal(err)
	}
	fmt.Println("seat 17:", name)
	// Output: seat 17: Ada
}

// What belongs to one session needs a sql.Conn: here a lock that only one
// instance of a service can have at a time.
func ExampleNewConnector_session() {
	ctx := context.Background()
	cluster, err := pgxdb.Open(ctx, pgxdb.Config{Source: exampleSource(), DSN: appDSN, MonitorDSN: monitorDSN})
	if err != nil {
		log.Fatal(err)
	}
	defer cluster.Close()
	db := sql.OpenDB(pgxdb.NewConnector(cluster.Auto()))
	defer db.Close()

	var first, second *sql.Conn
	for _, conn := range []**sql.Conn{&first, &second} {
		if *conn, err = db.Conn(ctx); err != nil {
			log.Fatal(err)
		}
		defer (*conn).Close()
	}
	locks := func(conn *sql.Conn) (ok bool) {
		if err := conn.QueryRowContext(ctx, `SELECT pg_try_advisory_lock(1815)`).Scan(&ok); err != nil {
			log.Fatal(err)
		}
		return ok
	}
	fmt.Println("the first has it:", locks(first))
	fmt.Println("the second has it:", locks(second))
	first.Close() // ends the session, and the lock with it
	fmt.Println("the second has it:", locks(second))
	// Output:
	// the first has it: true
	// the second has it: false
	// the second has it: true
}
