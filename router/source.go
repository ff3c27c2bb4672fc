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
	// called from one goroutine at a time and does not block. Nobody may change
	// the value after that: neither its slices nor its maps are copied.
	Watch(ctx context.Context, publish func(Candidates)) error
}

// Candidates is what a Source knows at one time.
type Candidates struct {
	// Nodes are the servers, in no order. Names are unique. A router uses 64 of
	// them at most, those that it knew before first.
	Nodes []Candidate
	// NamesPrimary is true for a source that says who may take writes
	// (ZooKeeper). Then Primary is that node's name, empty when nobody may.
	// It is false for a static list: the router finds the primary by asking.
	NamesPrimary bool
	Primary      string
	// Reason says why Primary is empty, for people; it may be empty too.
	Reason string
	// SystemID is the cluster's system identifier, 0 if the source does not
	// know it. A server with another one does not belong to the cluster.
	SystemID uint64
	// Switchover is a change of the primary that is announced.
	Switchover Switchover
	// Announcement tells one announcement of Switchover from a later one in the
	// same words: new work waits for each anew. 0 if the source cannot tell.
	Announcement int64
	// Management is what else the cluster's manager says.
	Management Management
	// Confirmed is when the source last proved that it speaks for the present
	// (a static list: always now). ValidFor is how long that proof lasts, the
	// session timeout of ZooKeeper; 0 means that the proof does not age.
	Confirmed time.Time
	ValidFor  time.Duration
}

// Candidate is one server that a Source names. Another Addr makes it another
// node; the other fields may change while the node lives.
type Candidate struct {
	Addr
	// Weight is the node's share of reads relative to others; 0 means 1.
	Weight int
	// Zone is where the node is; see Preferences.
	Zone string
	// Tags are what else the source says of the node, nil if it says nothing.
	// Node.Tags returns them; they decide nothing.
	Tags map[string]string
	// NoReads says why the node shall serve no reads as a replica, "" if it
	// may.
	NoReads string
}
