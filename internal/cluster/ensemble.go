package cluster

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"strconv"
	"strings"
)

// An Ensemble is several ZooKeeper servers that elect a leader among
// themselves and go on while most of them are there.
type Ensemble struct {
	members []*ZooKeeper
}

// NewEnsemble starts n servers and returns when all of them serve. ctx bounds
// the start; the caller must Close it.
func NewEnsemble(ctx context.Context, n int, opts ZooKeeperOptions) (*Ensemble, error) {
	java, err := exec.LookPath("java")
	if err != nil || !ZooKeeperInstalled() {
		return nil, errors.New("start an ensemble: ZooKeeper is not installed (Debian: apt-get install zookeeper)")
	}
	for attempt := 1; ; attempt++ {
		e, err := newEnsemble(ctx, n, opts, java)
		if err == nil {
			return e, nil
		}
		err = errors.Join(fmt.Errorf("start an ensemble: %w", err), e.Close())
		if attempt == 3 || !errors.Is(err, errPortTaken) {
			return nil, err
		}
	}
}

// newEnsemble is one attempt. What it returns must be closed, also after an error.
func newEnsemble(ctx context.Context, n int, opts ZooKeeperOptions, java string) (*Ensemble, error) {
	e := &Ensemble{}
	ports, err := freePorts(3 * n)
	if err != nil {
		return e, err
	}
	settings := maps.Clone(opts.Settings)
	if settings == nil {
		settings = map[string]string{}
	}
	for i := range n {
		settings["server."+strconv.Itoa(i+1)] = fmt.Sprintf("127.0.0.1:%d:%d", ports[n+i], ports[2*n+i])
	}
	opts.Settings = settings
	for i := range n {
		box, err := newSandbox("zk", false, "KILL")
		if err != nil {
			return e, err
		}
		z := &ZooKeeper{opts: opts, box: box, java: java, port: ports[i]}
		e.members = append(e.members, z)
		if err := z.furnish(); err != nil {
			return e, err
		}
		for name, text := range map[string]string{"zoo.cfg": z.config(), "data/myid": strconv.Itoa(i + 1)} {
			if err := box.writeFile(box.path(name), text); err != nil {
				return e, err
			}
		}
	}
	return e, e.Start(ctx)
}

// Start starts all servers that do not run, and returns when all serve. One
// alone could not: it waits for the others.
func (e *Ensemble) Start(ctx context.Context) error {
	stopped := slices.DeleteFunc(e.Members(), (*ZooKeeper).Running)
	errs := make(chan error, len(stopped))
	for _, z := range stopped {
		go func() { errs <- z.Start(ctx) }() // ends with ctx; waited for below
	}
	var all error
	for range stopped {
		all = errors.Join(all, <-errs)
	}
	return all
}

// Members are the servers.
func (e *Ensemble) Members() []*ZooKeeper { return slices.Clone(e.members) }

// Hosts is ZooKeeper's connection string for all of them.
func (e *Ensemble) Hosts() string {
	hosts := make([]string, len(e.members))
	for i, z := range e.members {
		hosts[i] = z.Addr()
	}
	return strings.Join(hosts, ",")
}

// Leader waits until one of the servers says that it leads.
func (e *Ensemble) Leader(ctx context.Context) (leader *ZooKeeper, err error) {
	err = poll(ctx, "find the leader of the ensemble", func() (bool, error) {
		for _, z := range e.members {
			if answer, err := z.Ask("srvr"); err == nil && strings.Contains(answer, "Mode: leader") {
				leader = z
			}
		}
		return leader != nil, nil
	})
	return leader, err
}

// Close ends all servers and removes their files. It may be called more than once.
func (e *Ensemble) Close() error {
	var err error
	for _, z := range e.members {
		err = errors.Join(err, z.Close())
	}
	return err
}

// StartEnsemble is StartZooKeeper for several servers.
func StartEnsemble(t TB, n int, opts ZooKeeperOptions) *Ensemble {
	t.Helper()
	e, err := NewEnsemble(t.Context(), n, opts)
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, z := range e.members {
				t.Logf("log of ZooKeeper (%s):\n%s", z.Addr(), z.LogTail(shownLog))
			}
		}
		if err := e.Close(); err != nil {
			t.Errorf("close the ensemble: %v", err)
		}
	})
	return e
}
