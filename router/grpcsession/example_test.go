package grpcsession_test

import (
	"context"
	"log"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	health "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"

	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/grpcsession"
	"github.com/pgroute/pgroute/router/pgxdb"
)

// open returns the service's database; see package pgxdb.
func open() *pgxdb.DB {
	source, err := router.Static("db1:5432", "db2:5432", "db3:5432")
	if err != nil {
		log.Fatal(err)
	}
	db, err := pgxdb.Open(context.Background(), pgxdb.Config{Source: source, DSN: "user=shop password=secret dbname=shop"})
	if err != nil {
		log.Fatal(err)
	}
	return db
}

// A server whose clients see their own writes at once, whichever instance
// answers them.
func ExampleUnaryServer() {
	db := open()
	defer db.Close()
	srv := grpc.NewServer(grpc.ChainUnaryInterceptor(grpcsession.UnaryServer(db.Router(), grpcsession.Options{})))
	// Register services; they hand the call's context on to db.
	listener, err := net.Listen("tcp", ":9000")
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(srv.Serve(listener))
}

// The same for a server with streams.
func ExampleStreamServer() {
	db := open()
	defer db.Close()
	opts := grpcsession.Options{EveryCall: true}
	srv := grpc.NewServer(
		grpc.ChainUnaryInterceptor(grpcsession.UnaryServer(db.Router(), opts)),
		grpc.ChainStreamInterceptor(grpcsession.StreamServer(db.Router(), opts)),
	)
	srv.Stop()
}

// A service that calls another one of the same cluster: the other sees what
// this session wrote, and this session sees what the other did.
func ExampleUnaryClient() {
	db := open()
	defer db.Close()
	conn, err := grpc.NewClient("stock:9000", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithChainUnaryInterceptor(grpcsession.UnaryClient(db.Router(), grpcsession.Options{})))
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()

	// In a handler the context has its request's session already.
	ctx := router.WithSession(context.Background(), router.NewSession())
	if _, err := health.NewHealthClient(conn).Check(ctx, &health.HealthCheckRequest{}); err != nil {
		log.Fatal(err)
	}
	// What the call wrote, this read sees.
	var n int
	if err := db.Read().QueryRow(ctx, "SELECT count(*) FROM reservations").Scan(&n); err != nil {
		log.Fatal(err)
	}
}

// The same for calls that are streams.
func ExampleStreamClient() {
	db := open()
	defer db.Close()
	conn, err := grpc.NewClient("stock:9000", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithChainStreamInterceptor(grpcsession.StreamClient(db.Router(), grpcsession.Options{})))
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
}

// A client that has no database keeps the token of its last write, and sends
// it with its next call.
func Example_withoutDatabase() {
	conn, err := grpc.NewClient("shop:9000", grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	client := health.NewHealthClient(conn)

	ctx := context.Background()
	var trailer metadata.MD
	if _, err := client.Check(ctx, &health.HealthCheckRequest{}, grpc.Trailer(&trailer)); err != nil {
		log.Fatal(err)
	}
	for _, token := range trailer.Get(grpcsession.Key) {
		ctx = metadata.AppendToOutgoingContext(ctx, grpcsession.Key, token)
	}
	if _, err := client.List(ctx, &health.HealthListRequest{}); err != nil {
		log.Fatal(err)
	}
}
