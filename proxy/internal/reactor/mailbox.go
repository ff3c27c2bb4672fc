package reactor

import (
	"sync"
	"sync/atomic"

	"github.com/pgroute/pgroute/proxy/internal/backend"
	"github.com/pgroute/pgroute/router"
)

// mail is a message to a loop from another goroutine.
type mail struct {
	kind   mailKind
	client *Client
	seq    uint64
	pool   *pool
	hello  *backend.Hello
	node   *router.Node
	asked  uint64
	era    uint64
	err    error
	server *server
	fn     func()
	done   chan<- struct{} // of mailCancel: closed once it is carried out
}

type mailKind uint8

const (
	mailAdopt    mailKind = iota // a client is logged in
	mailWake                     // the router has something for a client that waits
	mailDialled                  // a dial has ended
	mailTopology                 // the topology has changed
	mailCancel                   // cancel what a client runs
	mailCanceled                 // a cancel request to a backend has been delivered
	mailCall                     // run fn in the loop
)

// mailbox is the only way into a loop.
type mailbox struct {
	// asleep is true while the loop waits, or is about to, so that a post has
	// to interrupt it.
	asleep atomic.Bool

	mu   sync.Mutex // guards the fields below
	list []mail
	full atomic.Bool // list is not empty
}

// post hands m to the loop. It never blocks for long and may be called from
// any goroutine.
func (l *Loop) post(m mail) {
	b := &l.mail
	b.mu.Lock()
	b.list = append(b.list, m)
	b.full.Store(true)
	b.mu.Unlock()
	if b.asleep.CompareAndSwap(true, false) {
		l.poll.interrupt()
	}
}

// take returns what was posted. The slice is valid until the next call.
func (l *Loop) take() []mail {
	b := &l.mail
	if !b.full.Load() {
		return nil
	}
	b.mu.Lock()
	l.taken, b.list = b.list, l.taken[:0]
	b.full.Store(false)
	b.mu.Unlock()
	return l.taken
}
