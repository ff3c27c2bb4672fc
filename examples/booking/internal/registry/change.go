package registry

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-zookeeper/zk"
)

// ErrLost says that ZooKeeper is away.
var ErrLost = errors.New("ZooKeeper cannot be reached now")

// ErrInvalid wraps what is wrong with a change.
var ErrInvalid = errors.New("invalid configuration")

// Change changes the central configuration for all instances, which follow at
// once. It returns what is in force then.
func (r *Registry) Change(ctx context.Context, c Change) (Settings, error) {
	conn := r.conn.Load()
	if conn == nil || conn.State() != zk.StateHasSession {
		return Settings{}, ErrLost
	}
	type answer struct {
		settings Settings
		err      error
	}
	done := make(chan answer, 1)
	// Requests know no context. This ends with its answer, at the latest when
	// Run closes the connection.
	go func() {
		s, err := r.change(conn, c)
		done <- answer{s, err}
	}()
	select {
	case a := <-done:
		return a.settings, a.err
	case <-ctx.Done():
		return Settings{}, fmt.Errorf("%w: %w", ErrLost, context.Cause(ctx))
	}
}

func (r *Registry) change(conn *zk.Conn, c Change) (Settings, error) {
	path := r.path + "/config"
	for {
		data, stat, err := conn.Get(path)
		missing := errors.Is(err, zk.ErrNoNode)
		if err != nil && !missing {
			return Settings{}, fmt.Errorf("%w: %w", ErrLost, err)
		}
		old, err := ParseSettings(data)
		if err != nil {
			old = r.View().Settings // the last good one, as everywhere
		}
		settings, err := c.Apply(old)
		if err != nil {
			return Settings{}, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		if missing {
			if err = parents(conn, path); err == nil {
				_, err = conn.Create(path, settings.YAML(), 0, zk.WorldACL(zk.PermAll))
			}
		} else {
			_, err = conn.Set(path, settings.YAML(), stat.Version)
		}
		switch {
		case err == nil:
			return settings, nil
		case errors.Is(err, zk.ErrBadVersion), errors.Is(err, zk.ErrNodeExists), errors.Is(err, zk.ErrNoNode):
			continue // Somebody else changed it just now.
		}
		return Settings{}, fmt.Errorf("%w: %w", ErrLost, err)
	}
}
