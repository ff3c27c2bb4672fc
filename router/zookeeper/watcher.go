package zookeeper

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/go-zookeeper/zk"
)

// coalesce is how long a change waits for company: a switchover touches
// several znodes at once.
const coalesce = 10 * time.Millisecond

// driftPace is the least time between two readings of what may wait: Patroni's
// members are rewritten all the time.
const driftPace = 200 * time.Millisecond

// firstRetry is the first pause after a read that ZooKeeper refused. It
// doubles up to a third of the session timeout.
const firstRetry = 100 * time.Millisecond

// A view is what somebody sees in ZooKeeper: a layout. It is used by one
// goroutine.
type view interface {
	// haste tells how soon a change at path is to be read. It is called by any
	// goroutine.
	haste(path string) haste
	// decisive is the znode that says who leads, "" if none does. It is read
	// again for each confirmation.
	decisive() string
	// early reads what must not wait until ZooKeeper has proved that it speaks for
	// the present, and reports whether there is something of that kind to publish.
	early(t *tree) (news bool, err error)
	// read brings the view up to date. It reports whether the view says
	// something else than before, and after what time it must be read again
	// although nothing happened, 0 for never.
	read(t *tree, now time.Time) (changed bool, again time.Duration, err error)
	// publish hands on what was read, which was true at the time confirmed.
	publish(confirmed time.Time, changed bool)
}

// follow keeps a view up to date until ctx is done. It returns an error only
// for what cannot heal.
func follow(ctx context.Context, cfg *Config, place place, v view) error {
	w := newWatches(v.haste)
	c, err := connect(ctx, place.servers, cfg, w.onEvent)
	if err != nil {
		return fmt.Errorf("watch ZooKeeper: %w", err)
	}
	defer c.close()
	// Requests to ZooKeeper have no context; closing the client ends them.
	defer context.AfterFunc(ctx, c.close)()
	f := &watcher{cfg: cfg, path: place.path, watches: w, tree: newTree(c.Conn, w), view: v, auth: cfg.Auth}
	f.run(ctx)
	return nil
}

// watcher is one follow call: it decides when to read and when to publish.
type watcher struct {
	cfg     *Config
	path    string
	watches *watches
	tree    *tree
	view    view
	auth    string // "" once ZooKeeper has it

	up        bool // as last logged
	absent    bool // that ZooKeeper is away was logged
	refused   string
	read      bool      // the view is what ZooKeeper says, as far as we were told
	readAt    time.Time // the last time that it was read
	hurried   time.Time // the last time that it was read because of an urgent change
	published time.Time // what was last published was confirmed then
	again     time.Duration
	trusted   uint64 // the connection on which all watches are known to be set
	confirms  int    // since everything was read
}

func (v *watcher) run(ctx context.Context) {
	confirm := time.NewTicker(v.interval())
	defer confirm.Stop()
	retry := stopped()
	defer retry.Stop()
	drift := stopped()
	defer drift.Stop()
	pause := firstRetry

	for {
		select {
		case <-ctx.Done():
			return
		case <-v.watches.urgent:
			if !v.hurry(ctx) {
				return
			}
		case <-v.watches.dirty:
			if !v.settle(ctx) {
				return
			}
		case <-v.watches.drift:
			drift.Reset(max(time.Until(v.readAt.Add(driftPace)), coalesce))
			continue
		case <-drift.C:
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
		// What happens from here on needs another read.
		v.watches.take()
		drift.Stop()
		if err := v.reread(); err != nil {
			if ctx.Err() != nil {
				return
			}
			v.logRefused(err)
			retry.Reset(pause)
			pause = min(2*pause, v.interval())
			continue
		}
		retry.Stop()
		if v.again > 0 {
			retry.Reset(v.again)
		}
		pause = firstRetry
		v.refused = ""
	}
}

// stopped returns a timer that does not run.
func stopped() *time.Timer {
	t := time.NewTimer(0)
	t.Stop()
	return t
}

// interval is the time between two confirmations.
func (v *watcher) interval() time.Duration { return v.cfg.SessionTimeout / 3 }

// settle waits for more changes to come, unless one is urgent. It reports false
// when ctx ended.
func (v *watcher) settle(ctx context.Context) bool {
	t := time.NewTimer(coalesce)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-v.watches.urgent:
		return v.hurry(ctx)
	case <-t.C:
		return true
	}
}

