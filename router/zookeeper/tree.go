package zookeeper

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/go-zookeeper/zk"
)

// tree is a copy of the znodes that somebody reads. Whatever it read, or
// missed, has a watch, and as long as that has not fired nothing is asked
// again: a change costs one request for each znode that it touched.
type tree struct {
	conn    *zk.Conn
	watches *watches
	links   uint64 // the connection that begin found
	data    map[string]copied[znode]
	lists   map[string]copied[list]
}

// copied is a copy that was made on the connection numbered links. On a later
// one it is asked for again: go-zookeeper renews the watches there, but some
// time after the first requests.
type copied[T any] struct {
	links uint64
	value T
}

// znode is the copy of one znode. The zero value is one that does not exist.
type znode struct {
	exists  bool
	data    []byte
	version int32
	// modified is the number of the transaction that wrote it last.
	modified int64
	// ephemeral is true for one that goes with somebody's session.
	ephemeral bool
}

// list is the copy of a znode's children, sorted. The zero value is that of one
// that does not exist.
type list struct {
	names []string
	// modified is the number of the transaction that made or removed one last.
	modified int64
}

func newTree(conn *zk.Conn, w *watches) *tree {
	return &tree{conn: conn, watches: w, data: make(map[string]copied[znode]), lists: make(map[string]copied[list])}
}

// begin comes before everything that is read together.
func (t *tree) begin() { t.links = t.watches.connections() }

// sync makes the server that we are connected to catch up with ZooKeeper's
// leader, which proves that both are there.
func (t *tree) sync(path string) error {
	if _, err := t.conn.Sync(cmp.Or(path, "/")); err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	return nil
}

// children lists path, sorted, and watches it. While path does not exist its
// creation is watched, and the list is empty. The list must not be changed.
func (t *tree) children(path string) ([]string, error) {
	for {
		set := t.watches.set(path)
		if c, ok := t.lists[path]; ok && c.links == t.links && set&(watchChildren|watchCreation) != 0 {
			return c.value.names, nil
		}
		var (
			names []string
			stat  *zk.Stat
			now   list
			err   error
		)
		if set&watchChildren != 0 {
			names, stat, err = t.conn.Children(path)
			if t.deaf(path, watchChildren, err, err == nil && stat.Pzxid == t.lists[path].value.modified) {
				continue
			}
		} else {
			t.watches.arm(path, watchChildren)
			if names, stat, _, err = t.conn.ChildrenW(path); err != nil {
				t.watches.disarm(path, watchChildren)
			}
		}
		switch {
		case err == nil:
			t.watches.disarm(path, watchCreation) // see deaf
			slices.Sort(names)
			now = list{names, stat.Pzxid}
		case !errors.Is(err, zk.ErrNoNode):
			return nil, fmt.Errorf("list %s: %w", path, err)
		default:
			missing, err := t.awaitCreation(path)
			if err != nil {
				return nil, err
			}
			if !missing {
				continue
			}
		}
		t.lists[path] = copied[list]{t.links, now}
		return now.names, nil
	}
}

// get reads path and watches it, or its creation while it does not exist. The
// data must not be changed.
func (t *tree) get(path string) (znode, error) {
	for {
		z, err := t.getListed(path)
		if z.exists || err != nil {
			return z, err
		}
		if missing, err := t.awaitCreation(path); missing || err != nil {
			t.data[path] = copied[znode]{links: t.links}
			return znode{}, err
		}
		delete(t.data, path)
	}
}

// getListed is get for a znode that a watched list has named: when it is gone
// by now, the list's watch tells of its return.
func (t *tree) getListed(path string) (znode, error) {
	set := t.watches.set(path)
	if c, ok := t.data[path]; ok && c.links == t.links && set&(watchData|watchCreation) != 0 {
		return c.value, nil
	}
	var (
		data []byte
		stat *zk.Stat
		err  error
	)
	if set&watchData != 0 {
		data, stat, err = t.conn.Get(path)
		if t.deaf(path, watchData, err, err == nil && stat.Mzxid == t.data[path].value.modified) {
			return t.getListed(path)
		}
	} else {
		t.watches.arm(path, watchData)
		if data, stat, _, err = t.conn.GetW(path); err != nil {
			t.watches.disarm(path, watchData)
		}
	}
	switch {
	case err == nil:
		t.watches.disarm(path, watchCreation) // see deaf
		z := znode{exists: true, data: data, version: stat.Version, modified: stat.Mzxid, ephemeral: stat.EphemeralOwner != 0}
		t.data[path] = copied[znode]{t.links, z}
		return z, nil
	case errors.Is(err, zk.ErrNoNode):
		delete(t.data, path)
		return znode{}, nil
	}
	return znode{}, fmt.Errorf("read %s: %w", path, err)
}

// deaf reports whether a watch that was taken to be set on path is none: what
// was asked for anew is not as it was, or may not be seen, and yet no event came
// before the answer. The watch is set again with the next request, for ZooKeeper
// takes one away without a word when it fires while we may not read the znode. So
// may one on a creation be gone once the znode is there.
func (t *tree) deaf(path string, kind watchKind, err error, same bool) bool {
	if (err != nil && !errors.Is(err, zk.ErrNoAuth)) || (err == nil && same) || t.watches.set(path)&kind == 0 {
		return false
	}
	t.watches.disarm(path, kind)
	return true
}

// verify reports whether the copy of path, which was got before, is what
// ZooKeeper says now, for a watch may be lost (see deaf).
func (t *tree) verify(path string) bool {
	data, _, err := t.conn.Get(path)
	z := t.data[path].value
	if errors.Is(err, zk.ErrNoNode) {
		return !z.exists
	}
	return err == nil && z.exists && bytes.Equal(z.data, data)
}

// forget drops the copy of a znode that is not of interest any more.
func (t *tree) forget(path string) { delete(t.data, path) }

// awaitCreation watches for the creation of path. It reports false if path
// exists by now.
func (t *tree) awaitCreation(path string) (missing bool, err error) {
	if t.watches.set(path)&watchCreation != 0 {
		return true, nil
	}
	t.watches.arm(path, watchCreation)
	exists, _, _, err := t.conn.ExistsW(path)
	switch {
	case err != nil:
		t.watches.disarm(path, watchCreation)
		return false, fmt.Errorf("watch %s: %w", path, err)
	case exists:
		// ZooKeeper set a watch on the data instead. It stays unnoted: a
		// second one costs little, a missing one would cost the truth.
		t.watches.disarm(path, watchCreation)
		return false, nil
	}
	return true, nil
}
