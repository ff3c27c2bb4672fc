package chaos_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgroute/pgroute/internal/cluster"
)

// patience is how long a test waits for what is to happen, on a busy machine.
const patience = 3 * time.Minute

// TestOldPrimaryGetsNoWrite cuts the primary off from everybody but one proxy,
// while its Patroni hangs, so that nobody demotes it: PostgreSQL would take
// every write. Once another leads, none may reach it through the proxy. What
// the servers have in their tables decides, not what clients were told.
func TestOldPrimaryGetsNoWrite(t *testing.T) {
	wanted(t)
	l := openLab(t, labOptions{})
	if l.network == nil {
		t.Skip("needs a network of its own: ", l.why)
	}
	try := func(seesOthers bool) func(*testing.T) {
		return func(t *testing.T) {
			for _, line := range oldPrimary(t, l, seesOthers) {
				t.Error(line)
			}
		}
	}
	t.Run("the proxy sees ZooKeeper and the new primary", try(true))
	t.Run("the proxy sees nothing but the old primary", try(false))
}

// oldPrimary returns the writes that must not be, or must be and are not.
func oldPrimary(t *testing.T, l *lab, seesOthers bool) (broken []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := l.patroni.WaitSteady(ctx); err != nil {
		t.Fatal(err)
	}
	old, err := l.patroni.Leader(ctx)
	if err != nil {
		t.Fatal(err)
	}
	px := l.proxies[0]
	if err := old.Exec(ctx, "DROP TABLE IF EXISTS old_primary", "CREATE TABLE old_primary (id int PRIMARY KEY)", "ALTER TABLE old_primary OWNER TO app"); err != nil {
		t.Fatal(err)
	}
	w := startWriters(t, px, 4)
	w.waitFor(ctx, t, 20)

	// The cut, and nobody there who would demote the old primary.
	if err := old.StopPatroni(); err != nil {
		t.Fatal(err)
	}
	healed := false
	heal := func() {
		if !healed {
			healed = true
			if err := newNemesis(l, newJournal(0), 0, t.Logf).heal(ctx); err != nil {
				t.Error(err)
			}
		}
	}
	defer heal()
	ways := l.waysOf(old.Name, px.Name)
	if !seesOthers {
		ways = append(ways, l.waysOf(px.Name, old.Name)...)
	}
	cut := cutLinks("", cluster.Cut{}, ways...)
	began := time.Now()
	if err := cut.begin(ctx); err != nil {
		t.Fatal(err)
	}
	next, err := l.anotherLeads(ctx, old)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s leads %v after %s was cut off", next, time.Since(began).Round(time.Millisecond), old)
	if seesOthers {
		if err := until(ctx, "the proxy knows", func() error {
			s, err := px.status(ctx)
			if err == nil && s.Primary != next.Name {
				err = fmt.Errorf("it says %+v", s)
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	known := w.mark() // every number from here on is tried after that
	t.Logf("from number %d on the higher timeline is known; %d acknowledged before", known, w.acknowledged())

	// The old primary would take writes: without this the test says nothing.
	if err := old.Exec(ctx, "INSERT INTO old_primary VALUES (-1)"); err != nil {
		t.Fatalf("the old primary takes no write: %v", err)
	}
	if seesOthers {
		w.waitFor(ctx, t, w.acknowledged()+200)
	} else {
		// Nobody may be told that a write is done. They are tried for a while.
		pause(ctx, 8*time.Second)
	}
	// What it has is read before it is rewound.
	alone, err := numbers(ctx, old)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(alone, -1) || slices.Max(alone) >= known {
		broken = append(broken, fmt.Sprintf("%s, cut off, has number %d; from %d on the higher timeline was known", old, slices.Max(alone), known))
	}
	heal()
	w.waitFor(ctx, t, w.acknowledged()+50)
	acked, tried := w.stop()
	if len(acked) == 0 || tried <= known {
		t.Fatalf("%d acknowledged, %d tried, known from %d on", len(acked), tried, known)
	}
	there, err := numbers(ctx, next)
	if err != nil {
		t.Fatal(err)
	}
	lost := 0
	for _, id := range acked {
		if slices.Contains(there, id) {
			continue
		}
		if lost++; id >= known {
			broken = append(broken, fmt.Sprintf("number %d was acknowledged after the higher timeline was known, and is not on %s", id, next))
		}
	}
	t.Logf("%d tried, %d acknowledged, of those %d are lost", tried, len(acked), lost)
	return broken
}

// anotherLeads waits for a primary on a higher timeline than old's.
func (l *lab) anotherLeads(ctx context.Context, old *cluster.PatroniMember) (next *cluster.PatroniMember, err error) {
	err = until(ctx, "another leads", func() error {
		m, err := l.lead(ctx)
		if err == nil && m == old {
			err = errors.New("the old one still does")
		}
		next = m
		return err
	})
	return next, err
}

// numbers are what a server has.
func numbers(ctx context.Context, m *cluster.PatroniMember) (list []int, err error) {
	text, err := query(ctx, m, "SELECT coalesce(string_agg(id::text, ' '), '') FROM old_primary")
	if err != nil {
		return nil, err
	}
	for len(text) > 0 {
		var word string
		word, text = cutWord(text)
		n, err := strconv.Atoi(word)
		if err != nil {
			return nil, err
		}
		list = append(list, n)
	}
	return list, nil
}

func cutWord(s string) (word, rest string) {
	for i := range s {
		if s[i] == ' ' {
			return s[:i], s[i+1:]
		}
	}
	return s, ""
}

// writers insert numbers through one proxy, each number once.
type writers struct {
	px   *proxyNode
	next atomic.Int64
	end  context.CancelFunc
	all  sync.WaitGroup

	mu    sync.Mutex // guards the field below
	acked []int
}

func startWriters(t *testing.T, px *proxyNode, n int) *writers {
	ctx, cancel := context.WithCancel(t.Context())
	w := &writers{px: px, end: cancel}
	t.Cleanup(cancel)
	for range n {
		w.all.Add(1)
		go w.writeLoop(ctx)
	}
	return w
}

func (w *writers) writeLoop(ctx context.Context) {
	defer w.all.Done()
	for ctx.Err() == nil {
		w.session(ctx)
		pause(ctx, 50*time.Millisecond)
	}
}

// session writes until something is wrong.
func (w *writers) session(ctx context.Context) {
	conn, err := pgx.Connect(ctx, w.px.dsnOf(cluster.AppDatabase))
	if err != nil {
		return
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for ctx.Err() == nil {
		id := int(w.next.Add(1))
		if _, err := conn.Exec(ctx, "INSERT INTO old_primary VALUES ($1)", id); err != nil {
			return
		}
		w.mu.Lock()
		w.acked = append(w.acked, id)
		w.mu.Unlock()
		pause(ctx, 5*time.Millisecond)
	}
}

// mark returns a number such that it and all greater ones are begun from now on.
func (w *writers) mark() int { return int(w.next.Load()) + 1 }

func (w *writers) acknowledged() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.acked)
}

func (w *writers) waitFor(ctx context.Context, t *testing.T, n int) {
	t.Helper()
	if err := until(ctx, fmt.Sprintf("%d writes", n), func() error {
		if have := w.acknowledged(); have < n {
			return fmt.Errorf("%d were acknowledged", have)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

func (w *writers) stop() (acked []int, tried int) {
	w.end()
	w.all.Wait()
	return w.acked, int(w.next.Load())
}
