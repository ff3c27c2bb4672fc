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

// quiet sends the ZooKeeper client's chatter to the debug log.
type quiet struct{ log *slog.Logger }

// Printf implements zk.Logger.
func (q quiet) Printf(format string, args ...any) {
	q.log.Debug("zookeeper: " + fmt.Sprintf(format, args...))
}
