package zookeeper

import (
	"bytes"
	"context"
	"time"
)

// Document is the text of one znode at one time.
type Document struct {
	// Exists is false while there is no such znode.
	Exists bool
	// Data is its text. The receiver must not change it.
	Data []byte
	// Version is ZooKeeper's: it grows by one with every write, and begins at
	// 0 again when the znode is deleted and made anew.
	Version int32
	// Confirmed is when ZooKeeper said so.
	Confirmed time.Time
}

// WatchConfig follows PATH/config, the text of the configuration that all
// proxies of a cluster share. It calls publish once ZooKeeper has answered for
// the first time, also when there is no such znode, and then whenever the text
// has changed: a write of the same text is no news. It blocks until ctx is
// done and then returns nil; while ZooKeeper is away nothing is published, and
// what was published last stands. An error is only for a configuration that
// cannot work.
//
// Whether the text makes sense is for the receiver to say, who keeps the last
// one that did:
//
//	err := zookeeper.WatchConfig(ctx, cfg, func(d zookeeper.Document) {
//		if err := apply(d.Data); err != nil {
//			log.Error("the configuration is refused; the old one stays", "version", d.Version, "error", err)
//		}
//	})
//
// publish is called from one goroutine at a time and must not block.
func WatchConfig(ctx context.Context, cfg Config, publish func(Document)) error {
	place, err := cfg.validate()
	if err != nil {
		return err
	}
	return follow(ctx, &cfg, place, &documentView{path: place.path + "/config", handOut: publish})
}

// documentView is one znode.
type documentView struct {
	path    string
	handOut func(Document)
	last    Document
	begun   bool // it was read before
}

// haste implements view.
func (v *documentView) haste(string) haste { return soon }

// early implements view.
func (v *documentView) early(*tree) (news bool, err error) { return false, nil }

// decisive implements view.
func (v *documentView) decisive() string { return v.path }

// read implements view.
func (v *documentView) read(t *tree, _ time.Time) (changed bool, again time.Duration, err error) {
	z, err := t.get(v.path)
	if err != nil {
		return false, 0, err
	}
	changed = !v.begun || v.last.Exists != z.exists || !bytes.Equal(v.last.Data, z.data)
	v.begun = true
	v.last = Document{Exists: z.exists, Data: z.data, Version: z.version}
	return changed, 0, nil
}

// publish implements view.
func (v *documentView) publish(confirmed time.Time, changed bool) {
	if changed {
		d := v.last
		d.Confirmed = confirmed
		v.handOut(d)
	}
}
