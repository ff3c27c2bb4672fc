// Package registry keeps, in ZooKeeper, which instances of the service there
// are and how they are configured.
//
//	PATH/instances/NAME   JSON, ephemeral: it goes when the instance does
//	PATH/config           YAML, the central configuration
//
// A Registry goes on with what it last knew while ZooKeeper is away, for as
// long as it takes; an expired session is followed by a new one, and the
// instance registers itself again.
package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-zookeeper/zk"
)

// Instance is one running process of the service.
type Instance struct {
	Name string `json:"name"`
	// Addr is where it serves HTTP, HOST:PORT.
	Addr string `json:"addr"`
	// Mode is how it reaches the database: sidecar or library.
	Mode    string    `json:"mode"`
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`
}

// View is what is known at one time. It is shared and does not change.
type View struct {
	// Connected is false while ZooKeeper is away. The rest is then as it was.
	Connected bool
	// Registered is true while the instance is in the registry, as far as is
	// known.
	Registered bool
	// Instances are sorted by name.
	Instances []Instance
	Settings  Settings

	changed chan struct{} // closed when there is a newer view
}

// SessionTimeout is how long ZooKeeper keeps an instance that is silent.
const SessionTimeout = 5 * time.Second

// Registry follows ZooKeeper. New makes one, Run does the work.
type Registry struct {
	servers []string
	path    string
	self    *Instance
	log     *slog.Logger

	view    atomic.Pointer[View]
	conn    atomic.Pointer[zk.Conn]
	session chan struct{} // one token: the state of the session has changed

	// What Run's goroutine alone uses: the watches that have not fired, and
	// what was logged already.
	instances, config <-chan zk.Event
	complaint         string
}

// New returns a registry of the service at path. self is put into it; nil means
// that the caller only looks.
func New(servers, path string, self *Instance, log *slog.Logger) (*Registry, error) {
	r := &Registry{servers: strings.Split(servers, ","), path: path, self: self, log: log, session: make(chan struct{}, 1)}
	switch {
	case servers == "" || slices.Contains(r.servers, ""):
		return nil, errors.New("no ZooKeeper servers")
	case !strings.HasPrefix(path, "/") || strings.HasSuffix(path, "/") || strings.Contains(path, "//"):
		return nil, fmt.Errorf("%q is not the path of a znode", path)
	case self != nil && (self.Name == "" || self.Name == "." || self.Name == ".." || strings.ContainsAny(self.Name, "/\x00 =")):
		return nil, fmt.Errorf("%q cannot be the name of an instance", self.Name)
	}
	r.view.Store(&View{Settings: DefaultSettings, changed: make(chan struct{})})
	return r, nil
}

// View returns what is known now.
func (r *Registry) View() *View { return r.view.Load() }

// Wait returns once ok accepts the view, or ctx is done.
func (r *Registry) Wait(ctx context.Context, ok func(*View) bool) error {
	for {
		v := r.View()
		if ok(v) {
			return nil
		}
		select {
		case <-v.changed:
		case <-ctx.Done():
			return fmt.Errorf("wait for the registry: %w", context.Cause(ctx))
		}
	}
}

// Run follows ZooKeeper until ctx is done, and then takes the instance out of
// the registry. It may be called once.
func (r *Registry) Run(ctx context.Context) error {
	conn, _, err := zk.Connect(r.servers, SessionTimeout, zk.WithEventCallback(r.onEvent),
		zk.WithLogger(quiet{r.log}), zk.WithLogInfo(false))
	if err != nil {
		return fmt.Errorf("start the ZooKeeper client: %w", err)
	}
	r.conn.Store(conn)
	// Requests know no context: closing the connection ends those that wait,
	// and with the session the instance's znode goes at once.
	closed := make(chan struct{})
	context.AfterFunc(ctx, func() {
		conn.Close()
		close(closed)
	})
	for ctx.Err() == nil {
		r.follow(ctx, conn)
	}
	<-closed
	return nil
}

// onEvent is called by the ZooKeeper client and must not block.
func (r *Registry) onEvent(ev zk.Event) {
	if ev.Type != zk.EventSession {
		return
	}
	select {
	case r.session <- struct{}{}:
	default:
	}
}

// follow reads what is not watched, and waits for something to happen. After
// an expired session every watch fires, so that everything is read again.
func (r *Registry) follow(ctx context.Context, conn *zk.Conn) {
	v := *r.View()
	v.Connected = conn.State() == zk.StateHasSession
	if v.Connected {
		if err := r.read(conn, &v); err != nil && ctx.Err() == nil {
			r.complain("ZooKeeper does not answer as it should", err)
			v.Connected = conn.State() == zk.StateHasSession
		}
	}
	r.publish(&v)

	var again <-chan time.Time
	if r.instances == nil || r.config == nil {
		again = time.After(time.Second)
	}
	select {
	case <-r.instances:
		r.instances = nil
	case <-r.config:
		r.config = nil
	case <-r.session:
	case <-again:
	case <-ctx.Done():
	}
}

// publish makes v what is known, if it differs.
func (r *Registry) publish(v *View) {
	old := r.View()
	if old.Connected == v.Connected && old.Registered == v.Registered && old.Settings == v.Settings && slices.Equal(old.Instances, v.Instances) {
		return
	}
	v.changed = make(chan struct{})
	r.view.Store(v)
	close(old.changed)
	switch {
	case v.Connected && !old.Connected:
		r.log.Info("connected to ZooKeeper")
	case old.Connected && !v.Connected:
		r.log.Warn("lost ZooKeeper: going on with what is known", "instances", len(v.Instances), "consistency", v.Settings.Consistency)
	}
	if v.Settings != old.Settings {
		r.log.Info("new central configuration", "consistency", v.Settings.Consistency, "wait", v.Settings.Wait, "on_timeout", v.Settings.OnTimeout)
	}
}

// complain logs the same thing once.
func (r *Registry) complain(what string, err error) {
	if text := what + err.Error(); text != r.complaint {
		r.complaint = text
		r.log.Warn(what, "error", err)
	}
}

// read brings v up to date.
func (r *Registry) read(conn *zk.Conn, v *View) error {
	if r.config == nil {
		if err := r.readConfig(conn, v); err != nil {
			return err
		}
	}
	if r.instances != nil {
		return nil
	}
	folder := r.path + "/instances"
	if err := parents(conn, folder+"/x"); err != nil {
		return err
	}
	// The watch comes first: whatever changes while we read makes us read again.
	names, _, watch, err := conn.ChildrenW(folder)
	if err != nil {
		return fmt.Errorf("list the instances: %w", err)
	}
	r.instances = watch
	if err := r.register(conn, v, names); err != nil {
		r.instances = nil
		return err
	}
	all := make([]Instance, 0, len(names))
	for _, name := range names {
		data, _, err := conn.Get(folder + "/" + name)
		if errors.Is(err, zk.ErrNoNode) {
			continue // It went while we read; the watch tells.
		}
		if err != nil {
			r.instances = nil
			return fmt.Errorf("read instance %s: %w", name, err)
		}
		var i Instance
		if err := json.Unmarshal(data, &i); err != nil || i.Name != name || i.Addr == "" {
			r.complain("a malformed instance is left out", fmt.Errorf("%s: %q", name, data))
			continue
		}
		all = append(all, i)
	}
	slices.SortFunc(all, func(a, b Instance) int { return strings.Compare(a.Name, b.Name) })
	v.Instances = all
	return nil
}

// register puts the instance into the registry if it is not there. A name that
// another session holds is waited for: the watch on the list tells when it is
// free.
func (r *Registry) register(conn *zk.Conn, v *View, names []string) error {
	if r.self == nil {
		return nil
	}
	path := r.path + "/instances/" + r.self.Name
	v.Registered = false
	if slices.Contains(names, r.self.Name) {
		_, stat, err := conn.Exists(path)
		switch {
		case err != nil:
			return fmt.Errorf("register: %w", err)
		case stat.EphemeralOwner == conn.SessionID():
			v.Registered = true
		default:
			r.complain("the name of this instance is in use: waiting for the other session to end", errors.New(path))
		}
		return nil
	}
	data, err := json.Marshal(r.self)
	if err != nil {
		return fmt.Errorf("register: %w", err)
	}
	_, err = conn.Create(path, data, zk.FlagEphemeral, zk.WorldACL(zk.PermAll))
	if errors.Is(err, zk.ErrNodeExists) {
		return nil // It appeared while we read; the watch tells.
	}
	if err != nil {
		return fmt.Errorf("register: %w", err)
	}
	r.log.Info("registered", "name", r.self.Name, "addr", r.self.Addr)
	v.Registered, r.complaint = true, ""
	return nil
}

// readConfig reads the central configuration. One that makes no sense changes
// nothing.
func (r *Registry) readConfig(conn *zk.Conn, v *View) error {
	path := r.path + "/config"
	data, _, watch, err := conn.GetW(path)
	if errors.Is(err, zk.ErrNoNode) {
		var exists bool
		exists, _, watch, err = conn.ExistsW(path)
		if err == nil && exists {
			return r.readConfig(conn, v)
		}
		if err == nil {
			v.Settings, r.config = DefaultSettings, watch
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("read the central configuration: %w", err)
	}
	r.config = watch
	settings, err := ParseSettings(data)
	if err != nil {
		r.log.Error("the central configuration is refused, the last good one stays", "path", path, "error", err)
		return nil
	}
	v.Settings = settings
	return nil
}

// parents creates what is missing above path.
func parents(conn *zk.Conn, path string) error {
	for i := 1; i < len(path); i++ {
		if path[i] != '/' {
			continue
		}
		if exists, _, err := conn.Exists(path[:i]); err != nil {
			return fmt.Errorf("look for %s: %w", path[:i], err)
		} else if exists {
			continue
		}
		if _, err := conn.Create(path[:i], nil, 0, zk.WorldACL(zk.PermAll)); err != nil && !errors.Is(err, zk.ErrNodeExists) {
			return fmt.Errorf("create %s: %w", path[:i], err)
		}
	}
	return nil
}

// quiet sends the ZooKeeper client's chatter to the debug log.
type quiet struct{ log *slog.Logger }

// Printf implements zk.Logger.
func (q quiet) Printf(format string, args ...any) {
	q.log.Debug("zookeeper: " + fmt.Sprintf(format, args...))
}
