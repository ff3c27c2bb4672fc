// Package listener shares one server connection for LISTEN among all clients of
// a database.
//
// A Hub owns that connection. It is opened with the first channel, goes to the
// current primary only, and listens to whatever channel somebody wants. What
// arrives there is posted to its members, the event loops, which know whose it
// is. A generation is one round trip on the connection: it brings all
// notifications whose commit was acknowledged before it was asked for, and the
// channels that were wanted before are listened to when it is done.
package listener

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/pgprobe"
)

// Config says whom a Hub listens to.
type Config struct {
	Router   *router.Router
	Monitor  *pgprobe.Prober
	Database string
	Logger   *slog.Logger
	// Linger is how long the connection stays open without a channel; 0 means
	// one minute.
	Linger time.Duration
	// RoundTrip bounds the answer to a round trip; 0 means 5 s.
	RoundTrip time.Duration
}

// MaxChannels bounds the channels of one Hub.
const MaxChannels = 1 << 16

// Hub listens for the clients of one database.
type Hub struct {
	cfg Config

	wanted atomic.Uint64 // the highest generation that was asked for
	sent   atomic.Uint64 // the highest one that was sent
	wake   chan struct{}
	room   chan struct{} // a member has taken what was posted to it

	// full: a member takes nothing, so nothing is read from the server.
	full atomic.Bool

	notifications, reconnects atomic.Uint64

	mu       sync.Mutex // guards the fields below
	channels map[string]*channel
	changed  map[string]struct{} // channels that the server may not know rightly
	members  []*Member
}

// channel is a channel that somebody wants, or that the server still sends.
type channel struct {
	users int
	on    bool // the connection listens to it
}

// Note is one notification.
type Note struct {
	Channel string
	// Frame is the whole NotificationResponse. It is shared and not changed.
	Frame []byte
}

// Batch is what a member is told. It is shared and not changed.
type Batch struct {
	Notes []Note
	// Done is the highest generation that is done, 0 if the batch says
	// nothing about that. As long as there is no Down, the connection stands.
	Done uint64
	// Down says that the connection is lost. Missed comes with the first Done
	// after it: there were channels all the while.
	Down, Missed bool

	size int64
}

// Member is who hears a Hub.
type Member struct {
	hub     *Hub
	post    func(*Batch)
	pending atomic.Int64 // bytes posted and not taken
}

// maxPending bounds what is posted to a member before it takes something.
const maxPending = 4 << 20

// NewHub returns a Hub without a connection. Run runs it.
func NewHub(cfg Config) *Hub {
	if cfg.Linger <= 0 {
		cfg.Linger = time.Minute
	}
	if cfg.RoundTrip <= 0 {
		cfg.RoundTrip = 5 * time.Second
	}
	return &Hub{cfg: cfg, wake: make(chan struct{}, 1), room: make(chan struct{}, 1),
		channels: make(map[string]*channel), changed: make(map[string]struct{})}
}

// Join adds a member. post is called from the Hub's goroutines, in order, and
// must not block; the member calls Taken for each batch.
func (h *Hub) Join(post func(*Batch)) *Member {
	m := &Member{hub: h, post: post}
	h.mu.Lock()
	h.members = append(h.members[:len(h.members):len(h.members)], m)
	h.mu.Unlock()
	return m
}

// Leave removes the member. Batches may be on their way.
func (m *Member) Leave() {
	h := m.hub
	h.mu.Lock()
	kept := make([]*Member, 0, len(h.members))
	for _, o := range h.members {
		if o != m {
			kept = append(kept, o)
		}
	}
	h.members = kept
	h.mu.Unlock()
	kick(h.room)
}

// Taken says that the member is done with a batch.
func (m *Member) Taken(b *Batch) {
	if m.pending.Add(-b.size) < maxPending {
		kick(m.hub.room)
	}
}

// Listen wants a channel. It is listened to once a generation that was asked
// for afterwards is done. It returns false if there are too many.
func (h *Hub) Listen(name string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.channels[name]
	if c == nil {
		if len(h.channels) >= MaxChannels {
			return false
		}
		c = new(channel)
		h.channels[name] = c
	}
	if c.users++; c.users == 1 {
		h.changed[name] = struct{}{}
	}
	return true
}

// Unlisten takes one Listen back.
func (h *Hub) Unlisten(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.channels[name]
	if c == nil || c.users == 0 {
		return
	}
	switch c.users--; {
	case c.users > 0:
	case c.on:
		h.changed[name] = struct{}{}
		kick(h.wake)
	default: // the server was never told of it
		delete(h.channels, name)
		delete(h.changed, name)
	}
}

// Ask asks for a round trip that begins after now and returns its generation.
func (h *Hub) Ask() uint64 {
	gen := h.sent.Load() + 1
	for {
		old := h.wanted.Load()
		if old >= gen {
			return gen
		}
		if h.wanted.CompareAndSwap(old, gen) {
			kick(h.wake)
			return gen
		}
	}
}

// Stats are the counters of a Hub.
type Stats struct {
	// Channels are wanted by somebody now.
	Channels int
	// Notifications have arrived. Reconnects counts connections after one
	// that was lost.
	Notifications, Reconnects uint64
}

// Stats returns the counters.
func (h *Hub) Stats() Stats {
	st := Stats{Notifications: h.notifications.Load(), Reconnects: h.reconnects.Load()}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.channels {
		if c.users > 0 {
			st.Channels++
		}
	}
	return st
}

// wants reports whether anybody wants a channel.
func (h *Hub) wants() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.channels {
		if c.users > 0 {
			return true
		}
	}
	return false
}

// tell posts b to all members. It waits for a member that takes nothing, up
// to the end of ctx: what it cannot take stays with the server.
func (h *Hub) tell(ctx context.Context, b *Batch) {
	h.mu.Lock()
	members := h.members
	h.mu.Unlock()
	for _, m := range members {
		for m.pending.Load() >= maxPending && h.has(m) && ctx.Err() == nil {
			h.full.Store(true)
			select {
			case <-h.room:
			case <-ctx.Done():
			}
		}
		m.pending.Add(b.size)
		m.post(b)
	}
	h.full.Store(false)
}

func (h *Hub) has(m *Member) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, o := range h.members {
		if o == m {
			return true
		}
	}
	return false
}

// kick signals a channel of capacity 1.
func kick(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
