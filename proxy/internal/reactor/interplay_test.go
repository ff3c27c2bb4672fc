package reactor

import (
	"slices"
	"testing"
	"time"

	"github.com/pgroute/pgroute/proxy/internal/listener"
	"github.com/pgroute/pgroute/router"
)

// TestPoolOfANodeThatHasGone: a backend that is given back after its node was
// replaced is closed, as those are that were idle then.
func TestPoolOfANodeThatHasGone(t *testing.T) {
	m := newMarket(t, 1, 1, Limits{}).has(1, people...)
	l := m.g.loops[0]
	for range 2 {
		m.arrive(l, people[0], m.nodes[0])
		m.dialled(0, nil)
	}
	m.end(0)
	old := m.pool(l, people[0], m.nodes[0])
	m.nodes[0] = &router.Node{ID: 0, Addr: router.Addr{Name: "n0"}}
	if m.pool(l, people[0], m.nodes[0]) == old {
		t.Fatal("the pool is the same")
	}
	if old.size != 1 {
		t.Errorf("%d connections are left while one is lent", old.size)
	}
	m.end(0)
	if old.size != 0 || len(old.idle) != 0 {
		t.Errorf("%d connections are left that nobody can use", old.size)
	}
}

// TestWaitOutlivesTheBackend: who waits for a ticket or the shared listener in
// a transaction is not forgotten when its backend dies meanwhile.
func TestWaitOutlivesTheBackend(t *testing.T) {
	for _, wait := range []waitKind{waitTicket, waitHeard} {
		m := newMarket(t, 1, 1, Limits{}).has(1, people...)
		l := m.g.loops[0]
		m.arrive(l, people[0], m.nodes[0])
		m.dialled(0, nil)
		c := m.lent[0]
		c.wait = wait
		l.arm(c, m.now)
		l.serverGone(c.server)
		if c.wait != wait || c.timer == 0 {
			t.Errorf("%q is waited for; after the end of the backend %q is, timer %d", waitNames[wait], waitNames[c.wait], c.timer)
		}
	}
}

// TestThoseWithoutAPrimaryAreForgotten: clients that come and go while there is
// no primary do not pile up.
func TestThoseWithoutAPrimaryAreForgotten(t *testing.T) {
	m := newMarket(t, 1, 1, Limits{})
	l := m.g.loops[0]
	l.cfg.PrimaryWait = time.Second
	for range 10_000 {
		c := &Client{loop: l}
		l.awaitPrimary(c, new(router.RouteError))
		c.dead = true
	}
	if n := len(l.homeless); n > 1000 {
		t.Errorf("%d clients are remembered that have gone", n)
	}
}

// listenerOf makes a client that has a channel on the shared listener.
func listenerOf(l *Loop, hub *listener.Hub, channel string) *Client {
	c := &Client{loop: l, login: &Login{Hub: hub}, ear: l.ear(hub)}
	hub.Listen(channel)
	c.ear.channels[channel] = append(c.ear.channels[channel], c)
	c.ear.clients[c]++
	l.group.listeners.Add(1)
	return c
}

// TestNoChannelIsLeftBehind: a client that leaves while it is told that it has
// left a channel leaves that channel in the loop, too.
func TestNoChannelIsLeftBehind(t *testing.T) {
	l := newMarket(t, 1, 1, Limits{}).g.loops[0]
	l.ears = make(map[*listener.Hub]*ear)
	hub := listener.NewHub(listener.Config{})
	c := listenerOf(l, hub, "a")
	l.unsubscribeAll(c) // its machine knows of no channel
	if n := hub.Stats().Channels; n != 0 || len(l.ears) != 0 || l.group.Listeners() != 0 {
		t.Errorf("%d channels, %d ears and %d listeners are left", n, len(l.ears), l.group.Listeners())
	}
}

// TestNobodyWaitsTwiceForTheListener: a client that has given up waiting is not
// told any more, and does not stay in the list.
func TestNobodyWaitsTwiceForTheListener(t *testing.T) {
	l := newMarket(t, 1, 1, Limits{}).g.loops[0]
	l.ears = make(map[*listener.Hub]*ear)
	hub := listener.NewHub(listener.Config{})
	c := listenerOf(l, hub, "a")
	c.ear.up = true
	for i := range 3 {
		c.generation = uint64(i + 1)
		if _, done := l.awaitHeard(c); done {
			t.Fatal("there is nothing to wait for")
		}
		if i%2 == 0 {
			l.heardTimeout(c)
		} else {
			l.unwait(c)
		}
		if slices.Contains(c.ear.waiting, c) {
			t.Error("it is still waited for")
		}
	}
}

// TestLateCancelHoldsTheNextRequest: while a cancel request is on its way to
// the backend that a client has, its next request is not begun.
func TestLateCancelHoldsTheNextRequest(t *testing.T) {
	m := newMarket(t, 1, 1, Limits{}).has(1, people...)
	l := m.g.loops[0]
	m.arrive(l, people[0], m.nodes[0])
	m.dialled(0, nil)
	c := m.lent[0]
	if c.holds() {
		t.Error("it is held without a cancel request")
	}
	c.server.cancels = 2
	l.canceled(c.server)
	if !c.holds() {
		t.Error("it is not held, with a cancel request on its way")
	}
	l.canceled(c.server)
	if c.holds() {
		t.Error("it is held after the cancel request")
	}
}
