package zookeeper

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"
)

// Proxy is what a running proxy says about itself in PATH/proxies/ID.
type Proxy struct {
	// Host is the machine's name, Listen where clients are served.
	Host   string   `json:"host"`
	Listen []string `json:"listen"`
	// Admin is where its status is served over HTTP, "" if it is not.
	Admin string `json:"admin,omitempty"`
	// Version is pgroute's, PID its process id.
	Version string `json:"version"`
	PID     int    `json:"pid"`
	// PeerID is its number in cancel keys, Started when it began to serve.
	PeerID  int       `json:"peer_id"`
	Started time.Time `json:"started,omitzero"`
}

// Registrar keeps ephemeral znodes of pgroute's own layout: those of the nodes
// that it registers, and of proxies. They are made again when the session with
// ZooKeeper was lost, and go when they are removed, when Run ends, and a
// session timeout after the process has died.
//
// A znode of that name which another session holds is left alone, and waited
// for, unless its text is the same: then it is of this registrar's former
// life, and is taken over in one step that no reader notices. A permanent one
// is never touched. Both are told once in the log.
//
// Its methods may be called from several goroutines, before and while Run
// runs.
type Registrar struct {
	cfg   Config
	place place
	wake  chan struct{}

	mu      sync.Mutex // guards the fields below
	wanted  map[string][]byte
	held    map[string][]byte // as written by the present session
	blocked map[string]string // why it is not held, as logged
	changed chan struct{}     // closed when held changes
}

// NewRegistrar returns a Registrar that does nothing until Run is called. With
// Config.Auth what it makes belongs to that user alone.
func NewRegistrar(cfg Config) (*Registrar, error) {
	place, err := cfg.validate()
	if err != nil {
		return nil, err
	}
	return &Registrar{cfg: cfg, place: place, wake: make(chan struct{}, 1), wanted: make(map[string][]byte),
		held: make(map[string][]byte), blocked: make(map[string]string), changed: make(chan struct{})}, nil
}

// Node registers a node under its name, or changes what it says.
func (r *Registrar) Node(name string, node Node) error {
	if err := errors.Join(checkName(name), node.validate()); err != nil {
		return fmt.Errorf("register node %q: %w", name, err)
	}
	return r.want("nodes/"+name, node)
}

// Proxy registers a proxy until Run ends, under an id that no other one has, such as its
// host's name, port and process id.
func (r *Registrar) Proxy(id string, proxy Proxy) error {
	if err := checkName(id); err != nil {
		return fmt.Errorf("register proxy %q: %w", id, err)
	}
	return r.want("proxies/"+id, proxy)
}

// RemoveNode takes a node back.
func (r *Registrar) RemoveNode(name string) { r.drop("nodes/" + name) }

func (r *Registrar) want(key string, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("register %s: %w", key, err)
	}
	r.mu.Lock()
	r.wanted[key] = data
	r.mu.Unlock()
	r.poke()
	return nil
}

func (r *Registrar) drop(key string) {
	r.mu.Lock()
	delete(r.wanted, key)
	r.mu.Unlock()
	r.poke()
}

func (r *Registrar) poke() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Wait returns nil once everything is registered as it was asked for, or an
// error that says what is not when ctx is done.
func (r *Registrar) Wait(ctx context.Context) error {
	for {
		r.mu.Lock()
		var missing []string
		for _, key := range slices.Sorted(maps.Keys(r.wanted)) {
			if held, ok := r.held[key]; !ok || !bytes.Equal(held, r.wanted[key]) {
				missing = append(missing, key)
			}
		}
		extra := len(r.held) + len(missing) - len(r.wanted)
		changed := r.changed
		r.mu.Unlock()
		if len(missing) == 0 && extra <= 0 {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("register %v in ZooKeeper: %w", missing, context.Cause(ctx))
		}
	}
}

// Run keeps everything registered until ctx is done, then takes it back and
// returns nil. It may be called again. An error is only for what cannot heal.
func (r *Registrar) Run(ctx context.Context) error {
	events := newWatches(func(string) haste { return soon })
	c, err := connect(ctx, r.place.servers, &r.cfg, events.onEvent)
	if err != nil {
		return fmt.Errorf("register in ZooKeeper: %w", err)
	}
	defer r.forget()
	defer c.close() // ends the session, and with it what is ephemeral
	defer context.AfterFunc(ctx, c.close)()
	k := &keeper{r: r, c: c, events: events, acl: zk.WorldACL(zk.PermAll), auth: r.cfg.Auth}
	if r.cfg.Auth != "" {
		k.acl = zk.AuthACL(zk.PermAll)
	}
	k.run(ctx)
	return nil
}

// forget notes that nothing is held any more.
func (r *Registrar) forget() { r.note(func() { clear(r.held); clear(r.blocked) }) }

