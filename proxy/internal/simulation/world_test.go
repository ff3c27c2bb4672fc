package simulation

import (
	"container/heap"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgroute/pgroute/proxy/internal/client"
	"github.com/pgroute/pgroute/proxy/internal/settings"
	"github.com/pgroute/pgroute/router"
)

const (
	servers        = 3
	healthInterval = 100 * time.Millisecond
	probeTimeout   = 200 * time.Millisecond
	// healing is how long the end of a schedule may take once nothing is broken
	// any more.
	healing = 20 * time.Second
)

// world is one schedule at work. All of it is guarded by mu, which the driver
// holds during a turn; the router's goroutines take it in their calls of the
// prober and the source.
type world struct {
	plan  *plan
	seed  uint64
	dice  dice
	epoch time.Time
	now   time.Duration

	mu      sync.Mutex
	due     agenda
	orders  uint64
	servers []*server
	legit   *server // the rightful primary
	r       *router.Router
	loop    *loop
	db      *database
	apps    []*app
	shares  []*share

	candidates    []router.Candidate
	named         string
	namedAt       time.Duration
	silent        bool
	sourceChanged chan struct{}
	sourceDice    dice

	writes  [maxWrites]write
	acked   set
	asked   asked
	exempt  set // written while two servers took writes
	ackedAt []ack
	answers []answer
	tokens  [maxTokens]token

	connections int
	farewells   int
	turnovers   int // lives of the primary that have begun
	calmSince   time.Duration
	noisy       time.Duration // until when monitors may not have found out
	longest     time.Duration
	healed      bool
	cover       coverage

	mailMu sync.Mutex
	mail   []mail
	wake   chan struct{}

	hash    uint64
	tracing bool
	trace   []string
	failure string
}

// ack is when something was acknowledged.
type ack struct {
	at     time.Duration
	writes set
}

// mail is what a goroutine of the router tells the driver: that a client should
// look again, or that there is a new topology.
type mail struct {
	peer *peer
	seq  uint64
}

// item is something that happens at its time.
type item struct {
	at    time.Duration
	order uint64
	f     func()
}

type agenda []item

func (a agenda) Len() int { return len(a) }
func (a agenda) Less(i, j int) bool {
	return a[i].at < a[j].at || a[i].at == a[j].at && a[i].order < a[j].order
}
func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i] }
func (a *agenda) Push(x any)   { *a = append(*a, x.(item)) }
func (a *agenda) Pop() any {
	old := *a
	x := old[len(old)-1]
	old[len(old)-1] = item{}
	*a = old[:len(old)-1]
	return x
}

func (w *world) at(t time.Duration, f func()) {
	w.orders++
	heap.Push(&w.due, item{t, w.orders, f})
}

func (w *world) after(d time.Duration, f func()) { w.at(w.now+d, f) }

