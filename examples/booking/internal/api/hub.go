package api

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// topic is what a listener wants to hear of: the seats of a room in a slot, or,
// if it is zero, the state.
type topic struct{ slot, room int64 }

// hub tells listeners what changes. However many listen to a topic, one
// goroutine looks; it ends when the last of them has left.
type hub struct {
	api *API

	mu     sync.Mutex // guards the fields below
	feeds  map[topic]*feed
	joined int
	closed bool
	wg     sync.WaitGroup // counts the goroutines of feeds
}

// maxListeners bounds the streams of one instance.
const maxListeners = 1000

// feed is one topic with its listeners. Its fields are guarded by hub.mu.
type feed struct {
	listeners map[*listener]struct{}
	// all is what a new listener gets, nil until somebody has looked.
	all  []byte
	stop context.CancelFunc
}

// listener is one stream of events.
type listener struct {
	topics   []topic
	messages chan []byte
	over     chan struct{} // closed when the stream must end
	ended    bool          // over is closed; guarded by hub.mu
}

// poll looks at a topic. It is used by one goroutine.
type poll interface {
	// look returns the event that tells everything, and the one that tells
	// what has changed since the last look; nil if nothing has.
	look(ctx context.Context) (all, changed []byte, err error)
}

func newHub(a *API) *hub { return &hub{api: a, feeds: make(map[topic]*feed)} }

// join returns a listener, which must leave.
func (h *hub) join(topics []topic) (*listener, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || h.joined == maxListeners {
		return nil, fail(http.StatusServiceUnavailable, "too_many_listeners", "this instance takes no more listeners")
	}
	h.joined++
	// A listener that is this many events behind comes back and begins anew.
	l := &listener{topics: topics, messages: make(chan []byte, 64), over: make(chan struct{})}
	for _, t := range topics {
		f := h.feeds[t]
		if f == nil {
			f = h.startLocked(t)
		}
		f.listeners[l] = struct{}{}
		if f.all != nil {
			l.sendLocked(f.all)
		}
	}
	return l, nil
}

// leave ends a listener. Feeds that nobody listens to end too.
func (h *hub) leave(l *listener) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.joined--
	for _, t := range l.topics {
		f := h.feeds[t]
		delete(f.listeners, l)
		if len(f.listeners) == 0 {
			f.stop()
			delete(h.feeds, t)
		}
	}
}

// close ends all streams and waits for the goroutines of the feeds.
func (h *hub) close() {
	h.mu.Lock()
	h.closed = true
	for _, f := range h.feeds {
		f.stop()
		for l := range f.listeners {
			l.endLocked()
		}
	}
	h.mu.Unlock()
	h.wg.Wait()
}

func (h *hub) startLocked(t topic) *feed {
	ctx, cancel := context.WithCancel(context.Background())
	f := &feed{listeners: make(map[*listener]struct{}), stop: cancel}
	h.feeds[t] = f
	var p poll = &statePoll{a: h.api}
	if t != (topic{}) {
		p = &seatsPoll{a: h.api, topic: t}
	}
	// Ends with f.stop; close waits for it.
	h.wg.Go(func() { h.pollLoop(ctx, f, p) })
	return f
}

// pollLoop looks again and again, and tells the listeners.
func (h *hub) pollLoop(ctx context.Context, f *feed, p poll) {
	tick := time.NewTicker(eventPace)
	defer tick.Stop()
	for ctx.Err() == nil {
		once, cancel := context.WithTimeout(ctx, requestTimeout)
		all, changed, err := p.look(once)
		cancel()
		if err == nil {
			h.tell(f, all, changed)
		} else if ctx.Err() == nil {
			h.api.log.Warn("events are late", "error", oneLine(err))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

func (h *hub) tell(f *feed, all, changed []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f.all = all
	if changed == nil {
		return
	}
	for l := range f.listeners {
		l.sendLocked(changed)
	}
}

func (l *listener) sendLocked(message []byte) {
	select {
	case l.messages <- message:
	default:
		l.endLocked()
	}
}

func (l *listener) endLocked() {
	if !l.ended {
		l.ended = true
		close(l.over)
	}
}
