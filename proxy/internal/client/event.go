package client

import (
	"github.com/pgroute/pgroute/proxy/internal/backend"
	"github.com/pgroute/pgroute/proxy/internal/wire"
	"github.com/pgroute/pgroute/router"
)

// EventKind says what happened.
type EventKind uint8

// The events. Byte slices are valid until Step returns and its effects have
// been carried out.
const (
	// ClientBytes: Data is everything that the client has sent and that was
	// not consumed yet.
	ClientBytes EventKind = iota
	// BackendBytes: Data is everything that the leased backend has sent and
	// that was not consumed yet, Input the length of the client's input.
	BackendBytes
	// BackendGone: the leased backend's connection ended. Data is the client's
	// input as in ClientBytes.
	BackendGone
	// Routed answers Route. Data is the client's input as in ClientBytes.
	Routed
	// RouteFailed answers Route: Report says why nothing can serve. Data as in
	// Routed.
	RouteFailed
	// Leased answers Lease with a backend. Data as in Routed.
	Leased
	// LeaseFailed answers Lease: Report is what to tell the client; Elsewhere
	// says that another node may do. Data as in Routed.
	LeaseFailed
	// Aligned answers Input: Data is the client's input as in ClientBytes.
	Aligned
	// TicketReady answers Ticket: the generation that was asked for has its
	// position, Floor; or Report says why it has not.
	TicketReady
	// Cancel: the client asked to cancel what it runs, and it runs nothing on
	// a backend yet. Data is the client's input as in ClientBytes.
	Cancel
	// HomeGone: the connection of the backend that is parked has ended. Data is
	// what it had sent that was not consumed yet.
	HomeGone
	// Heard answers AwaitHeard; Report says why a channel is not listened to.
	Heard
	// Notified: Data is the NotificationResponse of a channel that the client
	// listens to over the shared listener. Empty, it says that the client reads
	// again.
	Notified
	// Missed: the shared listener was lost and stands again.
	Missed
	// Overheard: a notification was dropped because the client does not read.
	Overheard
	// Hesitates: the client has begun a group of messages (see Machine.Begun)
	// and does not go on. Data as in ClientBytes.
	Hesitates
	// Resolved answers Inquire with Verdict.
	Resolved
)

// Event is the input of Step.
type Event struct {
	Kind     EventKind
	Data     []byte
	Input    int
	Backend  *backend.State
	Decision router.Decision
	Floor    router.Floor
	Report   *wire.Report
	Verdict  router.Verdict
	// Elsewhere: another node may do. Again: so may the same one, after a new
	// decision.
	Elsewhere, Again bool
}

// Op is what the loop has to do.
type Op uint8

// The operations, carried out in order.
const (
	// ToClient sends Data to the client.
	ToClient Op = iota
	// ToBackend sends Data to the leased backend.
	ToBackend
	// Route asks the router where the machine's request may run; see
	// Machine.Wants.
	Route
	// Lease asks for a backend of the decision's node.
	Lease
	// Release gives the backend back to its pool: it is idle, unpinned and in
	// a known state (I4).
	Release
	// Destroy closes the backend.
	Destroy
	// Ticket asks for the position of a ticket; see Machine.AwaitTicket.
	Ticket
	// Input asks for the client's input: Aligned brings it.
	Input
	// Close closes the client after everything queued for it was sent.
	Close
	// Park lays the leased backend aside: it stays the client's, and another one
	// is leased for the cycle. Unpark takes it back as the leased one.
	Park
	Unpark
	// Listen changes what the client wants from the shared listener; see
	// Machine.Subscriptions. It is not answered.
	Listen
	// Hear asks for what was notified before now. It is not answered.
	Hear
	// AwaitHeard waits for what Listen and Hear have asked for.
	AwaitHeard
	// Inquire asks what became of Machine.Commit.
	Inquire
)

// Effect is one operation.
type Effect struct {
	Op   Op
	Data []byte
}

// Effects collects what Step wants done. It is reused.
type Effects struct {
	List []Effect
	// Consumed and BackendConsumed say how many bytes of the event's Data, or
	// of the client's input, are not needed any more.
	Consumed        int
	BackendConsumed int

	arena []byte
}

// Reset empties e for the next Step. What it referred to is not valid any
// more.
func (e *Effects) Reset() {
	clear(e.List)
	e.List = e.List[:0]
	e.Consumed, e.BackendConsumed = 0, 0
	if cap(e.arena) > 1<<20 {
		e.arena = nil
	}
	e.arena = e.arena[:0]
}

func (e *Effects) add(op Op) { e.List = append(e.List, Effect{Op: op}) }

func (e *Effects) toClient(b []byte) {
	if len(b) > 0 {
		e.List = append(e.List, Effect{Op: ToClient, Data: b})
	}
}

func (e *Effects) toBackend(b []byte) {
	if len(b) > 0 {
		e.List = append(e.List, Effect{Op: ToBackend, Data: b})
	}
}

// built returns what was appended to the arena since it was mark bytes long.
// Growing the arena later leaves the slice as it is.
func (e *Effects) built(mark int) []byte { return e.arena[mark:len(e.arena):len(e.arena)] }