func (w *world) post(m mail) {
	w.mailMu.Lock()
	w.mail = append(w.mail, m)
	w.mailMu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// mix adds to the hash of everything that happened.
func (w *world) mix(what ...uint64) {
	for _, x := range what {
		w.hash = (w.hash ^ x) * 0x100000001b3
		w.hash ^= w.hash >> 29
	}
}

func stamp(t time.Duration) string {
	return fmt.Sprintf("%.3fms", float64(t)/float64(time.Millisecond))
}

func (w *world) tracef(who, format string, args ...any) {
	if w.tracing && w.failure == "" {
		w.trace = append(w.trace, fmt.Sprintf("%12s  %-8s %s", stamp(w.now), who, fmt.Sprintf(format, args...)))
	}
}

// failf ends the schedule: something is wrong.
func (w *world) failf(format string, args ...any) {
	if w.failure == "" {
		text := fmt.Sprintf(format, args...)
		w.tracef("WRONG", "%s", text)
		w.failure = text
	}
}

// bound is how long a statement may take: while something is broken, what hangs
// hangs; afterwards every wait has a bound.
func (w *world) bound() time.Duration {
	return w.lastEvent() + healing
}

func (w *world) lastEvent() time.Duration {
	if n := len(w.plan.events); n > 0 {
		return w.plan.events[n-1].at
	}
	return 0
}

func (w *world) acknowledge(writes set) {
	w.acked.join(writes)
	if w.claimants() > 1 {
		w.exempt.join(writes)
		w.cover.splitAcks++
	}
	w.ackedAt = append(w.ackedAt, ack{w.now, writes})
}

func (w *world) ackedBefore(t time.Duration) (s set) {
	for i := range w.ackedAt {
		if w.ackedAt[i].at <= t {
			s.join(w.ackedAt[i].writes)
		}
	}
	return s
}

func connName(s *server, n int) string { return fmt.Sprintf("%s#%d", s.name, n) }

// result is what a schedule came to.
type result struct {
	failure string
	trace   []string
	hash    uint64
	cover   coverage
	longest time.Duration
}

// play plays a schedule.
func play(t *testing.T, p *plan, tracing bool) (res result) {
	synctest.Test(t, func(t *testing.T) { res = playHere(t, p, tracing) })
	return res
}

func playHere(t *testing.T, p *plan, tracing bool) result {
	w := &world{plan: p, seed: p.seed, dice: roll(p.seed, 5), sourceDice: roll(p.seed, 6), epoch: time.Now(), wake: make(chan struct{}, 1),
		sourceChanged: make(chan struct{}), tracing: tracing, calmSince: -1}
	w.cover.errors = map[string]int{}
	for i := range servers {
		name := fmt.Sprintf("s%d", i+1)
		s := newServer(w, i, name, i > 0)
		w.servers = append(w.servers, s)
		s.upstream = w.servers[0]
		w.candidates = append(w.candidates, router.Candidate{Addr: router.Addr{Name: name, Host: name, Port: i}})
	}
	w.legit = w.servers[0]
	w.legit.upstream = nil
	w.named = w.legit.name
	for _, s := range w.servers {
		s.reported = firstLSN
	}
	for range p.shares {
		w.shares = append(w.shares, &share{})
	}
	var err error
	w.r, err = router.New(router.Config{Source: w, Prober: w, HealthInterval: healthInterval, ProbeTimeout: probeTimeout, FallbackBudget: p.budget,
		Wait: p.wait, MaxStaleness: p.staleness, OnTimeout: p.onTimeout, Seed: p.seed | 1, Logger: slog.New(slog.DiscardHandler),
		Trace: router.Trace{Topology: func(*router.Topology) { w.post(mail{}) }}})
	if err != nil {
		t.Fatal(err)
	}
	cat, err := catalogue()
	if err != nil {
		t.Fatal(err)
	}
	w.db = &database{cat: cat}
	w.loop = &loop{w: w, env: &client.Env{Router: w.r, Settings: settings.NewInterner(64), Statements: client.NewStatements(64),
		GatherLimit: 64 << 10, Stats: new(client.Stats), Now: w.epoch}}
	w.loop.env.Init()
	for range servers {
		w.loop.pools = append(w.loop.pools, &pool{})
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- w.r.Run(ctx) }() // ends with ctx, and is waited for below
	w.drive()
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	w.cover.add(w.r.Stats(), w.loop.env.Stats)
	return result{failure: w.failure, trace: w.trace, hash: w.hash, cover: w.cover, longest: w.longest}
}

// drive lets things happen, one at a time, until all is over.
func (w *world) drive() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.after(settleTime, w.open)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for w.failure == "" {
		w.turn()
		if w.over() {
			return
		}
		if len(w.due) == 0 {
			w.failf("nothing will ever happen again")
			return
		}
		d := w.due[0].at - time.Since(w.epoch)
		w.mu.Unlock()
		if d > 0 {
			timer.Reset(d)
			select {
			case <-timer.C:
			case <-w.wake:
			}
		}
		// Whatever the router has begun is done before anyone looks at it.
		synctest.Wait()
		w.mu.Lock()
	}
}

// settleTime is what the router gets to find its servers.
const settleTime = 3 * time.Millisecond

// turn does what is due.
func (w *world) turn() {
	w.cover.turns++
	w.now = time.Since(w.epoch)
	w.loop.env.Now = time.Now()
	w.readMail()
	for len(w.due) > 0 && w.due[0].at <= w.now && w.failure == "" {
		x := heap.Pop(&w.due).(item)
		w.mix(uint64(x.at), x.order)
		w.cover.items++
		x.f()
	}
	w.calm()
}

// readMail takes what the router's goroutines have posted, in an order of its
// own: who came first is chance.
func (w *world) readMail() {
	w.mailMu.Lock()
	list := w.mail
	w.mail = nil
	w.mailMu.Unlock()
	if len(list) == 0 {
		return
	}
	slices.SortStableFunc(list, func(a, b mail) int { return a.number() - b.number() })
	topology := false
	for _, m := range list {
		w.mix(uint64(m.number()+1), m.seq)
		if m.peer == nil {
			topology = true
			continue
		}
		if c := m.peer; !c.closed && c.seq == m.seq {
			w.loop.again(c)
		}
	}
	if !topology {
		return
	}
	t := w.r.Topology()
	if t.Primary != nil && t.Primary.Name == w.legit.name && w.claimants() == 1 {
		w.exempt = set{}
	}
	w.cover.topologies++
	if w.plan.mailDelay && w.dice.one(2) {
		w.after(time.Duration(w.dice.n(500_000)), w.loop.topologyChanged) // the loop was busy
	} else {
		w.loop.topologyChanged()
	}
}

