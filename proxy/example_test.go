package proxy_test

import (
	"context"
	"fmt"
	"log"
	"os/signal"
	"syscall"
	"time"

	"github.com/pgroute/pgroute/proxy"
	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/pgprobe"
)

// A sidecar: clients connect to port 6432 of this machine.
func Example() {
	source, err := router.Static("db1:5432", "db2:5432", "db3:5432")
	if err != nil {
		log.Fatal(err)
	}
	monitor, err := pgprobe.New(pgprobe.Config{DSN: "postgres://monitor:secret@cluster/postgres"})
	if err != nil {
		log.Fatal(err)
	}
	defer monitor.Close()
	server, err := proxy.New(proxy.Config{
		Source: source, Monitor: monitor,
		Policy: proxy.Policy{Wait: 200 * time.Millisecond, OnTimeout: router.OnTimeoutError},
		Rules:  []proxy.Rule{{User: "report", Policy: proxy.Policy{Consistency: router.LevelEventual}}},
	})
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := server.Run(ctx, 10*time.Second); err != nil {
		log.Fatal(err)
	}
}

// What a Server would do with a text. Without a catalogue less can be proven to
// be a read.
func ExampleExplain() {
	for _, sql := range []string{
		"SELECT 1",
		"/* pgroute: strong */ SELECT 1",
		"SELECT price FROM seats WHERE seat = 17",
		"SET work_mem = '64MB'",
	} {
		e := proxy.Explain(sql, nil, proxy.Policy{})
		fmt.Println(e.Class)
	}
	// Output:
	// read
	// read
	// write
	// setting
}

func ExampleParsePeer() {
	p, err := proxy.ParsePeer("2=10.0.0.12:6432")
	fmt.Println(p.ID, p.Addr, err)
	// Output: 2 10.0.0.12:6432 <nil>
}
