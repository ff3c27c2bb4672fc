package main

import (
	"errors"
	"sync/atomic"

	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/zookeeper"
)

// refusals counts what a proxy was told and did not believe: what it knew before
// stands. A nil one counts nothing.
type refusals struct {
	configs atomic.Uint64 // of the file or of ZooKeeper
	// malformed are znodes that make no sense, denied those that ZooKeeper does
	// not show, and all else that it refuses.
	malformed, denied atomic.Uint64
	// ages is true if the source is ZooKeeper: its silence counts from the start.
	ages bool
}

// znode counts a znode that makes no sense or is not shown.
func (r *refusals) znode(_ string, err error) {
	switch {
	case r == nil:
	case errors.Is(err, zookeeper.ErrRefused):
		r.denied.Add(1)
	default:
		r.malformed.Add(1)
	}
}

// request counts something that ZooKeeper refuses.
func (r *refusals) request(error) {
	if r != nil {
		r.denied.Add(1)
	}
}

// sourceErrors are the reasons of pgroute_source_errors_total, with what the
// router has counted.
func (r *refusals) sourceErrors(st *router.Stats) map[string]uint64 {
	return map[string]uint64{
		"malformed": r.malformed.Load(), "refused": r.denied.Load(),
		"foreign": st.Foreign, "second_primary": st.Claimants,
	}
}
