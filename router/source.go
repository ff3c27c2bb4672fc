package router

import (
	"context"
	"time"
)

// A Source says which servers exist. It names candidates; the servers prove
// their roles (I6).
type Source interface {
	// Watch calls publish with a full Candidates value whenever something
	// changed or was confirmed, beginning as soon as the source has answered
	// once. It blocks until ctx is done and then returns nil; it returns an
	// error only for what cannot heal (a malformed address list). publish is
	// called from one goroutine at a time and does not block.
	Watch(ctx context.Context, publish func(Candidates)) error
}

// Candidates is what a Source knows at one time.
type Candidates struct {
	// Nodes are the servers, in no order. Names are unique.
	Nodes []Candidate
	// NamesPrimary is true for a source that says who may take writes
	// (ZooKeeper). Then Primary is that node's name, empty when nobody may.
	// It is false for a static list: the router finds the primary by asking.
	NamesPrimary bool
	Primary      string
	// Confirmed is when the source last proved that it speaks for the present
	// (a static list: always now). ValidFor is how long that proof lasts, the
	// session timeout of ZooKeeper; 0 means that the proof does not age.
	Confirmed time.Time
	ValidFor  time.Duration
}

// Candidate is one server that a Source names.
type Candidate struct {
	Addr
	// Weight is the node's share of reads relative to others; 0 means 1.
	Weight int
	Zone   string
	Tags   map[string]string
}
