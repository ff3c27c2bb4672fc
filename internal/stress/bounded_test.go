package stress_test

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgroute/pgroute/internal/cluster"
)

// staleness is the bound of the reads of TestBounded.
const staleness = 500 * time.Millisecond

// TestBounded: a read at level bounded sees everything that was acknowledged
// longer ago than its bound, while replicas stand still for longer and shorter
// than that; and it does not ask for more: until then they serve it.
func TestBounded(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Trust: true})
	if err := errors.Join(c.Primary().Exec(t.Context(), schema...), c.WaitCaughtUp(t.Context())); err != nil {
		t.Fatal(err)
	}
	l := &lab{t: t, ctx: t.Context(), c: c, src: newSource(c.Nodes()...)}
	s, err := l.sidecar(2)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := l.dial(s, "pgroute.consistency", "bounded", "pgroute.max_staleness", staleness.String(), "pgroute.wait", "20ms")
	if err != nil {
		t.Fatal(err)
	}
	w, err := startAcks(l)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := w.stop(); err != nil {
			t.Error(err)
		}
	}()
	r := &boundedReads{acks: w, conn: conn}
	for range 4 {
		for _, role := range []string{"replica", "primary", "replica"} {
			if role == "primary" {
				err = l.holdAll()
			} else {
				err = l.cure()
			}
			if err == nil {
				err = until(l.ctx, "reads run on the "+role, func() (bool, error) {
					got, err := r.read(l.ctx)
					return got == role, err
				})
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Logf("%d reads, %d on replicas, %d of these behind the last acknowledged write, the oldest answer was %v old", r.reads, r.replica, r.behind, r.oldest)
	if r.behind == 0 {
		t.Error("no read was behind the last write: that is what strong would do")
	}
}

// holdAll pauses the replicas where they are.
func (l *lab) holdAll() error {
	var err error
	for _, r := range l.c.Replicas() {
		err = errors.Join(err, r.PauseReplay(l.ctx))
	}
	return err
}

// acks writes without a pause and remembers when each write was acknowledged.
type acks struct {
	l    *lab
	conn *pgx.Conn
	from int64 // the value of the first write
	quit chan struct{}
	done sync.WaitGroup

	mu   sync.Mutex // guards the fields below
	list []time.Time
	err  error
}

func startAcks(l *lab) (*acks, error) {
	first, err := l.mark()
	if err != nil {
		return nil, err
	}
	w := &acks{l: l, from: first, quit: make(chan struct{})}
	if w.conn, err = connect(l.ctx, l.c.Primary().Addr(), cluster.AppDatabase); err != nil {
		return nil, err
	}
	w.done.Go(w.writeLoop)
	return w, nil
}

func (w *acks) writeLoop() {
	for v := w.from; ; v++ {
		select {
		case <-w.quit:
			return
		default:
		}
		_, err := simple(w.l.ctx, w.conn, writeMark(v))
		w.mu.Lock()
		w.err = err
		w.list = append(w.list, time.Now())
		w.mu.Unlock()
		if err != nil {
			return
		}
		rest(w.l.ctx, 2*time.Millisecond)
	}
}

func (w *acks) stop() error {
	close(w.quit)
	w.done.Wait()
	hangUp(w.conn)
	return w.err
}

// at returns the last value that had been acknowledged at then.
func (w *acks) at(then time.Time) (int64, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := sort.Search(len(w.list), func(i int) bool { return w.list[i].After(then) })
	return w.from + int64(n) - 1, w.err
}

// age returns how long before then the write after v was acknowledged: how old
// an answer of v is.
func (w *acks) age(v int64, then time.Time) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if i := v + 1 - w.from; i >= 0 && i < int64(len(w.list)) {
		return max(then.Sub(w.list[i]), 0)
	}
	return 0
}

// boundedReads judges reads against acks.
type boundedReads struct {
	acks                   *acks
	conn                   *pgx.Conn
	reads, replica, behind int
	oldest                 time.Duration
}

// read reads once and returns the role of who answered.
func (r *boundedReads) read(ctx context.Context) (string, error) {
	began := time.Now()
	must, err := r.acks.at(began.Add(-staleness))
	if err != nil {
		return "", err
	}
	latest, _ := r.acks.at(began)
	text, err := simple(ctx, r.conn, probeSQL)
	if err != nil {
		return "", err
	}
	var got int64
	if _, err := fmt.Sscan(text, &got); err != nil {
		return "", err
	}
	where, err := lastRoute(ctx, r.conn)
	if err != nil {
		return "", err
	}
	r.reads++
	if where.role == "replica" {
		r.replica++
		r.oldest = max(r.oldest, r.acks.age(got, began))
		if got < latest {
			r.behind++
		}
	}
	if got < must {
		return "", violation(fmt.Sprintf("read %d, and %d was acknowledged %v before (%+v)", got, must, staleness, where))
	}
	return where.role, nil
}
