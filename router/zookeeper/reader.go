package zookeeper

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/go-zookeeper/zk"

	"github.com/pgroute/pgroute/router"
)

// reader reads the layout and leaves a watch on everything that it read or
// missed.
type reader struct {
	conn    *zk.Conn
	watches *watches
	path    string
	cfg     *Config
	known   map[string]*knownNode
}

// knownNode is what is remembered of a node between two reads.
type knownNode struct {
	data []byte // as last read
	good bool   // node holds the last state that made sense
	node Node
}

func newReader(conn *zk.Conn, w *watches, path string, cfg *Config) *reader {
	return &reader{conn: conn, watches: w, path: path, cfg: cfg, known: make(map[string]*knownNode)}
}

// sync makes the server that we are connected to catch up with ZooKeeper's
// leader, which proves that both are there.
func (r *reader) sync() error {
	if _, err := r.conn.Sync(cmp.Or(r.path, "/")); err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	return nil
}

// read returns the nodes in the order of their names, and the primary's name.
func (r *reader) read() (nodes []router.Candidate, primary string, err error) {
	names, err := r.children(r.path + "/nodes")
	if err != nil {
		return nil, "", err
	}
	slices.Sort(names)
	present := make(map[string]bool, len(names))
	for _, name := range names {
		data, ok, err := r.get(r.path+"/nodes/"+name, false)
		if err != nil {
			return nil, "", err
		}
		if !ok {
			continue // It went while we read; the children's watch tells.
		}
		present[name] = true
		if n, ok := r.learn(name, data); ok {
			nodes = append(nodes, n.candidate(name))
		}
	}
	for name := range r.known {
		if !present[name] {
			delete(r.known, name)
		}
	}
	data, _, err := r.get(r.path+"/primary", true)
	if err != nil {
		return nil, "", err
	}
	return nodes, strings.TrimSpace(string(data)), nil
}

// learn takes in the data of a node and returns its last good state, if there
// ever was one since the node appeared.
func (r *reader) learn(name string, data []byte) (*Node, bool) {
	k := r.known[name]
	if k == nil {
		k = &knownNode{}
		r.known[name] = k
	} else if bytes.Equal(k.data, data) {
		return &k.node, k.good
	}
	k.data = data
	n, err := ParseNode(data)
	if err != nil {
		r.cfg.Logger.Warn("malformed node in ZooKeeper",
			slog.String("path", r.path+"/nodes/"+name), slog.Bool("keeps_last_state", k.good), slog.Any("error", err))
		r.cfg.OnBadNode(name, err)
		return &k.node, k.good
	}
	k.good, k.node = true, n
	return &k.node, true
}

// children lists path and watches it. While it does not exist, its creation is
// watched and the list is empty.
func (r *reader) children(path string) ([]string, error) {
	for {
		var (
			names []string
			err   error
		)
		if r.watches.arm(path, watchChildren) {
			if names, _, _, err = r.conn.ChildrenW(path); err != nil {
				r.watches.disarm(path, watchChildren)
			}
		} else {
			names, _, err = r.conn.Children(path)
		}
		if err == nil {
			return names, nil
		}
		if !errors.Is(err, zk.ErrNoNode) {
			return nil, fmt.Errorf("list %s: %w", path, err)
		}
		if missing, err := r.awaitCreation(path); missing || err != nil {
			return nil, err
		}
	}
}

// get reads path and watches it. If it does not exist, ok is false, and with
// awaited its creation is watched.
func (r *reader) get(path string, awaited bool) (data []byte, ok bool, err error) {
	for {
		if r.watches.arm(path, watchData) {
			if data, _, _, err = r.conn.GetW(path); err != nil {
				r.watches.disarm(path, watchData)
			}
		} else {
			data, _, err = r.conn.Get(path)
		}
		if err == nil {
			return data, true, nil
		}
		if !errors.Is(err, zk.ErrNoNode) {
			return nil, false, fmt.Errorf("read %s: %w", path, err)
		}
		if !awaited {
			return nil, false, nil
		}
		if missing, err := r.awaitCreation(path); missing || err != nil {
			return nil, false, err
		}
	}
}

// awaitCreation watches for the creation of path. It reports false if path
// exists by now.
func (r *reader) awaitCreation(path string) (missing bool, err error) {
	if !r.watches.arm(path, watchCreation) {
		return true, nil
	}
	exists, _, _, err := r.conn.ExistsW(path)
	switch {
	case err != nil:
		r.watches.disarm(path, watchCreation)
		return false, fmt.Errorf("watch %s: %w", path, err)
	case exists:
		// ZooKeeper set a watch on the data instead. It stays unnoted: a
		// second one costs little, a missing one would cost the truth.
		r.watches.disarm(path, watchCreation)
		return false, nil
	}
	return true, nil
}
