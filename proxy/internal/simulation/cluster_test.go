package simulation

import (
	"fmt"
	"time"

	"github.com/pgroute/pgroute/lsn"
)

const (
	// pageSize is the servers' wal_block_size: small, so that records often end
	// with their page.
	pageSize   = 1024
	pageHeader = 24
	firstLSN   = lsn.LSN(100 * pageSize)
	systemID   = 77
)

// record is one record of the WAL: a commit, or what nobody can see.
// Servers that share a history share its records.
type record struct {
	end    lsn.LSN
	writes set
	xid    uint64 // 0: of no transaction
	commit bool   // or else the transaction has only worked, or aborted
}

// server is one PostgreSQL server. A life of it ends with every restart.
type server struct {
	w    *world
	i    int
	name string
	dice dice

	up          bool
	frozen      bool // SIGSTOP: it takes no step
	cut         bool // the proxy's packets do not arrive, nor do its own there
	standby     bool
	life        uint64
	clock       clock
	incarnation int64
	postmaster  int64
	dials       uint64
	probeCuts   uint64        // how often the monitor connections were cut
	changed     chan struct{} // closed when frozen, cut, up or life change
	slow        time.Duration // what a probe takes longer

	timeline  uint32
	begin     lsn.LSN
	past      []lsn.Switch
	recovered lsn.LSN

	wal     []*record
	logged  set // what is in wal
	flushed int // records of wal that are on its disk
	xacts   xacts
	turn    int // which life of a primary this is
	stall   time.Duration

	upstream *server
	applied  int     // records of wal that readers see
	reported lsn.LSN // the replay position that it tells
	visible  set
	paused   bool
	lag      time.Duration

	receiving, applying bool // is due
	conns               []*conn
}

func newServer(w *world, i int, name string, standby bool) *server {
	s := &server{w: w, i: i, name: name, dice: roll(w.seed, 1, uint64(i)), up: true, standby: standby, life: 1,
		clock: newClock(w.seed, i), timeline: 1, changed: make(chan struct{})}
	s.incarnation = s.clock.begin(0)
	s.postmaster = s.incarnation
	s.recall()
	return s
}

// end is where the server's WAL ends.
func (s *server) end() lsn.LSN {
	if len(s.wal) == 0 {
		return firstLSN
	}
	return s.wal[len(s.wal)-1].end
}

func (s *server) endOf(n int) lsn.LSN {
	if n == 0 {
		return firstLSN
	}
	return s.wal[n-1].end
}

// insert is what pg_current_wal_insert_lsn says: where the next record begins.
func (s *server) insert() lsn.LSN {
	if e := s.end(); e%pageSize != 0 {
		return e
	}
	return s.end() + pageHeader
}

// alive reports whether the server takes steps.
func (s *server) alive() bool { return s.up && !s.frozen }

// reachable reports whether the proxy and the server can exchange packets that
// somebody acts upon.
func (s *server) reachable() bool { return s.up && !s.frozen && !s.cut }

// stir wakes whoever waits for the server to change.
func (s *server) stir() {
	close(s.changed)
	s.changed = make(chan struct{})
	for _, c := range s.conns {
		c.resume()
	}
}

// log appends a record: a commit if it has writes. fit makes it end exactly with
// its page.
func (s *server) log(xid uint64, writes set, fit bool) *record {
	begin := s.insert()
	size := lsn.LSN(32 + 8*s.dice.n(20))
	left := pageSize - begin%pageSize
	switch {
	case fit:
		size = left
	case size > left:
		size += pageHeader
	}
	r := &record{end: begin + size, writes: writes, xid: xid, commit: !writes.empty()}
	s.wal = append(s.wal[:len(s.wal):len(s.wal)], r)
	s.logged.join(writes)
	if s.w.claimants() > 1 {
		s.w.exempt.join(writes)
	}
	return r
}

