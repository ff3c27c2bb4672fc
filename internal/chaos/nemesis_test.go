package chaos_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// nemesis injects faults and heals them.
type nemesis struct {
	l    *lab
	j    *journal
	seed uint64
	log  func(string, ...any)

	mu    sync.Mutex // guards the fields below
	held  map[string]bool
	did   map[string]int
	wrong []string // what could not be put right
}

// lanes is how many faults there are at a time, at most.
const lanes = 2

func newNemesis(l *lab, j *journal, seed uint64, log func(string, ...any)) *nemesis {
	return &nemesis{l: l, j: j, seed: seed, log: log, held: map[string]bool{}, did: map[string]int{}}
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

// laneLoop makes one fault after another. The first lane lets the cluster come
// to rest now and then, so that faults also meet a sound one; the others pause
// for longer.
func (n *nemesis) laneLoop(ctx context.Context, lane int, all *sync.WaitGroup) {
	defer all.Done()
	rng := rand.New(rand.NewPCG(n.seed, uint64(lane)))
	list := n.usable()
	for i := 0; ctx.Err() == nil; i++ {
		calm := time.Duration(rng.Int64N(int64(3*time.Second))) + 300*time.Millisecond
		if lane > 0 {
			calm *= 4
		}
		if !pause(ctx, calm) {
			return
		}
		n.one(ctx, rng, choose(rng, list))
		if lane == 0 && i%6 == 5 {
			n.rest(ctx)
		}
	}
}

// usable are the recipes that work here.
func (n *nemesis) usable() []recipe {
	return slices.DeleteFunc(recipes(), func(r recipe) bool { return r.network && n.l.network == nil })
}

func choose(rng *rand.Rand, list []recipe) recipe {
	sum := 0
	for _, r := range list {
		sum += r.weight
	}
	at := rng.IntN(sum)
	for _, r := range list {
		if at -= r.weight; at < 0 {
			return r
		}
	}
	return list[0]
}

// one injects a fault, holds it and heals it. Healing does not end with ctx.
func (n *nemesis) one(ctx context.Context, rng *rand.Rand, r recipe) {
	lasts := r.least + time.Duration(rng.Int64N(int64(r.most-r.least)))
	asked, cancel := context.WithTimeout(ctx, 10*time.Second)
	f, err := r.make(asked, n.l, rng)
	cancel()
	if err != nil || !n.hold(f.holds) {
		return
	}
	defer n.release(f.holds)
	if r.kind == "switchovers in a row" {
		n.series(ctx, rng, r, lasts)
		return
	}
	n.inject(ctx, r.kind, f, lasts)
}

// series switches over every three seconds or so.
func (n *nemesis) series(ctx context.Context, rng *rand.Rand, r recipe, lasts time.Duration) {
	for end := time.Now().Add(lasts); time.Now().Before(end) && ctx.Err() == nil; {
		if f, err := r.make(ctx, n.l, rng); err == nil {
			n.inject(ctx, "switchover", f, time.Second)
		}
		if !pause(ctx, 2*time.Second) {
			return
		}
	}
}

// inject does what the fault is, waits, and undoes it.
func (n *nemesis) inject(ctx context.Context, kind string, f *fault, lasts time.Duration) {
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
	n.mu.Lock()
	defer n.mu.Unlock()
	if err == nil {
		n.did[kind]++
	} else {
		n.did[kind+" (failed)"]++
	}
}

func because(err error) string {
	if err == nil {
		return ""
	}
	return fmt.Sprintf(": %.200s", err.Error())
}

// rest waits until the cluster is steady, for a while.
func (n *nemesis) rest(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if n.l.patroni.WaitSteady(ctx) == nil {
		pause(ctx, 2*time.Second)
	}
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
	return l.patroni.WaitSteady(ctx)
}