// note changes what is held.
func (r *Registrar) note(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
	close(r.changed)
	r.changed = make(chan struct{})
}

// keeper is one Run.
type keeper struct {
	r       *Registrar
	c       *client
	events  *watches
	acl     []zk.ACL
	auth    string // "" once ZooKeeper has it
	session int64
	failure string // as logged
}

// recheck is after what time everything is looked at although nothing
// happened: somebody may have deleted a znode of ours.
func (k *keeper) recheck() time.Duration { return max(k.r.cfg.SessionTimeout/3, firstRetry) }

func (k *keeper) run(ctx context.Context) {
	pause := firstRetry
	next := time.NewTimer(0)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.events.dirty:
		case <-k.r.wake:
		case <-next.C:
		}
		if !k.events.connected() {
			next.Reset(k.recheck())
			continue // The next session wakes us.
		}
		switch err := k.keep(); {
		case ctx.Err() != nil:
			return
		case err != nil:
			if text := err.Error(); !isLoss(err) && k.failure != text {
				k.failure = text
				k.r.cfg.Logger.Warn("ZooKeeper refuses to register us", slog.String("path", k.r.place.path), slog.Any("error", err))
				k.r.cfg.Trace.Refused(err)
			}
			next.Reset(pause)
			pause = min(2*pause, k.recheck())
		default:
			k.failure = ""
			pause = firstRetry
			next.Reset(k.recheck())
		}
	}
}

// keep brings ZooKeeper in line with what is wanted. Errors of one znode do
// not keep the others.
func (k *keeper) keep() error {
	if k.auth != "" {
		if err := k.c.AddAuth("digest", []byte(k.auth)); err != nil {
			return fmt.Errorf("authenticate: %w", err)
		}
		k.auth = ""
	}
	if id := k.c.SessionID(); id != k.session {
		k.session = id
		k.r.forget() // what was held went with the old session
	}
	k.r.mu.Lock()
	wanted, held := maps.Clone(k.r.wanted), maps.Clone(k.r.held)
	k.r.mu.Unlock()
	var errs error
	for key, data := range wanted {
		held, err := k.hold(k.r.place.path+"/"+key, key, data)
		errs = errors.Join(errs, err)
		if err == nil {
			k.r.note(func() {
				if delete(k.r.held, key); held {
					k.r.held[key] = data
				}
			})
		}
	}
	for key := range held {
		if _, ok := wanted[key]; ok {
			continue
		}
		err := k.c.Delete(k.r.place.path+"/"+key, -1)
		if err != nil && !errors.Is(err, zk.ErrNoNode) {
			errs = errors.Join(errs, fmt.Errorf("delete %s: %w", key, err))
			continue
		}
		k.r.note(func() { delete(k.r.held, key) })
	}
	return errs
}

// hold makes one znode say data and belong to our session. It reports false if
// somebody else has it.
func (k *keeper) hold(path, key string, data []byte) (bool, error) {
	present, stat, err := k.c.Get(path)
	switch {
	case errors.Is(err, zk.ErrNoNode):
		reg := Registry{client: k.c, path: k.r.place.path, acl: k.acl}
		if err := reg.parents(path); err != nil {
			return false, err
		}
		_, err = k.c.Create(path, data, zk.FlagEphemeral, k.acl)
		if errors.Is(err, zk.ErrNodeExists) {
			k.r.poke() // Somebody made it just now.
			return false, nil
		}
	case err != nil:
	case stat.EphemeralOwner == k.session && bytes.Equal(present, data):
	case stat.EphemeralOwner == k.session:
		_, err = k.c.Set(path, data, stat.Version)
	case stat.EphemeralOwner == 0:
		return false, k.block(key, "it is a permanent znode")
	case bytes.Equal(present, data):
		_, err = k.c.Multi(&zk.DeleteRequest{Path: path, Version: stat.Version},
			&zk.CreateRequest{Path: path, Data: data, Acl: k.acl, Flags: zk.FlagEphemeral})
	default:
		return false, k.block(key, "another session has it and says something else")
	}
	if err != nil {
		return false, fmt.Errorf("register %s: %w", key, err)
	}
	k.r.mu.Lock()
	delete(k.r.blocked, key)
	k.r.mu.Unlock()
	return true, nil
}

// block tells once why a znode is not ours.
func (k *keeper) block(key, why string) error {
	k.r.mu.Lock()
	told := k.r.blocked[key] == why
	k.r.blocked[key] = why
	k.r.mu.Unlock()
	if !told {
		k.r.cfg.Logger.Warn("not registered in ZooKeeper", slog.String("path", k.r.place.path+"/"+key), slog.String("reason", why))
	}
	return nil
}