// flush writes everything that is inserted to disk, from where standbys get it.
func (s *server) flush() {
	if s.flushed == len(s.wal) {
		return
	}
	s.flushed = len(s.wal)
	for _, o := range s.w.servers {
		if o.upstream == s {
			o.receive()
		}
	}
}

// receive makes a standby ask its upstream for what is new.
func (s *server) receive() {
	if s.receiving || !s.standby {
		return
	}
	s.receiving = true
	s.w.after(time.Duration(50_000+s.dice.n(300_000)), func() {
		s.receiving = false
		u := s.upstream
		if !s.streams() || len(s.wal) >= u.flushed {
			return
		}
		s.wal = append(s.wal[:len(s.wal):len(s.wal)], u.wal[len(s.wal):u.flushed]...)
		s.timeline, s.begin, s.past = u.timeline, u.begin, u.past
		for _, r := range s.wal[s.flushed:] {
			s.logged.join(r.writes)
		}
		s.flushed = len(s.wal)
		s.apply()
	})
}

// streams reports whether the server receives WAL: its upstream answers, and has
// all that the server has.
func (s *server) streams() bool {
	u := s.upstream
	return s.alive() && s.standby && u != nil && u.alive() && s.follows(u)
}

// apply makes a standby replay what it has received: some of it, in some time.
func (s *server) apply() {
	if !s.standby || s.applying || s.paused || s.applied >= len(s.wal) {
		return
	}
	s.applying = true
	life := s.life
	s.w.after(s.lag+time.Duration(20_000+s.dice.n(400_000)), func() {
		s.applying = false
		if s.life != life {
			s.apply()
			return
		}
		if !s.alive() || s.paused || s.applied >= len(s.wal) {
			return
		}
		n := s.applied + 1 + s.dice.n(len(s.wal)-s.applied)
		for _, r := range s.wal[s.applied:n] {
			s.visible.join(r.writes)
		}
		// Readers see the last record before the position says so.
		s.applied, s.reported = n, s.endOf(n-1)
		s.w.tracef(s.name, "has replayed up to %s: %s", s.endOf(n), s.wal[n-1].writes)
		s.w.after(time.Duration(5_000+s.dice.n(300_000)), func() {
			if s.life == life && s.standby && s.applied == n {
				s.reported = s.endOf(n)
			}
			s.apply()
		})
	})
}

// restart begins another life with the records that are left.
func (s *server) restart(applied int, newPostmaster bool) {
	s.life++
	if s.clock.dice.one(3) {
		s.clock.skew += s.clock.dice.step()
	}
	s.incarnation = s.clock.begin(s.w.now)
	if newPostmaster {
		s.postmaster = s.incarnation
	}
	s.up, s.frozen = true, false
	s.applied = applied
	s.reported = s.endOf(applied)
	s.recall()
	s.logged, s.visible = set{}, set{}
	for i, r := range s.wal {
		s.logged.join(r.writes)
		if i < applied {
			s.visible.join(r.writes)
		}
	}
	s.hangUp()
	s.stir()
	for _, o := range s.w.servers {
		if o.upstream == s {
			o.receive()
		}
	}
}

// hangUp ends all client connections: what the server had said still arrives.
func (s *server) hangUp() {
	for _, c := range s.conns {
		c.serverGone()
	}
	s.conns = nil
}

// kill ends the server. What was not flushed is lost.
func (s *server) kill() {
	if !s.up {
		return
	}
	s.life++
	s.up, s.frozen = false, false
	if n := len(s.wal) - s.flushed; n > 0 {
		s.w.tracef(s.name, "loses what it had not flushed")
		s.w.cover.asyncLost += n
	}
	s.wal = s.wal[:s.flushed:s.flushed]
	s.logged = set{}
	for _, r := range s.wal {
		s.logged.join(r.writes)
	}
	s.hangUp()
	s.stir()
}

