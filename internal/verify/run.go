package verify

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

// run is what the clients of one Run share.
type run struct {
	opts    Options
	schema  string // quoted
	targets []*target
	pace    *pace
	mail    mailbox
	// statements with the schema in them, by what they are made of.
	statements sync.Map

	registers, lists, seats *keyring

	began     time.Time
	count     atomic.Int64 // operations
	processes atomic.Int64
}

// Run sets up the schema, lets the clients work until o.For is over or ctx ends,
// reads back what is there, checks, and drops the schema. Its error says that
// the run could not be done; what it found is in the report. The end of ctx
// ends the work, not what follows it, which o.Patience bounds.
func Run(ctx context.Context, o Options) (*Report, error) {
	r, err := newRun(o)
	if err != nil {
		return nil, err
	}
	if err := r.setUp(ctx); err != nil {
		return nil, err
	}
	r.warm(ctx)
	after := context.WithoutCancel(ctx)
	report, err := r.work(ctx, after)
	if !r.opts.Keep {
		err = errors.Join(err, r.tearDown(after))
	}
	if err != nil {
		return nil, err
	}
	return report, nil
}

func newRun(o Options) (*run, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	if o.Seed == 0 {
		o.Seed = rand.Uint64()
	}
	r := &run{opts: o, schema: pgx.Identifier{o.Schema}.Sanitize(), pace: newPace(o.Rate), began: time.Now(),
		registers: newKeyring("register", registerSlots, registerUses), lists: newKeyring("list", listSlots, listUses), seats: newKeyring("seat", seatWindow, 64)}
	for _, t := range o.Targets {
		made, err := newTarget(t)
		if err != nil {
			return nil, err
		}
		r.targets = append(r.targets, made)
	}
	return r, nil
}

// warm waits until the targets know the tables, for a while. Until then proxies
// send all reads to the primary, which shows nothing.
func (r *run) warm(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for i, t := range r.targets {
		c := newClient(r, i)
		c.target, c.base, c.scope = t, Session, "connection"
		if c.dial(ctx) == nil {
			for op := (Op{Reason: "write"}); op.Reason == "write" && rest(ctx, 10*time.Millisecond); {
				op = Op{}
				c.read(ctx, &op, r.sql(seatReadSQL), []any{""}, func(pgx.Rows) error { return nil })
			}
		}
		c.leave()
	}
}

// now is the time of the run, by the monotonic clock.
func (r *run) now() time.Duration { return time.Since(r.began) }

// sql returns a statement with the schema in it.
func (r *run) sql(format string) string {
	if s, ok := r.statements.Load(format); ok {
		return s.(string)
	}
	s := fmt.Sprintf(format, r.schema)
	r.statements.Store(format, s)
	return s
}

// work lets the clients work, and checks. What follows the work happens in after.
func (r *run) work(ctx, after context.Context) (*Report, error) {
	if r.opts.For > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, r.opts.For)
		defer cancel()
	}
	until := "until they are stopped"
	if r.opts.For > 0 {
		until = "for " + r.opts.For.String()
	}
	r.opts.Logf("%d clients work %s", r.opts.Clients, until)
	clients := make([]*client, r.opts.Clients)
	var wg sync.WaitGroup
	r.began = time.Now()
	for i := range clients {
		c := newClient(r, i)
		clients[i] = c
		wg.Go(func() { c.workLoop(ctx) }) // ends with ctx, waited for below
	}
	wg.Wait()
	elapsed := r.now()
	r.opts.Logf("they worked for %v; reading back what is there", elapsed.Round(time.Millisecond))
	defer func() {
		for _, c := range clients {
			c.leave()
		}
	}()
	// While there is no primary, nobody can be told that it has changed.
	if err := r.reachable(after); err != nil {
		return nil, err
	}
	for _, c := range clients {
		wg.Go(func() { c.final(after) }) // bounded by Timeout, waited for below
	}
	wg.Wait()
	t, err := r.readBack(after)
	if err != nil {
		return nil, err
	}
	h := &history{opts: r.opts, ops: sorted(clients), truth: t, elapsed: elapsed, processes: int(r.processes.Load())}
	r.opts.Logf("checking")
	report := h.report()
	if len(report.Routes) == 0 {
		return nil, fmt.Errorf("no read was answered in %v, so nothing could be checked: %v", elapsed.Round(time.Millisecond), report.Errors)
	}
	return report, nil
}

// reachable returns once a read on the primary is answered through some target.
func (r *run) reachable(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.opts.Patience)
	defer cancel()
	return r.anyTarget(ctx, "read on the primary", func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "/* pgroute: consistency=primary */ SELECT 1")
		return err
	})
}
