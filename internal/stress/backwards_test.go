package stress_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgroute/pgroute/internal/cluster"
)

// hotRows are the rows that everybody reads while others write them.
const hotRows = 4

// A connection never reads less than it has read before, wherever its reads
// run.
func TestNeverBackwards(t *testing.T) {
	total := neverBackwards(t, *movesFlag)
	if len(total.back) > 0 {
		t.Errorf("%d backward reads:\n%s", len(total.back), strings.Join(total.back[:min(len(total.back), 20)], "\n"))
	}
}

func neverBackwards(t *testing.T, moves int) *tally {
	c := cluster.Start(t, cluster.Options{Trust: true})
	if err := errors.Join(c.Primary().Exec(t.Context(), schema...), c.WaitCaughtUp(t.Context())); err != nil {
		t.Fatal(err)
	}
	src := newSource(c.Nodes()...)
	sides := []*sidecar{startSidecar(t, "a", src, roomy), startSidecar(t, "b", src, roomy)}
	for _, s := range sides {
		if err := s.settle(t.Context(), probeSQL, 2); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute)
	defer cancel()
	others, stopOthers := context.WithCancel(ctx)
	var helpers, wg sync.WaitGroup
	var moved atomic.Int64
	fail := make(chan error, 8)
	run := func(f func(context.Context) error) {
		// Ends with others; waited for below.
		helpers.Go(func() {
			if err := f(others); err != nil && others.Err() == nil {
				fail <- err
				cancel()
			}
		})
	}
	run(func(ctx context.Context) error { return alternate(ctx, c.Replicas()) })
	// Who writes through a sidecar raises the floors there, so that readers
	// have to leave a paused replica; who writes past it does not.
	addrs := []string{sides[0].addr, sides[1].addr, c.Primary().Addr()}
	for _, addr := range addrs {
		run(func(ctx context.Context) error { return increment(ctx, addr) })
	}
	began := time.Now()
	readers := make([]*reader, 48)
	for i := range readers {
		r := &reader{tally: newTally(), side: sides[i%2]}
		readers[i] = r
		// Ends when there were enough moves; waited for below.
		wg.Go(func() {
			for ctx.Err() == nil && moved.Load() < int64(moves) {
				n := r.counted()
				if err := r.read(ctx); err != nil {
					r.failed(ctx, "read", err)
				}
				moved.Add(int64(r.counted() - n))
			}
			hangUp(r.conn)
		})
	}
	wg.Wait()
	took := time.Since(began)
	stopOthers()
	helpers.Wait()
	select {
	case err := <-fail:
		t.Fatal(err)
	default:
	}
	total := newTally()
	for _, r := range readers {
		total.add(r.tally)
	}
	t.Log(table("moves", total.moves))
	t.Log(table("reads by route", total.routes))
	t.Log(table("errors", total.errors))
	t.Logf("%d reads in %v (%.0f/s), %d moves between replicas and from the primary to a replica; %d backward",
		total.reads, took.Round(time.Millisecond), float64(total.reads)/took.Seconds(), total.counted(), len(total.back))
	if total.counted() < moves {
		t.Errorf("only %d moves", total.counted())
	}
	// PostgreSQL 13 looks only once a second whether a paused replay may go on,
	// so that there is often one replica only.
	if n := total.moves[moveReplicas]; n*50 < moves {
		t.Errorf("only %d of %d moves were between replicas", n, total.counted())
	}
	return total
}

const (
	moveReplicas   = "replica to replica"
	moveToReplica  = "primary to replica"
	eventualHint   = "/* pgroute: eventual */ "
	primaryHint    = "/* pgroute: primary */ "
	staleHint      = "/* pgroute: on_timeout=stale wait=0 */ "
	strongHint     = "/* pgroute: strong */ "
	hotRead        = "SELECT v FROM kv WHERE k = $1"
	hotIncrement   = "UPDATE kv SET v = v + 1 WHERE k = $1"
	monotonicPause = 30 * time.Millisecond
)

// counted are the moves that must not go backwards.
func (t *tally) counted() int { return t.moves[moveReplicas] + t.moves[moveToReplica] }

// reader reads on one connection.
type reader struct {
	*tally
	side *sidecar
	conn *pgx.Conn
	last route
	seen [hotRows]struct {
		v     int64
		where route
	}
}

func (r *reader) read(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pairTimeout)
	defer cancel()
	if r.conn == nil || r.conn.IsClosed() {
		conn, err := r.side.dial(ctx)
		if err != nil {
			return err
		}
		*r = reader{tally: r.tally, side: r.side, conn: conn}
	}
	k := rand.IntN(hotRows)
	hint, judged := "", true
	switch n := rand.IntN(100); {
	case n < 25:
		hint = primaryHint
	case n < 35:
		hint = strongHint
	case n < 45:
		hint, judged = eventualHint, false // it asks for less
	case n < 50:
		hint, judged = staleHint, false // this one too
	}
	proto := protos[rand.IntN(len(protos))]
	if hint != "" {
		proto = protos[rand.IntN(2)] // in a transaction it would come too late
	}
	v, at, err := readValue(ctx, r.conn, proto, hint+hotRead, int64(k))
	if err != nil {
		return err
	}
	before := r.last
	r.reads++
	r.routes[hint+at.role+" "+at.reason]++
	if judged && r.last.node != "" && r.last.node != at.node {
		r.moves[r.last.role+" to "+at.role]++
	}
	if judged {
		r.last = at
	} else {
		r.last = route{} // what follows is judged, but not as a move
	}
	seen := &r.seen[k]
	switch {
	case v >= seen.v:
		seen.v, seen.where = v, at
	case !judged:
	default:
		r.back = append(r.back, fmt.Sprintf("row %d: %d at %+v after %d at %+v; the read before was at %+v", k, v, at, seen.v, seen.where, before))
	}
	return nil
}

// alternate pauses the replay of one replica after the other.
func alternate(ctx context.Context, replicas []*cluster.Node) error {
	conns := make([]*pgx.Conn, len(replicas))
	for i, r := range replicas {
		c, err := r.Super(ctx)
		if err != nil {
			return err
		}
		defer hangUp(c)
		conns[i] = c
	}
	for i := 0; ctx.Err() == nil; i++ {
		c := conns[i%len(conns)]
		if _, err := simple(ctx, c, "SELECT pg_wal_replay_pause()"); err != nil {
			return err
		}
		rest(ctx, monotonicPause/2+rand.N(monotonicPause))
		if _, err := simple(context.WithoutCancel(ctx), c, "SELECT pg_wal_replay_resume()"); err != nil {
			return err
		}
		rest(ctx, rand.N(monotonicPause/4))
	}
	return nil
}

// increment writes the hot rows through the server at addr.
func increment(ctx context.Context, addr string) error {
	conn, err := connect(ctx, addr, cluster.AppDatabase)
	if err != nil {
		return err
	}
	defer hangUp(conn)
	for ctx.Err() == nil {
		if _, err := conn.Exec(ctx, hotIncrement, rand.IntN(hotRows)); err != nil {
			return err
		}
		rest(ctx, time.Millisecond+rand.N(2*time.Millisecond))
	}
	return nil
}
