package zookeeper

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/pgroute/pgroute/router"
)

// coalesce is how long a change waits for company: a switchover touches
// several znodes at once.
const coalesce = 10 * time.Millisecond

// firstRetry is the first pause after a read that ZooKeeper refused. It
// doubles up to a third of the session timeout.
const firstRetry = 100 * time.Millisecond

// Source reads the topology from pgroute's own layout. It implements
// router.Source.
type Source struct {
	cfg     Config
	servers []string
	path    string // with the chroot, without a slash at its end
}

var _ router.Source = (*Source)(nil)

// New returns a Source. It checks the configuration and connects to nothing.
func New(cfg Config) (*Source, error) {
	servers, path, err := cfg.validate()
	if err != nil {
		return nil, err
	}
	return &Source{cfg: cfg, servers: servers, path: path}, nil
}

// Watch implements router.Source. As long as the session with ZooKeeper lives
// it publishes at least every third of the session timeout, with a new
// Confirmed; while ZooKeeper is away it publishes nothing. A path that does
// not exist yet is a topology without nodes and without a primary. The values
// that it publishes share their nodes: the receiver must not change them.
func (s *Source) Watch(ctx context.Context, publish func(router.Candidates)) error {
	w := newWatches()
	c, err := connect(ctx, s.servers, &s.cfg, w.onEvent)
	if err != nil {
		return fmt.Errorf("watch ZooKeeper: %w", err)
	}
	defer c.close()
	// Requests to ZooKeeper have no context; closing the client ends them.
	defer context.AfterFunc(ctx, c.close)()

	v := &watcher{
		cfg:     &s.cfg,
		watches: w,
		reader:  newReader(c.Conn, w, s.path, &s.cfg),
		publish: publish,
		auth:    s.cfg.Auth,
	}
	v.run(ctx)
	return nil
}

// watcher is one Watch call: it decides when to read and what to publish.
type watcher struct {
	cfg     *Config
	watches *watches
	reader  *reader
	publish func(router.Candidates)
	auth    string // "" once ZooKeeper has it

	up      bool // as last logged
	absent  bool // that ZooKeeper is away was logged
	refused string
	last    router.Candidates
	read    bool // last is what ZooKeeper says, as far as we were told
}

func (v *watcher) run(ctx context.Context) {
	interval := v.cfg.SessionTimeout / 3
	confirm := time.NewTicker(interval)
	defer confirm.Stop()
	retry := time.NewTimer(0)
	defer retry.Stop()
	retry.Stop()
	pause := firstRetry

	for {
		select {
		case <-ctx.Done():
			return
		case <-v.watches.dirty:
			if !v.settle(ctx) {
				return
			}
			// What happens from here on needs another read.
			select {
			case <-v.watches.dirty:
			default:
			}
		case <-retry.C:
		case <-confirm.C:
			v.logState()
			if !v.watches.connected() || (v.read && v.confirm()) {
				continue
			}
		}
		v.logState()
		if !v.watches.connected() {
			continue // The next session wakes us.
		}
		if err := v.reread(); err != nil {
			if ctx.Err() != nil {
				return
			}
			v.logRefused(err)
			retry.Reset(pause)
			pause = min(2*pause, interval)
			continue
		}
		retry.Stop()
		pause = firstRetry
		v.refused = ""
	}
}

// settle waits for more changes to come. It reports false when ctx ended.
func (v *watcher) settle(ctx context.Context) bool {
	t := time.NewTimer(coalesce)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// reread reads everything and publishes it.
func (v *watcher) reread() error {
	v.read = false
	if v.auth != "" {
		// go-zookeeper repeats it in later sessions by itself.
		if err := v.reader.conn.AddAuth("digest", []byte(v.auth)); err != nil {
			return fmt.Errorf("authenticate: %w", err)
		}
		v.auth = ""
	}
	asked := time.Now()
	if err := v.reader.sync(); err != nil {
		return err
	}
	nodes, primary, err := v.reader.read()
	if err != nil {
		return err
	}
	v.read = true
	v.last = router.Candidates{
		Nodes:        nodes,
		NamesPrimary: true,
		Primary:      primary,
		Confirmed:    asked,
		ValidFor:     v.cfg.SessionTimeout,
	}
	v.publish(v.last)
	return nil
}

// confirm publishes the last value again if it still stands. The answer to
// Sync comes after the events of every change that it covers, so with no event
// pending the value was true when Sync was asked. It reports false if
// something must be read.
func (v *watcher) confirm() bool {
	asked := time.Now()
	if err := v.reader.sync(); err != nil {
		return false
	}
	if v.watches.pending() {
		return true // The next turn of run reads.
	}
	v.last.Confirmed = asked
	v.publish(v.last)
	return true
}

// logState tells once that ZooKeeper went away, and once that it is back.
func (v *watcher) logState() {
	up := v.watches.connected()
	switch {
	case up && !v.up && v.absent:
		v.cfg.Logger.Info("ZooKeeper is back", slog.String("path", v.reader.path))
		v.absent = false
	case !up && !v.absent:
		v.cfg.Logger.Warn("ZooKeeper does not answer; the last known topology stands",
			slog.String("hosts", v.cfg.Hosts), slog.String("path", v.reader.path))
		v.absent = true
	}
	v.up = up
}

// logRefused tells once for each kind of refusal. A lost connection is told by
// logState.
func (v *watcher) logRefused(err error) {
	if isLoss(err) || v.refused == err.Error() {
		return
	}
	v.refused = err.Error()
	v.cfg.Logger.Warn("ZooKeeper cannot be read; the last known topology stands",
		slog.String("path", v.reader.path), slog.Any("error", err))
}

// isLoss reports whether err only says that there is no connection.
func isLoss(err error) bool {
	return errors.Is(err, zk.ErrConnectionClosed) || errors.Is(err, zk.ErrNoServer) ||
		errors.Is(err, zk.ErrSessionExpired) || errors.Is(err, zk.ErrClosing)
}
