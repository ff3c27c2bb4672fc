package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-zookeeper/zk"
)

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
