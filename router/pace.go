package router

import (
	"sync/atomic"
	"time"

	"github.com/pgroute/pgroute/lsn"
)

const (
	// paceStalled is how long a replica may stand still, with flushed WAL to
	// replay, until nobody waits for it any more.
	paceStalled = time.Second
	// paceWindow is the least time over which a rate is measured.
	paceWindow = 5 * time.Millisecond
	// paceHalfLife is how fast an old peak is forgotten.
	paceHalfLife = 5 * time.Second
	// paceNear is a distance that is never hopeless: 256 KiB.
	paceNear = 256 << 10
)

// pace estimates how fast a replica replays when it has something to replay.
// It only decides whether waiting is worth while, never what is covered. The
// monitor writes it.
type pace struct {
	// peak is the best rate seen lately in bytes per second, 0 if none was.
	peak atomic.Int64
	// stalled is when the replica stopped moving although it had flushed WAL
	// to replay; nil if it did not.
	stalled atomic.Pointer[time.Time]

	// The last reading that was measured from; the monitor's own.
	at   time.Time
	from lsn.LSN
}

// reading notes that the replica stood at l at the time now, and that the
// primary had flushed up to flush.
func (p *pace) reading(l lsn.LSN, flush lsn.LSN, now time.Time) {
	switch {
	case l >= flush:
		// It has nothing to do: this says nothing about how fast it is.
		p.stalled.Store(nil)
		p.at, p.from = now, l
		return
	case p.at.IsZero() || l < p.from:
		p.at, p.from = now, l
		return
	case l > p.from:
		p.stalled.Store(nil)
	case p.stalled.Load() == nil:
		at := now // of its own: only what is stored is allocated
		p.stalled.Store(&at)
	}
	took := now.Sub(p.at)
	if took < paceWindow || l == p.from {
		return
	}
	rate := int64(float64(l-p.from) / took.Seconds())
	// Between two halvings the peak falls in a straight line.
	old := p.peak.Load()
	old -= int64(float64(old) / 2 * min(took.Seconds()/paceHalfLife.Seconds(), 1))
	p.peak.Store(max(rate, old))
	p.at, p.from = now, l
}

// forget starts anew on another connection.
func (p *pace) forget() {
	p.peak.Store(0)
	p.stalled.Store(nil)
	p.at, p.from = time.Time{}, 0
}

// stands reports whether the replica has stood still for long, although there
// is something to replay.
func (p *pace) stands(now time.Time) bool {
	s := p.stalled.Load()
	return s != nil && now.Sub(*s) > paceStalled
}

// reaches reports whether a replica at have may be at target within left.
func (p *pace) reaches(have, target lsn.LSN, left time.Duration) bool {
	if p.stands(time.Now()) {
		return false
	}
	peak := p.peak.Load()
	if peak == 0 || target <= have || target-have <= paceNear {
		return true
	}
	return float64(target-have)/float64(peak) <= left.Seconds()
}
