package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/pgprobe"
	"github.com/pgroute/pgroute/router/zookeeper"
)

// agent is a running pgroute register. But for the registrar's work all of it
// is one goroutine's.
type agent struct {
	addr                router.Addr
	node                zookeeper.Node
	interval, downAfter time.Duration
	publishes           bool
	zk                  zookeeper.Config
	registrar           *zookeeper.Registrar
	monitor             *pgprobe.Prober // nil without --monitor
	log                 logging
	std                 stdio

	probe     router.Probe // nil while there is none
	up        bool         // the server answers: the znode is asked for
	answered  time.Time    // the last time that it did
	announced bool
	registry  *zookeeper.Registry // nil until something is published
	told      map[string]string   // what was logged last, by subject
}

// run works until ctx is done.
func (a *agent) run(ctx context.Context) error {
	a.told = make(map[string]string)
	kept, end := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	// Ends with kept, or with what cannot heal; waited for below.
	go a.registerLoop(kept, ended)
	defer a.close()
	tick := time.NewTicker(a.interval)
	defer tick.Stop()
	a.answered = time.Now()
	for ctx.Err() == nil {
		a.look(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
		case err := <-ended:
			end()
			return err
		}
	}
	end()
	err := <-ended
	a.log.Info("the agent has ended", "node", a.addr.Name)
	return err
}

func (a *agent) registerLoop(ctx context.Context, ended chan<- error) { ended <- a.registrar.Run(ctx) }

// look asks the server once, and brings ZooKeeper in line with the answer.
func (a *agent) look(ctx context.Context) {
	// A server that hangs has its time, and not an interval more.
	limit := max(time.Until(a.answered.Add(a.downAfter)), a.interval)
	if !a.up {
		limit = max(limit, a.downAfter) // nothing depends on how soon it is known to be back
	}
	asking, cancel := context.WithTimeout(ctx, limit)
	status, known, err := a.ask(asking)
	cancel()
	switch {
	case ctx.Err() != nil:
		return
	case err != nil:
		a.silent(err)
		return
	}
	a.answered = time.Now()
	if !a.up {
		a.up = true
		a.log.Info("the server answers", "node", a.addr.Name)
		delete(a.told, "server")
		if err := a.registrar.Node(a.addr.Name, a.node); err != nil {
			a.tell("register", err) // It was checked at the start.
			return
		}
	}
	if a.registered(ctx) && known && a.publishes {
		a.publish(ctx, status)
	}
}

// silent is for a server that does not answer.
func (a *agent) silent(err error) {
	if time.Since(a.answered) < a.downAfter {
		return
	}
	if a.up {
		a.up = false
		a.registrar.RemoveNode(a.addr.Name)
	}
	if a.told["server"] != "" {
		return // once for each time that it is away: what exactly is wrong changes all the time
	}
	a.tell("server", fmt.Errorf("the server does not answer, and is not registered: %w", err))
}

// ask asks the server whether it is there and, with a monitor, who it is.
func (a *agent) ask(ctx context.Context) (status router.Status, known bool, err error) {
	if a.monitor == nil {
		return status, false, ping(ctx, a.addr.Host, a.addr.Port)
	}
	if a.probe == nil {
		if a.probe, err = a.monitor.Connect(ctx, a.addr); err != nil {
			a.probe = nil
			return status, false, err
		}
	}
	if status, err = a.probe.Identify(ctx); err != nil {
		_ = a.probe.Close() // it is dead
		a.probe = nil
	}
	return status, err == nil, err
}

// registered reports whether the znode is there, and tells when that changes.
func (a *agent) registered(ctx context.Context) bool {
	waiting, cancel := context.WithTimeout(ctx, a.interval)
	defer cancel()
	err := a.registrar.Wait(waiting)
	if ctx.Err() != nil {
		return false
	}
	if err != nil {
		a.tell("znode", fmt.Errorf("ZooKeeper does not have the node yet: %w", err))
		return false
	}
	if a.told["znode"] != "" {
		delete(a.told, "znode")
		a.log.Info("the node is registered", "node", a.addr.Name)
	}
	if !a.announced {
		a.announced = true
		fmt.Fprintf(a.std.out, "pgroute: registered %s\n", a.addr.Name)
	}
	return true
}

// publish brings PATH/primary in line with what the server says that it is.
func (a *agent) publish(ctx context.Context, status router.Status) {
	ctx, cancel := context.WithTimeout(ctx, max(a.interval, time.Second))
	defer cancel()
	if a.registry == nil {
		// Its goroutines end with close, not with ctx.
		reg, err := zookeeper.NewRegistry(ctx, a.zk)
		if err != nil {
			a.tell("primary", err)
			return
		}
		a.registry = reg
	}
	if status.InRecovery {
		yielded, err := a.registry.YieldPrimary(ctx, a.addr.Name)
		if yielded {
			a.log.Info("the server is no primary any more: PATH/primary names nobody", "node", a.addr.Name)
		}
		a.note("primary", err)
		return
	}
	if status.Timeline == 0 || status.SystemID == 0 {
		a.tell("primary", errors.New("the server does not say which timeline and cluster are its own"))
		return
	}
	written, err := a.registry.ClaimPrimary(ctx, zookeeper.Claim{Name: a.addr.Name, SystemID: status.SystemID, Timeline: status.Timeline})
	if written {
		a.log.Info("PATH/primary names this node", "node", a.addr.Name, "timeline", status.Timeline)
	}
	a.note("primary", err)
}

// note tells of an error, and forgets the last one if there is none now.
func (a *agent) note(subject string, err error) {
	if err == nil {
		delete(a.told, subject)
		return
	}
	a.tell(subject, err)
}

// tell logs what is wrong, once for as long as it is the same.
func (a *agent) tell(subject string, err error) {
	text := oneLine(err.Error())
	if a.told[subject] != text {
		a.told[subject] = text
		a.log.Warn(text, "node", a.addr.Name)
	}
}

// close closes what asks and writes.
func (a *agent) close() {
	if a.probe != nil {
		_ = a.probe.Close()
	}
	if a.monitor != nil {
		_ = a.monitor.Close()
	}
	if a.registry != nil {
		_ = a.registry.Close()
	}
}
