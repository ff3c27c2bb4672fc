package zookeeper

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/go-zookeeper/zk"
)

// Registry writes the layout that Source reads. Its methods may be called from
// several goroutines.
type Registry struct {
	client *client
	path   string
	acl    []zk.ACL
}

// NewRegistry starts a ZooKeeper client for writing. Without Config.Auth it does
// not wait for the connection; the first call does. With it, it waits until
// ZooKeeper has heard who this is, or ctx is done, and what it creates belongs to
// that user: nobody else may read or change it. The caller must Close it.
func NewRegistry(ctx context.Context, cfg Config) (*Registry, error) {
	place, err := cfg.validate()
	if err != nil {
		return nil, err
	}
	c, err := connect(ctx, place.servers, &cfg, func(zk.Event) {})
	if err != nil {
		return nil, err
	}
	r := &Registry{client: c, path: place.path, acl: zk.WorldACL(zk.PermAll)}
	if cfg.Auth != "" {
		r.acl = zk.AuthACL(zk.PermAll)
		err := r.do(ctx, "authenticate", func() error { return c.AddAuth("digest", []byte(cfg.Auth)) })
		if err != nil {
			c.close()
			return nil, err
		}
	}
	return r, nil
}

// Close ends the session, and with it every ephemeral node that it put.
func (r *Registry) Close() error {
	r.client.close()
	return nil
}

// Put writes a node's znode and creates it, and its parents, if they are
// missing. An ephemeral one goes when this Registry is closed or its session
// expires, and is not put again by itself. A znode that exists keeps its kind.
func (r *Registry) Put(ctx context.Context, name string, node Node, ephemeral bool) error {
	if err := errors.Join(checkName(name), node.validate()); err != nil {
		return fmt.Errorf("put node %q: %w", name, err)
	}
	data, err := json.Marshal(node)
	if err != nil {
		return fmt.Errorf("put node %q: %w", name, err)
	}
	var flags int32
	if ephemeral {
		flags = zk.FlagEphemeral
	}
	return r.do(ctx, "put node "+name, func() error { return r.write(r.path+"/nodes/"+name, data, flags) })
}

// Delete removes a node's znode. That there is none is no error.
func (r *Registry) Delete(ctx context.Context, name string) error {
	if err := checkName(name); err != nil {
		return fmt.Errorf("delete node %q: %w", name, err)
	}
	return r.do(ctx, "delete node "+name, func() error { return r.remove(r.path + "/nodes/" + name) })
}

// SetPrimary names the node that may take writes; "" removes the name, so that
// writes wait.
func (r *Registry) SetPrimary(ctx context.Context, name string) error {
	return r.do(ctx, "set primary "+cmp.Or(name, "to nobody"), func() error {
		if name == "" {
			return r.remove(r.path + "/primary")
		}
		return r.write(r.path+"/primary", []byte(name), 0)
	})
}

// write sets path, creating it and its parents if they are missing.
func (r *Registry) write(path string, data []byte, flags int32) error {
	for {
		_, err := r.client.Set(path, data, -1)
		if !errors.Is(err, zk.ErrNoNode) {
			return err
		}
		if err := r.parents(path); err != nil {
			return err
		}
		_, err = r.client.Create(path, data, flags, r.acl)
		if !errors.Is(err, zk.ErrNodeExists) {
			return err
		}
		// Somebody else created it just now.
	}
}

func (r *Registry) parents(path string) error {
	for i := 1; i < len(path); i++ {
		j := strings.IndexByte(path[i:], '/')
		if j < 0 {
			return nil
		}
		i += j
		// Asking first: who may not create beside a parent may still use it.
		if exists, _, err := r.client.Exists(path[:i]); err == nil && exists {
			continue
		}
		if _, err := r.client.Create(path[:i], nil, 0, r.acl); err != nil && !errors.Is(err, zk.ErrNodeExists) {
			return fmt.Errorf("create %s: %w", path[:i], err)
		}
	}
	return nil
}

func (r *Registry) remove(path string) error {
	if err := r.client.Delete(path, -1); !errors.Is(err, zk.ErrNoNode) {
		return err
	}
	return nil
}

// do runs a request, which knows no context, and leaves it behind when ctx
// ends first: then it may still be carried out.
func (r *Registry) do(ctx context.Context, what string, request func() error) error {
	done := make(chan error, 1)
	// Ends with its answer, at the latest when Close has ended the client.
	go func() { done <- request() }()
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("%s in ZooKeeper: %w", what, err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s in ZooKeeper: %w", what, context.Cause(ctx))
	}
}
