package chaos_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"
)

// nemesis injects faults and heals them.
type nemesis struct {
	l    *lab
	j    *journal
	seed uint64
	log  func(string, ...any)
	only []string // the kinds of faults; none means all

	// calm is held shared by whoever has a fault, and alone while the cluster is
	// to come to rest.
	calm sync.RWMutex

	mu     sync.Mutex // guards the fields below
	held   map[string]bool
	did    map[string]int // faults that came about, by kind
	failed map[string]int // and those that did not
	wrong  []string       // what could not be put right
}

// lanes is how many faults there are at a time, at most.
const lanes = 2

func newNemesis(l *lab, j *journal, seed uint64, log func(string, ...any)) *nemesis {
	return &nemesis{l: l, j: j, seed: seed, log: log, held: map[string]bool{}, did: map[string]int{}, failed: map[string]int{}}
}

// run makes trouble until ctx ends; whatever it began has then ended.
func (n *nemesis) run(ctx context.Context) {
	var all sync.WaitGroup
	for lane := range lanes {
		all.Add(1)
		go n.laneLoop(ctx, lane, &all)
	}
	all.Wait()
}

// laneLoop makes one fault after another. The first lane begins with a change of
// the primary, and lets the cluster come to rest now and then, so that faults
// also meet a sound one: the next is a change of the primary again. The others
// pause for longer.
func (n *nemesis) laneLoop(ctx context.Context, lane int, all *sync.WaitGroup) {
	defer all.Done()
	rng := rand.New(rand.NewPCG(n.seed, uint64(lane)))
	hat := bag{all: n.usable(), planned: rng.IntN(2) == 0}
	if lane == 0 {
		hat.open(rng)
	}
	for done := 1; ctx.Err() == nil; {
		if r := hat.draw(rng); !n.one(ctx, rng, r) {
			hat.aside = append(hat.aside, r)
			if !pause(ctx, 20*time.Millisecond) {
				return
			}
			continue
		}
		hat.again()
		calm := time.Duration(rng.Int64N(int64(2*time.Second))) + 200*time.Millisecond
		if lane > 0 {
			calm *= 2
		}
		if !pause(ctx, calm) {
			return
		}
		if done++; lane == 0 && done%5 == 0 {
			n.rest(ctx)
			hat.open(rng)
		}
	}
}

// openings are the changes of the primary that are not planned, of which one may
// be the first that meets a sound cluster.
var openings = []string{"kill -9 primary", "primary's host dead", "Patroni of the primary hangs"}

const switchover = "switchover"

// bag holds each recipe as often as its weight says, in an order of its own, one
// of each kind on top: so a short run meets many kinds.
type bag struct {
	all, left []recipe // the last of left is drawn next
	aside     []recipe // what was drawn and did not fit
	planned   bool     // the next opening is a switchover
}

func (b *bag) draw(rng *rand.Rand) recipe {
	if len(b.left) == 0 {
		if len(b.aside) > len(b.all) {
			b.aside = nil // nothing fits now
		}
		for _, r := range b.all {
			for range r.weight - 1 {
				b.left = append(b.left, r)
			}
		}
		shuffle(rng, b.left)
		top := slices.Clone(b.all)
		shuffle(rng, top)
		b.left = append(b.left, top...)
	}
	r := b.left[len(b.left)-1]
	b.left = b.left[:len(b.left)-1]
	return r
}

func shuffle(rng *rand.Rand, list []recipe) {
	rng.Shuffle(len(list), func(i, k int) { list[i], list[k] = list[k], list[i] })
}

// again puts what did not fit on top: now another one did.
func (b *bag) again() { b.left, b.aside = append(b.left, b.aside...), nil }

// open puts a change of the primary on top, one that is planned and one that is
// not in turn: amid other faults Patroni often refuses to switch over.
func (b *bag) open(rng *rand.Rand) {
	list := slices.DeleteFunc(slices.Clone(b.all), func(r recipe) bool {
		return b.planned && r.kind != switchover || !b.planned && !slices.Contains(openings, r.kind)
	})
	b.planned = !b.planned
	if len(list) > 0 {
		b.left = append(b.left, list[rng.IntN(len(list))])
	}
}

// usable are the recipes that work here.
func (n *nemesis) usable() []recipe {
	return slices.DeleteFunc(recipes(), func(r recipe) bool {
		return r.network && n.l.network == nil || r.clocks && !n.l.clocks || r.mode != "" && r.mode != n.l.mode() ||
			len(n.only) > 0 && !slices.Contains(n.only, r.kind)
	})
}

// one injects a fault, holds it and heals it, unless it does not fit now.
// Healing does not end with ctx.
func (n *nemesis) one(ctx context.Context, rng *rand.Rand, r recipe) bool {
	lasts := r.least + time.Duration(rng.Int64N(int64(r.most-r.least)))
	n.calm.RLock()
	defer n.calm.RUnlock()
	asked, cancel := context.WithTimeout(ctx, 10*time.Second)
	f, err := r.make(asked, n.l, rng)
	cancel()
	if err != nil || !n.hold(f.holds) {
		return false
	}
	defer n.release(f.holds)
	if r.row {
		n.series(ctx, rng, r, lasts)
	} else {
		n.inject(ctx, r.kind, f, lasts)
	}
	return true
}

// series switches over every three seconds or so. Two are a row: where other
// faults hinder it, it takes longer.
func (n *nemesis) series(ctx context.Context, rng *rand.Rand, r recipe, lasts time.Duration) {
	done := 0
	for end := time.Now().Add(lasts); time.Now().Before(end) || done < 2 && time.Now().Before(end.Add(lasts)); {
		if f, err := r.make(ctx, n.l, rng); err == nil && n.inject(ctx, switchover, f, time.Second) {
			done++
		}
		if !pause(ctx, 2*time.Second) {
			break
		}
	}
	n.count(ctx, r.kind, done > 1)
}

