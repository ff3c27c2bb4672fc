package lab

import "fmt"

// Options says what to start. The zero value is a primary with two replicas,
// ZooKeeper, two sidecars, two instances over them, one over the library, and
// the balancer at a free port.
type Options struct {
	// Pgroute and Booking are the programs. Empty means that Start builds them
	// with go build, which needs the module's source.
	Pgroute, Booking string
	// Sidecars is how many proxies run: 0 means 2; negative means none.
	Sidecars int
	// OverSidecar is how many instances reach the cluster through a sidecar,
	// in turn: 0 means 2; negative means none.
	OverSidecar int
	// OverLibrary is how many instances use the library: 0 means 1; negative
	// means none.
	OverLibrary int
	// Port is where the balancer listens on 127.0.0.1; 0 means a free port.
	Port int
	// PreferPort is like Port, but if that port is taken a free one is used.
	PreferPort int
	// Rooms and Slots are handed to booking init; 0 means its default.
	Rooms, Slots int
	// Progress is told what has just been reached, in a few words, possibly
	// from several goroutines. nil means that nobody wants to know.
	Progress func(what string)
}

// validate fills in the defaults.
func (o *Options) validate() error {
	for _, n := range []struct {
		of   *int
		deft int
	}{{&o.Sidecars, 2}, {&o.OverSidecar, 2}, {&o.OverLibrary, 1}} {
		if *n.of == 0 {
			*n.of = n.deft
		}
		*n.of = max(*n.of, 0)
	}
	if o.OverSidecar > 0 && o.Sidecars == 0 {
		return fmt.Errorf("start a lab: %d instances over sidecars, and no sidecar", o.OverSidecar)
	}
	if o.OverSidecar+o.OverLibrary == 0 {
		return fmt.Errorf("start a lab: no instance")
	}
	if o.Progress == nil {
		o.Progress = func(string) {}
	}
	return nil
}