func (m mail) number() int {
	if m.peer == nil {
		return 1 << 20
	}
	return m.peer.app.i
}

// open lets the clients in and puts the schedule's events on the agenda.
func (w *world) open() {
	for i := range w.plan.clients {
		a := &app{w: w, i: i, share: w.shares[i%len(w.shares)]}
		if a.share.session == nil {
			a.share.session = w.r.NewSession()
		}
		w.apps = append(w.apps, a)
		a.enter()
	}
	base := w.now
	for i := range w.plan.events {
		e := &w.plan.events[i]
		w.at(base+e.at, func() { w.happen(e) })
	}
	w.at(base+w.lastEvent()+time.Millisecond, w.heal)
}

// heal ends all faults, and lets every client say something more.
func (w *world) heal() {
	w.healed = true
	w.tracef("world", "nothing is broken any more")
	for _, s := range w.servers {
		s.frozen, s.cut, s.paused, s.slow, s.stall, s.lag = false, false, false, 0, 0, 0
		s.stir()
	}
	w.legit.start(0, false, true)
	for _, s := range w.servers {
		s.start(0, false, true)
		s.follow()
		s.apply()
	}
	w.silent = false
	w.name()
	for _, a := range w.apps {
		w.after(300*time.Millisecond+time.Duration(w.dice.n(1_000_000)), a.farewell)
	}
	w.after(healing, func() {
		var who []string
		for _, a := range w.apps {
			if a.final < 2 {
				who = append(who, a.String())
			}
		}
		w.failf("%s after everything was mended, not all clients have come to an end: %s", healing, strings.Join(who, "; "))
	})
}

// farewells bounds how often the clients of a schedule try to come to an end.
const farewells = 40

// farewell makes a client end what it has begun, write and read: that must
// succeed, sooner or later.
func (a *app) farewell() {
	if a.cur != nil || len(a.queue) > 0 || a.peer.closed {
		a.w.after(50*time.Millisecond, a.farewell)
		return
	}
	if a.final >= 2 || a.w.farewells == farewells {
		return
	}
	a.w.farewells++
	rollback := event{op: opRollback}
	write := event{op: opWrite, id: maxWrites - a.w.farewells}
	read := event{op: opRead}
	for i, e := range []event{rollback, write, read} {
		s := e.statement()
		s.last = i > 0
		a.queue = append(a.queue, s)
	}
	a.final = 0
	a.next()
	a.w.after(300*time.Millisecond, a.farewell)
}

// over reports whether every client has come to its end, and looks whether
// anything was forgotten.
func (w *world) over() bool {
	if !w.healed {
		return false
	}
	for _, a := range w.apps {
		if a.final < 2 || a.cur != nil {
			return false
		}
	}
	w.audit()
	return true
}

// name lets the manager name the primary.
func (w *world) name() {
	if w.named != w.legit.name {
		w.named, w.namedAt = w.legit.name, w.now
	}
	close(w.sourceChanged)
	w.sourceChanged = make(chan struct{})
}

// audit looks at what is left.
func (w *world) audit() {
	for _, a := range w.apps {
		a.untold()
		if a.peer.lease != nil {
			w.failf("%s has come to its end, and keeps %s", a.name, a.peer.lease.conn.name)
		}
	}
	for i := range w.writes {
		if x := &w.writes[i]; x.refused && w.legit.logged.has(i) {
			w.failf("%s was told that w%d did not happen, and it did", x.by, i)
		}
	}
	for _, n := range w.r.Topology().Nodes {
		if k := n.Outstanding(); k != 0 {
			w.failf("%d reads are counted at %s, and none runs", k, n.Name)
		}
	}
	s := w.r.Stats()
	if s.FallbacksRunning != 0 || s.FallbacksQueued != 0 || s.OracleWaiters != 0 {
		w.failf("%d reads have places in the budget, %d queue for one and %d wait for a ticket, and nobody is there", s.FallbacksRunning, s.FallbacksQueued,
			s.OracleWaiters)
	}
	for _, b := range w.loop.leases {
		if b.peer != nil {
			w.failf("%s is lent to nobody", b.conn.name)
		}
	}
	for _, a := range w.apps {
		w.loop.gone(a.peer)
	}
}
