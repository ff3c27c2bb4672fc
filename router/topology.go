package router

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"
)

// Topology is what the router knows of the cluster at one time. It is
// immutable and shared: nothing in it may be changed.
type Topology struct {
	// Epoch changes whenever the primary, its identity or its incarnation
	// changes, also when there is none any more. A backend that was dialled in
	// another epoch takes no write (I6).
	Epoch uint64
	// Nodes are the servers, sorted by name.
	Nodes []*Node
	// Primary is the server that may take writes, nil if none is proven to.
	Primary *Node
	// Leadership is true while it is proven that no other server acknowledges
	// commits. Writes and strong reads need it.
	Leadership bool
	// Reason says in words why there is no primary, or nothing.
	Reason string
	// Switchover is a change of the primary that is announced, zero if none is.
	// From Config.SwitchoverLead before it begins new writes wait.
	Switchover Switchover
	// announced is since when it is known, announcement which one it is.
	announced    time.Time
	announcement int64
	// Management is what the cluster's manager says, never nil.
	Management *Management

	// systemID is what the source says, 0 if it does not.
	systemID uint64
	// era is that of the last primary that was seen, never nil.
	era *era
	// eras are the last eras, oldest first, era among them.
	eras []*era
	// lastGood is the node that reads may go to when they need the primary but
	// not the proof that it is still the only one; nil if there is none.
	lastGood *Node
	// awaited is the node that the source names while it has not proved that it
	// is the primary, nil if there is none; named is since when.
	awaited *Node
	named   time.Time
	// until is when the proof of leadership ends, zero if it does not age.
	until time.Time
	// eligible are the nodes that count as replicas, by ID.
	eligible NodeSet
	// changed is closed when a newer topology is published.
	changed chan struct{}
}

// maxEras bounds how many eras a topology remembers. Floors of older ones are
// still understood, but can no longer be made into tokens.
const maxEras = 16

// Era returns the number of the current era, 0 before any primary was seen.
func (t *Topology) Era() uint64 { return t.era.n }

// SystemID returns the system identifier of the cluster, 0 while it is not
// known. A server with another one does not belong to it. Before any primary was
// seen it is what the source says.
func (t *Topology) SystemID() uint64 { return cmp.Or(t.era.systemID, t.systemID) }

// Timeline returns the timeline of the current era, 0 before any primary was
// seen. Whoever counts as a replica follows it.
func (t *Topology) Timeline() uint32 { return t.era.timeline }

// Replicas returns how many nodes counted as replicas when t was published.
func (t *Topology) Replicas() int { return t.eligible.len() }

// LastGood returns the node that reads may go to when they need a primary:
// Primary or, while nobody takes writes, the last one as long as it answers as
// the primary that it was. It is nil if there is none.
func (t *Topology) LastGood() *Node { return t.lastGood }

// Changed returns a channel that is closed once t is not the current topology
// any more.
func (t *Topology) Changed() <-chan struct{} { return t.changed }

// Leads reports whether leadership is proven at the time now. It differs from
// Leadership when the router was kept from running.
func (t *Topology) Leads(now time.Time) bool {
	return t.Leadership && (t.until.IsZero() || now.Before(t.until))
}

// Node returns the node with a name, or nil.
func (t *Topology) Node(name string) *Node {
	for _, n := range t.Nodes {
		if n.Name == name {
			return n
		}
	}
	return nil
}

// String describes t for logs.
func (t *Topology) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "epoch %d:", t.Epoch)
	if t.Primary != nil {
		fmt.Fprintf(&b, " primary %s on timeline %d", t.Primary.Name, t.era.timeline)
	} else {
		fmt.Fprintf(&b, " no primary (%s)", t.Reason)
	}
	for _, n := range t.Nodes {
		if t.eligible.has(n.ID) {
			fmt.Fprintf(&b, ", replica %s", n.Name)
		}
	}
	if s := t.Switchover; !s.IsZero() {
		fmt.Fprintf(&b, ", a switchover of %s is announced", s.Leader)
	}
	if t.Management != nil && t.Management.Paused {
		fmt.Fprintf(&b, ", %s is paused", t.Management.Manager)
	}
	return b.String()
}

// same reports whether nothing that anyone could notice differs between t and
// o, apart from until.
func (t *Topology) same(o *Topology) bool {
	if t.Epoch != o.Epoch || t.Primary != o.Primary || t.Leadership != o.Leadership || t.Reason != o.Reason ||
		t.SystemID() != o.SystemID() || t.Switchover != o.Switchover || t.announcement != o.announcement || t.Management != o.Management ||
		t.era != o.era || t.lastGood != o.lastGood || t.awaited != o.awaited || t.eligible != o.eligible || len(t.Nodes) != len(o.Nodes) {
		return false
	}
	for i, n := range t.Nodes {
		if o.Nodes[i] != n {
			return false
		}
	}
	return true
}

// Topology returns the current topology, never nil. It is one atomic load.
func (r *Router) Topology() *Topology { return r.topo.Load() }

// WaitTopology returns nil once ok accepts the current topology, or an error
// that wraps the cause of ctx. ok is called by this goroutine.
func (r *Router) WaitTopology(ctx context.Context, ok func(*Topology) bool) error {
	for {
		t := r.topo.Load()
		if ok(t) {
			return nil
		}
		select {
		case <-t.changed:
		case <-ctx.Done():
			return fmt.Errorf("wait for the topology to change (%s): %w", t, context.Cause(ctx))
		}
	}
}

// Primary returns the node that takes writes and the epoch in which it does: a
// connection that was dialled in another one takes no write (I6). If nobody
// takes writes the error is a *RouteError with SQLSTATE 57P03 that says why, and
// the epoch is the present one.
func (r *Router) Primary() (n *Node, epoch uint64, err error) {
	t := r.topo.Load()
	if t.Primary == nil || !t.until.IsZero() && !t.Leads(time.Now()) {
		return nil, t.Epoch, noPrimary(t)
	}
	if t.Switchover.Leader == t.Primary.Name && t.held(time.Now(), r.cfg.SwitchoverLead) {
		return nil, t.Epoch, &RouteError{Code: stateNoPrimary, Message: "there is no primary now",
			Detail: "a switchover from " + t.Primary.Name + " is announced"}
	}
	return t.Primary, t.Epoch, nil
}

func noPrimary(t *Topology) *RouteError {
	reason := t.Reason
	if reason == "" {
		reason = "the proof that it leads has expired"
	}
	return &RouteError{Code: stateNoPrimary, Message: "there is no primary now", Detail: reason}
}