// start brings a server back. Who leads recovers on the timeline that it had;
// anyone else follows, but for a zombie, which does not know better.
func (s *server) start(back int, zombie, newPostmaster bool) {
	if s.up {
		return
	}
	switch {
	case s.w.legit == s || zombie && !s.standby:
		// Beside a zombie nobody knows what the rightful primary has.
		s.w.exempt.join(s.w.legit.logged.without(s.logged))
		s.recovered = s.end()
		s.restart(len(s.wal), newPostmaster)
		s.log(0, set{}, false)
		s.flushed = len(s.wal)
		s.w.tracef(s.name, "has recovered up to %s and takes writes", s.recovered)
		s.w.cover.recoveries++
		s.w.turnovers++
		s.turn = s.w.turnovers
	case s.follows(s.w.legit):
		s.standby, s.upstream = true, s.w.legit
		s.restart(max(0, min(s.applied, len(s.wal))-back), newPostmaster)
		s.w.tracef(s.name, "is back as a replica at %s", s.reported)
		s.receive()
		s.apply()
	default:
		s.rebuild()
	}
}

// follows reports whether all of the server's WAL is part of o's.
func (s *server) follows(o *server) bool {
	n := len(s.wal)
	return n <= o.flushed && (n == 0 || o.wal[n-1] == s.wal[n-1])
}

// rebuild makes the server a copy of the primary that follows it.
func (s *server) rebuild() {
	p := s.w.legit
	if s == p || !p.up {
		return
	}
	s.standby, s.upstream = true, p
	s.wal = p.wal[:p.flushed:p.flushed]
	s.flushed = len(s.wal)
	s.timeline, s.begin, s.past, s.recovered = p.timeline, p.begin, p.past, 0
	s.restart(len(s.wal), true)
	s.w.tracef(s.name, "was rebuilt as a replica of %s at %s", p.name, s.reported)
	s.w.cover.rebuilds++
}

// follow makes a standby stream from the primary.
func (s *server) follow() {
	p := s.w.legit
	switch {
	case s == p || !s.alive():
	case s.standby && s.upstream == p:
		s.receive()
	case s.standby && s.follows(p):
		s.upstream = p
		s.w.tracef(s.name, "follows %s on timeline %d", p.name, p.timeline)
		s.receive()
	default:
		s.rebuild()
	}
}

// promote makes a standby the primary, with whatever it has received. No manager
// promotes who has left the line: what was lost would be there again.
func (s *server) promote() bool {
	if !s.alive() || !s.standby || !s.follows(s.w.legit) {
		return false
	}
	w := s.w
	lost := w.legit.logged.without(s.logged)
	s.visible, s.applied = s.logged, len(s.wal)
	s.recall()
	s.recovered = s.end()
	s.past = append(s.past[:len(s.past):len(s.past)], lsn.Switch{Timeline: s.timeline, Begin: s.begin, End: s.recovered})
	if s.timeline++; s.upstream != nil && s.upstream.alive() {
		s.timeline = max(s.timeline, s.upstream.timeline+1) // it has heard of that one
	}
	s.begin = s.recovered
	s.standby, s.upstream = false, nil
	s.log(0, set{}, false)
	s.flushed = len(s.wal)
	w.legit = s
	w.cover.failovers++
	w.turnovers++
	s.turn = w.turnovers
	w.tracef(s.name, "is promoted: timeline %d begins at %s, without %s", s.timeline, s.begin, lost.and(w.acked))
	if !lost.and(w.acked).empty() {
		w.cover.lossy++
	}
	for _, c := range s.conns {
		c.promoted()
	}
	return true
}

// claimants counts the servers that take writes, or would if they were let.
func (w *world) claimants() int {
	n := 0
	for _, s := range w.servers {
		if s.up && !s.standby {
			n++
		}
	}
	return n
}

func (s *server) String() string {
	role := "primary"
	if s.standby {
		role = "replica"
	}
	return fmt.Sprintf("%s (%s, timeline %d)", s.name, role, s.timeline)
}