// hurry lets an urgent change be read at once, unless another was a moment ago:
// a key that is rewritten all the time is read no more often than any other
// (I7). It reports false when ctx ended.
func (v *watcher) hurry(ctx context.Context) bool {
	t := time.NewTimer(time.Until(v.hurried.Add(coalesce)))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		v.hurried = time.Now()
		return true
	}
}

// reread reads what changed and publishes it.
func (v *watcher) reread() error {
	v.read = false
	if v.auth != "" {
		// go-zookeeper repeats it in later sessions by itself.
		if err := v.tree.conn.AddAuth("digest", []byte(v.auth)); err != nil {
			return fmt.Errorf("authenticate: %w", err)
		}
		v.auth = ""
	}
	asked := time.Now()
	v.readAt = asked
	v.tree.begin()
	if news, err := v.view.early(v.tree); err != nil {
		return err
	} else if news {
		v.view.publish(v.published, true)
	}
	if err := v.tree.sync(v.path); err != nil {
		return err
	}
	changed, again, err := v.view.read(v.tree, asked)
	if err != nil {
		return err
	}
	v.read, v.again = true, again
	// Without a change it is only a confirmation, and not due as often.
	if changed || asked.Sub(v.published) >= v.interval() {
		v.view.publish(asked, changed)
		v.published = asked
	}
	return nil
}

// rereadAll is after how many confirmations everything is read again, in case
// a watch was lost (see tree.deaf).
const rereadAll = 10

// confirm publishes the last value again if it still stands. The answer to
// Sync comes after the events of every change that it covers, so with no event
// pending the value was true when Sync was asked. It reports false if
// something must be read.
func (v *watcher) confirm() bool {
	if v.watches.pending() {
		return false
	}
	if v.confirms++; v.trusted != v.watches.connections() || v.confirms >= rereadAll {
		// On a new connection go-zookeeper has renewed the watches by now, and
		// what changed before it did may have been missed.
		v.watches.distrust()
		v.trusted, v.confirms = v.watches.connections(), 0
		return false
	}
	asked := time.Now()
	if err := v.tree.sync(v.path); err != nil || v.watches.pending() {
		return false
	}
	if path := v.view.decisive(); path != "" && !v.tree.verify(path) {
		v.watches.distrust()
		return false
	}
	v.view.publish(asked, false)
	v.published = asked
	return true
}

// logState tells once that ZooKeeper went away, and once that it is back.
func (v *watcher) logState() {
	up := v.watches.connected()
	switch {
	case up && !v.up && v.absent:
		v.cfg.Logger.Info("ZooKeeper is back", slog.String("path", v.path))
		v.absent = false
	case !up && !v.absent:
		v.cfg.Logger.Warn("ZooKeeper does not answer; the last known topology stands",
			slog.String("hosts", v.cfg.Hosts), slog.String("path", v.path))
		v.absent = true
	}
	v.up = up
}

// logRefused tells once for each kind of refusal. A lost connection is told by
// logState.
func (v *watcher) logRefused(err error) {
	if isLoss(err) || errors.Is(err, errUnsettled) || v.refused == err.Error() {
		return
	}
	v.refused = err.Error()
	v.cfg.Logger.Warn("ZooKeeper cannot be read; the last known topology stands",
		slog.String("path", v.path), slog.Any("error", err))
	v.cfg.Trace.Refused(err)
}

// isLoss reports whether err only says that there is no connection.
func isLoss(err error) bool {
	return errors.Is(err, zk.ErrConnectionClosed) || errors.Is(err, zk.ErrNoServer) ||
		errors.Is(err, zk.ErrSessionExpired) || errors.Is(err, zk.ErrClosing)
}
