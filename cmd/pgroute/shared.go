package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/pgroute/pgroute/router/zookeeper"
)

// sharedWait bounds how long the start waits for PATH/config. Whoever starts
// while ZooKeeper is away serves with what the file says, and takes the rest
// over later.
const sharedWait = 5 * time.Second

// sharedConfig is what all proxies of a cluster have in common: PATH/config in
// ZooKeeper. It is used by one goroutine.
type sharedConfig struct {
	where string // the znode
	seen  bool   // it was read, or found missing
	data  []byte // as last read, nil if there was none
	good  *file  // the last one that was applied, nil if there was none
	held  *file  // a later one that is refused only together with the file
	news  chan zookeeper.Document
}

// ownLayout reports whether the servers are found in pgroute's own layout.
func (s *settings) ownLayout() bool { return s.zookeeper != "" && s.path != "" && s.patroni == "" }

// ownConfig is the configuration of the clients of ZooKeeper that use the own
// layout, beside the source.
func (s *settings) ownConfig(log *slog.Logger) (zookeeper.Config, error) {
	cfg, err := s.zookeeperConfig(log)
	cfg.Path = s.path
	return cfg, err
}

// newShared returns what is not read yet.
func newShared(s *settings) *sharedConfig {
	return &sharedConfig{where: strings.TrimRight(s.path, "/") + "/config", news: make(chan zookeeper.Document, 1)}
}

// notShared says of keys why they cannot be the same for all proxies.
var notShared = map[string]string{
	"node":      "the servers are below nodes there",
	"zookeeper": "it says where this is", "path": "it says where this is", "patroni": "it says where this is",
	"zookeeper_auth": "it says how this is read", "zookeeper_timeout": "it says how this is read", "zookeeper_tls": "it says how this is read",
	"zookeeper_tls_ca": "it says how this is read", "zookeeper_tls_cert": "it says how this is read", "zookeeper_tls_key": "it says how this is read",
	"peer_id": "every proxy has another one",
}

// parse checks the text of the znode.
func (c *sharedConfig) parse(data []byte) (*file, error) {
	f, err := parseFile(c.where, data)
	if err != nil {
		return nil, err
	}
	for _, v := range f.values {
		if why := notShared[v.key.name]; why != "" {
			return nil, f.errorf(v.at, "%s cannot be in ZooKeeper: %s", v.key.name, why)
		}
	}
	return f, nil
}

// take notes what was read. It reports false if that is no news.
func (c *sharedConfig) take(d zookeeper.Document) bool {
	data := d.Data
	if !d.Exists {
		data = nil
	} else if data == nil {
		data = []byte{}
	}
	if c.seen && (data == nil) == (c.data == nil) && bytes.Equal(data, c.data) {
		return false
	}
	c.seen, c.data, c.held = true, data, nil
	return true
}

// errNotShown is why PATH/config is not known at the start.
var errNotShown = errors.New("it did not answer in time")

// read reads PATH/config once. An error is for a ZooKeeper that does not
// answer, or not in time, or that refuses.
func (c *sharedConfig) read(ctx context.Context, cfg zookeeper.Config) error {
	ctx, cancel := context.WithTimeoutCause(ctx, sharedWait, errNotShown)
	defer cancel()
	end, finish := context.WithCancelCause(ctx)
	defer finish(nil)
	cfg.Logger = slog.New(slog.DiscardHandler) // The source says the same of the same servers.
	cfg.Trace.Refused = func(err error) { finish(err) }
	err := zookeeper.WatchConfig(end, cfg, func(d zookeeper.Document) {
		if end.Err() == nil {
			c.take(d)
			finish(nil)
		}
	})
	if err == nil && !c.seen {
		err = context.Cause(end)
	}
	return err
}

// watchLoop follows PATH/config until ctx is done, and closes done then. Of
// texts that nobody has taken from c.news yet the last one counts.
func (c *sharedConfig) watchLoop(ctx context.Context, cfg zookeeper.Config, log *slog.Logger, done chan<- struct{}) {
	defer close(done)
	cfg.Logger = slog.New(slog.DiscardHandler)
	counted := cfg.Trace.Refused
	cfg.Trace.Refused = func(err error) {
		counted(err)
		log.Warn("ZooKeeper does not show the configuration of all proxies; the last one stays", "path", c.where, "error", oneLine(err.Error()))
	}
	err := zookeeper.WatchConfig(ctx, cfg, func(d zookeeper.Document) {
		select {
		case <-c.news:
		default:
		}
		c.news <- d // There is room: nobody else sends.
	})
	if err != nil {
		log.Error("the configuration of all proxies is not followed", "path", c.where, "error", err)
	}
}

// loadAll makes settings of all that there is, for a command that only looks:
// what ZooKeeper does not tell, or what makes no sense there, is told on
// standard error and left out.
func loadAll(a *arguments, std stdio) (*settings, error) {
	s, f, err := load(a)
	if err != nil || !s.ownLayout() {
		return s, err
	}
	log := newLogging(s, std.err)
	if _, err := s.source(log.Logger); err != nil {
		return nil, err
	}
	cfg, err := s.ownConfig(log.Logger)
	if err != nil {
		return nil, err
	}
	c := newShared(s)
	err = c.read(context.Background(), cfg)
	if err == nil && c.data != nil {
		var shared *file
		if shared, err = c.parse(c.data); err == nil {
			var with *settings
			if with, err = a.merge(f, shared); err == nil {
				return with, nil
			}
		}
	}
	if err != nil {
		log.Warn("the configuration of all proxies is left out", "path", c.where, "error", oneLine(err.Error()))
	}
	return s, nil
}
