package lab

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/pgroute/pgroute/internal/cluster"
)

// A Lab is everything that runs. Its fields do not change once Start has
// returned, and the slices are not to be changed. What its processes do under
// faults is the caller's business: kill and start them as you like.
type Lab struct {
	Cluster   *cluster.Cluster
	ZooKeeper *cluster.ZooKeeper
	Sidecars  []*Sidecar
	Instances []*Instance
	Balancer  *Process

	folder  *folder
	starter *starter
	ports   ports
	opts    Options
	http    *http.Client

	page             string // the balancer's address
	pgroute, booking string // the programs

	closeOnce sync.Once
	closeErr  error
}

// A Sidecar is a pgroute proxy.
type Sidecar struct {
	*Process
	// Admin is the address of its HTTP server for operators, HOST:PORT.
	Admin string
}

// An Instance is one booking serve.
type Instance struct {
	*Process
	// Over is the sidecar that it uses, nil for the library.
	Over *Sidecar
}

// Via is sidecar or library, as the instance is told.
func (i *Instance) Via() string {
	if i.Over != nil {
		return "sidecar"
	}
	return "library"
}

// Start starts everything and returns when every instance and the balancer
// serve, and know each other and all nodes. ctx bounds the start, not the life
// of the lab: the caller must Close it.
func Start(ctx context.Context, opts Options) (*Lab, error) {
	if err := opts.validate(); err != nil {
		return nil, err
	}
	f, err := newFolder()
	if err != nil {
		return nil, fmt.Errorf("start a lab: %w", err)
	}
	l := &Lab{folder: f, starter: newStarter(), opts: opts,
		http: &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 2}}}
	if err := l.start(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("start a lab: %w", err), l.Close())
	}
	return l, nil
}

func (l *Lab) start(ctx context.Context) (err error) {
	if l.page, err = l.ports.page(&l.opts); err != nil {
		return err
	}
	if err := l.startServers(ctx); err != nil {
		return err
	}
	if err := l.plan(); err != nil {
		return err
	}
	if err := l.prepare(ctx); err != nil {
		return err
	}
	var first, second []*Process
	for _, s := range l.Sidecars {
		first = append(first, s.Process)
	}
	for _, i := range l.Instances {
		second = append(second, i.Process)
	}
	second = append(second, l.Balancer)
	if err := each(first, func(p *Process) error { return p.Start(ctx) }); err != nil {
		return err
	}
	l.opts.Progress(fmt.Sprintf("%d sidecars serve", len(l.Sidecars)))
	if err := each(second, func(p *Process) error { return p.Start(ctx) }); err != nil {
		return err
	}
	l.opts.Progress(fmt.Sprintf("%d instances serve", len(l.Instances)))
	return l.WaitReady(ctx)
}

// startServers starts PostgreSQL and ZooKeeper, and finds or builds the
// programs meanwhile.
func (l *Lab) startServers(ctx context.Context) error {
	steps := []func() error{
		func() (err error) {
			l.Cluster, err = cluster.New(ctx, cluster.Options{Settings: map[string]string{"max_connections": "300"}})
			if err == nil {
				l.opts.Progress("the cluster serves: a primary and two replicas")
			}
			return err
		},
		func() (err error) {
			l.ZooKeeper, err = cluster.NewZooKeeper(ctx, cluster.ZooKeeperOptions{})
			if err == nil {
				l.opts.Progress("ZooKeeper serves")
			}
			return err
		},
		func() (err error) {
			l.pgroute, l.booking, err = programs(ctx, &l.opts, l.folder.dir)
			return err
		},
	}
	return each(steps, func(step func() error) error { return step() })
}

// process describes a program that prints word when it is ready.
func (l *Lab) process(name, addr, path, word string, args ...string) *Process {
	return &Process{Name: name, Addr: addr, path: path, args: args, word: word, starter: l.starter,
		logFile: filepath.Join(l.folder.dir, name+".log")}
}

// URL is the address of the page, through the balancer.
func (l *Lab) URL() string { return l.Balancer.URL() }

// DSN is the application's connection string through a sidecar.
func (l *Lab) DSN(s *Sidecar) string { return appDSN(s.Addr) }

// Processes are the sidecars, the instances and the balancer. The slice is the
// caller's.
func (l *Lab) Processes() []*Process {
	var list []*Process
	for _, s := range l.Sidecars {
		list = append(list, s.Process)
	}
	for _, i := range l.Instances {
		list = append(list, i.Process)
	}
	if l.Balancer != nil {
		list = append(list, l.Balancer)
	}
	return list
}

// Close ends everything, those first who use the others, and removes all files.
// It may be called more than once.
func (l *Lab) Close() error {
	l.closeOnce.Do(func() { l.closeErr = l.close() })
	return l.closeErr
}

func (l *Lab) close() error {
	var err error
	all := l.Processes()
	slices.Reverse(all) // the balancer, the instances, the sidecars
	sidecars := all[len(all)-len(l.Sidecars):]
	users := all[:len(all)-len(l.Sidecars)]
	for _, group := range [][]*Process{users, sidecars} {
		err = errors.Join(err, each(group, (*Process).Stop))
	}
	l.starter.close()
	l.http.CloseIdleConnections()
	if l.Cluster != nil {
		err = errors.Join(err, l.Cluster.Close())
	}
	if l.ZooKeeper != nil {
		err = errors.Join(err, l.ZooKeeper.Close())
	}
	return errors.Join(err, l.folder.close())
}

// each does something with all of list at once and waits for all of it.
func each[T any](list []T, do func(T) error) error {
	errs := make([]error, len(list))
	var all sync.WaitGroup
	for i, item := range list {
		all.Go(func() { errs[i] = do(item) })
	}
	all.Wait()
	return errors.Join(errs...)
}
