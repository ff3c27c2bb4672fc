package chaos_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"

	"github.com/pgroute/pgroute/internal/cluster"
)

// link is a way from one host to another.
type link struct{ from, to *cluster.Host }

// cutLinks makes a fault of ways that are cut.
func cutLinks(target string, cut cluster.Cut, links ...link) *fault {
	f := &fault{target: target}
	for _, k := range links {
		f.holds = append(f.holds, "way "+k.from.Name+" "+k.to.Name)
	}
	f.begin = func(context.Context) (err error) {
		for _, k := range links {
			err = errors.Join(err, k.to.Cut(k.from, cut))
		}
		return err
	}
	f.end = func(context.Context) (err error) {
		for _, k := range links {
			err = errors.Join(err, k.to.Heal(k.from))
		}
		return err
	}
	return f
}

// cutPair cuts two hosts off from one another, or one way only. Two proxies
// have nothing to say to each other.
func cutPair(cut cluster.Cut, bothWays bool) func(context.Context, *lab, *rand.Rand) (*fault, error) {
	return func(_ context.Context, l *lab, rng *rand.Rand) (*fault, error) {
		names := l.hostNames()
		servers := names[:1+members]
		a := servers[rng.IntN(len(servers))]
		b := names[rng.IntN(len(names))]
		if a == b {
			return nil, errNotNow
		}
		if rng.IntN(2) == 0 {
			a, b = b, a
		}
		there, back := link{l.hosts[a], l.hosts[b]}, link{l.hosts[b], l.hosts[a]}
		if bothWays {
			return cutLinks(a+" – "+b, cut, there, back), nil
		}
		return cutLinks(a+" → "+b, cut, there), nil
	}
}

func losePackets(ctx context.Context, l *lab, rng *rand.Rand) (*fault, error) {
	return cutPair(cluster.Cut{Loss: 5 + rng.IntN(40)}, true)(ctx, l, rng)
}

// isolate cuts a member off from everybody, sometimes but for one proxy.
func isolate(pick picker) func(context.Context, *lab, *rand.Rand) (*fault, error) {
	return func(ctx context.Context, l *lab, rng *rand.Rand) (*fault, error) {
		m, err := pick(ctx, l, rng)
		if err != nil {
			return nil, err
		}
		friend, target := "", m.Name
		if rng.IntN(2) == 0 {
			friend = l.proxies[rng.IntN(len(l.proxies))].Name
			target += " but for " + friend
		}
		return cutLinks(target, cluster.Cut{}, l.waysOf(m.Name, friend)...), nil
	}
}

// waysOf are all ways to and from a host, but those of its friends.
func (l *lab) waysOf(name string, friends ...string) (list []link) {
	for _, other := range l.hostNames() {
		if other == name || slices.Contains(friends, other) {
			continue
		}
		list = append(list, link{l.hosts[name], l.hosts[other]}, link{l.hosts[other], l.hosts[name]})
	}
	return list
}

func cutProxyFromKeeper(_ context.Context, l *lab, rng *rand.Rand) (*fault, error) {
	p := l.hosts[l.proxies[rng.IntN(len(l.proxies))].Name]
	zk := l.hosts["zk"]
	return cutLinks(p.Name+" – zk", cluster.Cut{}, link{p, zk}, link{zk, p}), nil
}

func slowLink(_ context.Context, l *lab, rng *rand.Rand) (*fault, error) {
	names := l.hostNames()
	h := l.hosts[names[rng.IntN(len(names))]]
	rate := []string{"256kbit", "1mbit", "4mbit"}[rng.IntN(3)]
	return &fault{target: h.Name, holds: []string{"link " + h.Name},
		begin: func(context.Context) error { return h.Slow(rate) },
		end:   func(context.Context) error { return h.Slow("") }}, nil
}

func fillDisk(_ context.Context, l *lab, rng *rand.Rand) (*fault, error) {
	m := l.patroni.Members()[rng.IntN(members)]
	h := l.hosts[m.Name]
	return &fault{target: h.Name, holds: []string{m.Name},
		begin: func(context.Context) error { return h.FillDisk(int64(rng.IntN(2 << 20))) },
		end:   func(context.Context) error { return h.FreeDisk() }}, nil
}
