package router_test

import (
	"context"
	"fmt"
	"log"

	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/pgxdb"
)

// message is one of a queue: Kafka, AMQP, SQS, or a table of jobs. All of them
// have room for headers.
type message struct {
	headers map[string]string
	body    string
}

// order writes an order and puts a message about it into the queue. The token
// is made after the write was committed, so it covers the order.
func order(ctx context.Context, db *pgxdb.DB, queue chan<- message, id string) error {
	if _, err := db.Exec(ctx, "INSERT INTO orders (id) VALUES ($1)", id); err != nil {
		return fmt.Errorf("order %s: %w", id, err)
	}
	m := message{headers: make(map[string]string), body: id}
	if err := db.Router().Inject(ctx, func(key, value string) { m.headers[key] = value }); err != nil {
		return fmt.Errorf("order %s: %w", id, err)
	}
	queue <- m
	return nil
}

// ship handles a message, perhaps days later, perhaps before any replica has
// the order: the read waits for one that has it.
func ship(ctx context.Context, db *pgxdb.DB, m message) error {
	ctx, err := db.Router().Extract(ctx, func(key string) string { return m.headers[key] })
	if err != nil {
		return fmt.Errorf("ship %s: %w", m.body, err) // a *router.TokenError will not heal by itself
	}
	var customer string
	if err := db.Read().QueryRow(ctx, "SELECT customer FROM orders WHERE id = $1", m.body).Scan(&customer); err != nil {
		return fmt.Errorf("ship %s: %w", m.body, err)
	}
	return nil
}

// A service hands work to another one through a queue. The queue is quicker
// than the replicas; with the token in the message's headers that does no harm.
func Example_messages() {
	var sender, worker *pgxdb.DB // in two services; see package pgxdb
	queue := make(chan message, 1)

	ctx := router.WithSession(context.Background(), router.NewSession())
	if err := order(ctx, sender, queue, "o-17"); err != nil {
		log.Fatal(err)
	}
	if err := ship(context.Background(), worker, <-queue); err != nil {
		log.Fatal(err)
	}
}
