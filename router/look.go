package router

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"
)

// looks number the questions to one replica: which commits does it show that
// the primary still hides? A look that has *passed* says that none is left:
// whatever a client had read on that replica before the look was sent, the
// primary shows, from then on and for good.
//
// One look is under way at a time. Whoever has read before it was sent is
// served by it, and by every later one. A look cannot pass before the one
// before it would have: what is early and stays hidden is found again.
type looks struct {
	// sent is the number of the last look, incremented right before it is
	// sent; sent+1 is the number of one that comes after everything read so
	// far. passed is the last look that has passed, and era the era in which it
	// did: what one primary shows says little about the next. See hasPassed.
	sent, passed, era atomic.Uint64
	// early is how many commits the look under way still waits for, 0 also
	// while that is not known.
	early   atomic.Int64
	waiters waitList
	// ask is the look that the node's monitor is to send.
	ask atomic.Pointer[look]
	// mute is the monitor's connection on which the replica has said that it
	// cannot tell, 0 if there is none, and muted when that was: after muteFor it
	// is asked again.
	mute  atomic.Uint64
	muted atomic.Pointer[time.Time]
	// now is the look under way. It belongs to the goroutine of sights.
	now *look
}

// look is one question and its answer.
type look struct {
	// at is the primary's snapshot that was taken before it was sent, and conn
	// the monitor's connection that it may be sent on.
	at   Snapshot
	conn uint64
	// seq is its number. early are the commits that the replica shows and the
	// primary still hides; unable is true if the replica did not say. They are
	// the monitor's until done is true, and then those of sights.
	seq    uint64
	early  []uint64
	unable bool
	done   atomic.Bool
	// counted: early is known for a look at the primary alone. They are those
	// that were committing whenever that was asked.
	counted bool
}

// suspect takes in, for a look at the primary alone, who may be committing now.
func (l *look) suspect(list []PendingCommit) {
	committing := func(xid uint64) bool {
		return slices.ContainsFunc(list, func(c PendingCommit) bool { return c.XID == xid })
	}
	if l.counted {
		l.early = slices.DeleteFunc(l.early, func(xid uint64) bool { return !committing(xid) })
		return
	}
	l.counted = true
	for _, c := range list {
		if c.XID != 0 && c.XID < l.at.Next {
			l.early = append(l.early, c.XID)
		}
	}
}

// muteFor is how long a replica that could not tell what it shows is not asked.
// What keeps it from that may be over soon: a conflict with its replay, or one
// transaction that is far ahead of the primary's snapshot.
const muteFor = 10 * time.Second

// unmute lets the replica be asked again if it was not for long enough.
func (l *looks) unmute(now time.Time) {
	if l.mute.Load() != 0 && now.Sub(*l.muted.Load()) >= muteFor {
		l.mute.Store(0)
	}
}

// next returns the number of a look that is sent after now.
func (l *looks) next() uint64 { return l.sent.Load() + 1 }

// drop forgets the look under way: its answer would not count.
func (l *looks) drop() {
	l.ask.Store(nil)
	l.now = nil
	l.early.Store(0)
}

// pass notes that the look under way has passed in the era e.
func (l *looks) pass(e *era) {
	seq := l.now.seq
	l.now = nil
	l.early.Store(0)
	l.passed.Store(seq)
	l.era.Store(e.n) // second: hasPassed reads it first
	l.waiters.wake(seq)
}

// hasPassed reports whether the look with the number seq, or a later one, has
// passed in the era e.
func (l *looks) hasPassed(seq uint64, e *era) bool {
	return l.era.Load() == e.n && l.passed.Load() >= seq
}

// narrow takes out of the look under way what s shows, and reports whether
// nothing is left.
func (l *looks) narrow(s *Snapshot) bool {
	now := l.now
	if now == nil || !now.done.Load() || now.unable {
		return false
	}
	now.early = slices.DeleteFunc(now.early, func(xid uint64) bool { return !s.Hides(xid) })
	l.early.Store(int64(len(now.early)))
	return len(now.early) == 0
}

// look sends the look that is asked of the monitor's node.
func (m *monitor) look(l *look) error {
	n := m.n
	defer m.r.sights.rouse()
	defer n.looks.ask.CompareAndSwap(l, nil)
	w, able := m.probe.(Witness)
	if n.conn.Load() != l.conn {
		return nil
	}
	if !able {
		l.unable = true
		l.done.Store(true)
		return nil
	}
	l.seq = n.looks.sent.Add(1)
	m.r.stats.looks.Add(1)
	m.limit.arm()
	early, err := w.Early(m.limit.ctx, l.at)
	m.limit.disarm()
	switch {
	case errors.Is(err, ErrWitnessRefused):
		m.r.log.Debug("a replica does not say what it shows", "node", n.Name, "error", err)
		l.unable = true
	case err != nil:
		return fmt.Errorf("ask %s what it shows: %w", n.Name, err)
	}
	l.early = early
	l.done.Store(true)
	return nil
}