// inject does what the fault is, waits, and undoes it. It reports whether it
// came about.
func (n *nemesis) inject(ctx context.Context, kind string, f *fault, lasts time.Duration) bool {
	e := n.j.open(kind, f.target)
	err := f.begin(ctx)
	n.log("%8.2fs  %s: %s%s", e.Begin.Seconds(), kind, f.target, because(err))
	pause(ctx, lasts)
	healing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Minute)
	defer cancel()
	if bad := f.end(healing); bad != nil {
		n.mu.Lock()
		n.wrong = append(n.wrong, fmt.Sprintf("%s: %s: %v", kind, f.target, bad))
		n.mu.Unlock()
		err = errors.Join(err, bad)
	}
	n.j.close(e, err)
	n.count(ctx, kind, err == nil)
	return err == nil
}

// count notes an attempt. One that was cut short by the end of ctx is none.
func (n *nemesis) count(ctx context.Context, kind string, done bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case done:
		n.did[kind]++
	case ctx.Err() == nil:
		n.failed[kind]++
	}
}

func because(err error) string {
	if err == nil {
		return ""
	}
	return fmt.Sprintf(": %.200s", err.Error())
}

// restBound is how long the nemesis waits for a steady cluster at most.
const restBound = 90 * time.Second

// rest waits until no fault is there and the cluster is steady, for a while.
func (n *nemesis) rest(ctx context.Context) {
	n.calm.Lock()
	defer n.calm.Unlock()
	ctx, cancel := context.WithTimeout(ctx, restBound)
	defer cancel()
	e := n.j.open("rest", "all")
	if n.settle(ctx) == nil {
		pause(ctx, 3*time.Second)
	}
	n.j.close(e, nil)
}

func (n *nemesis) hold(things []string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, t := range things {
		if n.held[t] {
			return false
		}
	}
	for _, t := range things {
		n.held[t] = true
	}
	return true
}

func (n *nemesis) release(things []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, t := range things {
		delete(n.held, t)
	}
}

// heal puts everything right, whatever was begun, and returns when the cluster
// is steady.
func (n *nemesis) heal(ctx context.Context) error {
	l := n.l
	var err error
	for _, to := range l.hosts {
		for _, from := range l.hosts {
			err = errors.Join(err, to.Heal(from))
		}
	}
	if l.keeper.Running() {
		err = errors.Join(err, l.keeper.Cont())
	} else {
		err = errors.Join(err, l.keeper.Start(ctx))
	}
	for _, m := range l.patroni.Members() {
		err = errors.Join(err, m.ContPostgres())
		if l.clocks {
			err = errors.Join(err, m.SetClock(0))
		}
		if m.Running() {
			err = errors.Join(err, m.ContPatroni())
		} else {
			err = errors.Join(err, m.Start())
		}
	}
	for _, p := range l.proxies {
		if p.Running() {
			err = errors.Join(err, p.Cont())
		} else {
			err = errors.Join(err, p.start())
		}
	}
	if err != nil {
		return fmt.Errorf("heal: %w", err)
	}
	if err := n.settle(ctx); err != nil {
		return err
	}
	for _, m := range l.patroni.Members() {
		if err := errors.Join(m.Exec(ctx, undelay), m.Exec(ctx, "SELECT pg_reload_conf()")); err != nil {
			return fmt.Errorf("heal: %w", err)
		}
	}
	return nil
}

// stuckAfter is how long a member may take to follow the primary before it is
// built again.
const stuckAfter = 30 * time.Second

// settle returns when the cluster is steady, or ctx has ended.
func (n *nemesis) settle(ctx context.Context) error {
	for patience := stuckAfter; ; patience *= 2 {
		limited, cancel := context.WithTimeout(ctx, patience)
		err := n.l.patroni.WaitSteady(limited)
		cancel()
		if err == nil || ctx.Err() != nil {
			return err
		}
		n.revive()
		n.rebuild(ctx)
	}
}

// revive starts Patroni again where it has ended by itself, as a service manager
// would: after a fault of ZooKeeper or of its disk it may.
func (n *nemesis) revive() {
	for _, m := range n.l.patroni.Members() {
		if m.Running() {
			continue
		}
		e := n.j.open("revive", m.Name)
		last := m.LogTail(2 << 10)
		err := startPatroni(m)
		n.j.close(e, err)
		n.log("%8.2fs  revive: %s%s; it had ended with:\n%s", e.Begin.Seconds(), m.Name, because(err), last)
	}
}

// rebuild lets Patroni copy the members again that follow nobody: a failover or
// a full disk can leave data from which PostgreSQL cannot go on, or without the
// log that is needed next, and Patroni tries it for ever.
func (n *nemesis) rebuild(ctx context.Context) {
	leader, err := n.l.patroni.Leader(ctx)
	if err != nil {
		return
	}
	follow, err := query(ctx, leader, "SELECT coalesce(string_agg(application_name, ' '), '') FROM pg_stat_replication WHERE state = 'streaming'")
	if err != nil {
		return
	}
	_, scope, _ := strings.Cut(n.l.patroni.Path(), "/")
	for _, m := range n.l.patroni.Members() {
		if m == leader || !m.Running() || slices.Contains(strings.Fields(follow), m.Name) {
			continue
		}
		e := n.j.open("rebuild", m.Name)
		_, err := n.l.patroni.Ctl(ctx, "reinit", scope, m.Name, "--force")
		n.j.close(e, err)
		n.log("%8.2fs  rebuild: %s%s", e.Begin.Seconds(), m.Name, because(err))
	}
}
