package cluster

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// A template is a stopped primary's data directory with the roles and the
// database in it, made once and copied by every cluster. Several processes may
// want it at the same time: whoever copies holds a shared lock, whoever makes
// holds the exclusive one, and a new one appears by rename, so that a template
// that exists is whole.
type template struct {
	dir  string   // holds the templates of one major version and user
	lock *os.File // open and locked while the template is used
}

// templateFormat changes when makeData makes something else than before.
const templateFormat = "1"

// templateAge is how long a template of another build is kept.
const templateAge = 24 * time.Hour

// copyData gives each node the data directory of the same fresh primary.
func (c *Cluster) copyData(ctx context.Context) error {
	if c.opts.UniqueSystemID {
		data, err := c.makeData(ctx)
		if err != nil {
			return err
		}
		for _, n := range c.nodes[1:] {
			if err := copyTree(ctx, data, n.dir, c.box.owner); err != nil {
				return err
			}
		}
		return os.Rename(data, c.nodes[0].dir)
	}
	version, major, err := serverVersion(c.opts.BinDir)
	if err != nil {
		return err
	}
	t := template{dir: filepath.Join(os.TempDir(), fmt.Sprintf("pgroute-template-%d-%d", os.Getuid(), major))}
	key := sha256.Sum256([]byte(fmt.Sprint(templateFormat, version, c.opts.walSegmentMB(), baseConf, MonitorSQL)))
	data := filepath.Join(t.dir, hex.EncodeToString(key[:8]))
	if err := t.open(); err != nil {
		return err
	}
	defer t.lock.Close()
	for {
		if err := t.acquire(ctx, false); err != nil {
			return err
		}
		if _, err := os.Stat(data); err == nil {
			break
		}
		// No template: make it, unless somebody did while we waited for the
		// lock. Then take the shared lock and look again, since flock(2) does
		// not turn one lock into the other in one step.
		if err := t.acquire(ctx, true); err != nil {
			return err
		}
		if _, err := os.Stat(data); errors.Is(err, os.ErrNotExist) {
			if err := t.make(ctx, c, data); err != nil {
				return err
			}
		}
	}
	return c.each(c.nodes, func(n *Node) error { return copyTree(ctx, data, n.dir, c.box.owner) })
}

// open makes the folder and its lock file. The folder's name is easy to guess,
// so a folder that somebody else made, or may write to, is refused. The
// template belongs to the caller, not to the servers: only copies do.
func (t *template) open() error {
	if err := os.Mkdir(t.dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("make the template's folder: %w", err)
	}
	if !ownFolder(t.dir) {
		return fmt.Errorf("%s is not a folder that only this user may write to: remove it", t.dir)
	}
	lock, err := os.OpenFile(filepath.Join(t.dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("open the template's lock: %w", err)
	}
	t.lock = lock
	return nil
}

func (t *template) acquire(ctx context.Context, exclusive bool) error {
	return poll(ctx, "lock the template", func() (bool, error) { return tryLock(t.lock, exclusive) })
}

// make makes the template at data; the exclusive lock is held.
func (t *template) make(ctx context.Context, c *Cluster, data string) error {
	entries, err := os.ReadDir(t.dir)
	if err != nil {
		return fmt.Errorf("read the template's folder: %w", err)
	}
	for _, entry := range entries {
		info, err := entry.Info()
		// A half-made copy is garbage, since we hold the lock.
		if err == nil && entry.IsDir() && (filepath.Ext(entry.Name()) == ".new" || time.Since(info.ModTime()) > templateAge) {
			if err := os.RemoveAll(filepath.Join(t.dir, entry.Name())); err != nil {
				return fmt.Errorf("remove an old template: %w", err)
			}
		}
	}
	made, err := c.makeData(ctx)
	if err != nil {
		return err
	}
	if err := copyTree(ctx, made, data+".new", owner{}); err != nil {
		return err
	}
	if err := os.RemoveAll(made); err != nil {
		return fmt.Errorf("remove the template's first copy: %w", err)
	}
	if err := os.Rename(data+".new", data); err != nil {
		return fmt.Errorf("publish the template: %w", err)
	}
	return nil
}
