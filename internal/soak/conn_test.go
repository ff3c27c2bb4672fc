package soak_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// conn is a client's connection: pgconn's, or one that speaks the protocol
// itself and in pieces.
type conn interface {
	// simple runs a Query of one or more statements; the rows of all of them
	// and the last tag are returned.
	simple(ctx context.Context, sql string) (answer, error)
	// params runs a text with parameters by the unnamed statement.
	params(ctx context.Context, sql string, args ...string) (answer, error)
	prepare(ctx context.Context, name, sql string) error
	execute(ctx context.Context, name string, args ...string) (answer, error)
	// forget closes a prepared statement by the protocol.
	forget(ctx context.Context, name string) error
	copyIn(ctx context.Context, sql, data string) (answer, error)
	copyOut(ctx context.Context, sql string) (string, error)
	// cancel asks to cancel what the connection runs. It may be called while
	// another method runs.
	cancel(ctx context.Context) error
	// wait returns when a message has come that nobody asked for.
	wait(ctx context.Context) error
	// half begins a message and does not end it.
	half(ctx context.Context) error
	// drop closes the socket, and says nothing before.
	drop()
	leave(ctx context.Context)
}

// answer is what a statement returned. A NULL is "NULL".
type answer struct {
	rows [][]string
	tag  string
}

// one is the only row, joined by bars.
func (a answer) one() string {
	if len(a.rows) != 1 {
		return fmt.Sprintf("%d rows: %q", len(a.rows), a.rows)
	}
	return strings.Join(a.rows[0], "|")
}

// code is the SQLSTATE of an error, empty if it is none.
func code(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// driver is a connection of pgconn's.
type driver struct{ c *pgconn.PgConn }

func openDriver(ctx context.Context, dsn string, params map[string]string, notified func(channel, payload string)) (conn, error) {
	cfg, err := pgconn.ParseConfig(dsn)
	if err != nil {
		return nil, err
	}
	for name, value := range params {
		cfg.RuntimeParams[name] = value
	}
	cfg.OnNotification = func(_ *pgconn.PgConn, n *pgconn.Notification) { notified(n.Channel, n.Payload) }
	c, err := pgconn.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return &driver{c}, nil
}

func collect(results []*pgconn.Result, err error) (answer, error) {
	var a answer
	for _, r := range results {
		for _, row := range r.Rows {
			a.rows = append(a.rows, texts(row))
		}
		a.tag = r.CommandTag.String()
		err = errors.Join(err, r.Err)
	}
	return a, err
}

func texts(values [][]byte) []string {
	row := make([]string, len(values))
	for i, v := range values {
		row[i] = "NULL"
		if v != nil {
			row[i] = string(v)
		}
	}
	return row
}

func values(args []string) [][]byte {
	v := make([][]byte, len(args))
	for i, a := range args {
		v[i] = []byte(a)
	}
	return v
}

func (d *driver) simple(ctx context.Context, sql string) (answer, error) {
	return collect(d.c.Exec(ctx, sql).ReadAll())
}

func (d *driver) params(ctx context.Context, sql string, args ...string) (answer, error) {
	r := d.c.ExecParams(ctx, sql, values(args), nil, nil, nil).Read()
	return collect([]*pgconn.Result{r}, nil)
}

func (d *driver) prepare(ctx context.Context, name, sql string) error {
	_, err := d.c.Prepare(ctx, name, sql, nil)
	return err
}

func (d *driver) execute(ctx context.Context, name string, args ...string) (answer, error) {
	r := d.c.ExecPrepared(ctx, name, values(args), nil, nil).Read()
	return collect([]*pgconn.Result{r}, nil)
}

func (d *driver) forget(ctx context.Context, name string) error { return d.c.Deallocate(ctx, name) }

func (d *driver) copyIn(ctx context.Context, sql, data string) (answer, error) {
	tag, err := d.c.CopyFrom(ctx, strings.NewReader(data), sql)
	return answer{tag: tag.String()}, err
}

func (d *driver) copyOut(ctx context.Context, sql string) (string, error) {
	var out bytes.Buffer
	_, err := d.c.CopyTo(ctx, &out, sql)
	return out.String(), err
}

func (d *driver) cancel(ctx context.Context) error { return d.c.CancelRequest(ctx) }

func (d *driver) wait(ctx context.Context) error { return d.c.WaitForNotification(ctx) }

func (d *driver) half(context.Context) error {
	_, err := d.c.Conn().Write([]byte("Q\x00\x00\x00\x20delete from led"))
	return err
}

func (d *driver) drop() { d.c.Conn().Close() }

func (d *driver) leave(ctx context.Context) { _ = d.c.Close(ctx) }
