package fire

import (
	"context"
	"fmt"

	"github.com/pgroute/pgroute/internal/booklab/lab"
	"github.com/pgroute/pgroute/internal/cluster"
)

// step is a fault, or the end of one, that happens when a part of the attempts
// has been made.
type step struct {
	at   float64
	name string
	do   func(context.Context) error
}

// steps are the faults of a run: each round does all of them, with the parts
// of the two replicas, and other victims, in turn. The load goes on all the
// time; what is down stays down for as many attempts as there are until the
// next step.
func steps(l *lab.Lab, rounds int) []step {
	var list []step
	for i := range rounds {
		replicas := l.Cluster.Replicas()
		held, killed := replicas[i%2], replicas[(i+1)%2]
		sidecar := l.Sidecars[i%len(l.Sidecars)].Process
		over, library := victims(l, i)
		add := func(at float64, name string, do func(context.Context) error) {
			list = append(list, step{(float64(i) + at) / float64(rounds), name, do})
		}
		add(0.04, "replay of "+held.Name+" paused", held.PauseReplay)
		add(0.14, killed.Name+" killed", func(context.Context) error { return killed.Stop(cluster.Kill) })
		add(0.22, killed.Name+" started", killed.Start)
		add(0.28, sidecar.Name+" killed", func(context.Context) error { return sidecar.Kill() })
		add(0.36, sidecar.Name+" started", sidecar.Start)
		add(0.42, library.Name+" (library) killed", func(context.Context) error { return library.Kill() })
		add(0.50, library.Name+" started", library.Start)
		add(0.56, "ZooKeeper killed", func(context.Context) error { return l.ZooKeeper.Kill() })
		add(0.66, "ZooKeeper started", l.ZooKeeper.Start)
		add(0.72, over.Name+" (sidecar) killed", func(context.Context) error { return over.Kill() })
		add(0.78, over.Name+" started", over.Start)
		add(0.86, "replay of "+held.Name+" resumed", held.ResumeReplay)
	}
	return list
}

// victims returns an instance over a sidecar and one over the library.
func victims(l *lab.Lab, round int) (over, library *lab.Process) {
	var overs, libraries []*lab.Process
	for _, i := range l.Instances {
		if i.Over != nil {
			overs = append(overs, i.Process)
		} else {
			libraries = append(libraries, i.Process)
		}
	}
	return overs[round%len(overs)], libraries[round%len(libraries)]
}

// nemesis does the steps, each when its part of the attempts has been handed
// out, and lets no client go past the next one before it is done.
func (r *Run) nemesis(ctx context.Context) error {
	list := steps(r.lab, r.opts.rounds())
	for i, s := range list {
		at := func(s step) int { return int(s.at * float64(r.opts.Attempts)) }
		r.gate.open(at(s))
		if err := r.gate.reached(ctx, at(s)); err != nil {
			return err
		}
		next := r.opts.Attempts
		if i+1 < len(list) {
			next = at(list[i+1])
		}
		r.gate.open(next) // the load goes on while it happens
		f := Fault{Name: s.name, Began: r.History.now()}
		if err := s.do(ctx); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		f.Ended = r.History.now()
		r.History.fault(f)
		r.opts.Log("%3.0f%%  %s, took %v", 100*s.at, s.name, round(f.Ended-f.Began))
	}
	r.gate.open(r.opts.Attempts)
	return nil
}
