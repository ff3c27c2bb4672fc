package simulation

import "time"

// happen carries out one event. What makes no sense now does nothing, so that
// any part of a schedule is a schedule.
func (w *world) happen(e *event) {
	switch e.op {
	case opRead, opWrite, opBegin, opBeginRead, opBeginRepeatable, opCommit, opRollback, opGive, opTake:
		a := w.apps[e.who]
		if e.op == opWrite {
			w.writes[e.id].by = a.name
		}
		a.want(e.statement())
		return
	case opEnter:
		w.cover.reconnects++
		w.apps[e.who].enter()
		return
	case opCancel:
		w.loop.cancel(w.apps[e.who].peer)
		return
	case opCutConn:
		if s := w.apps[e.who].peer.lease; s != nil {
			w.tracef("world", "%s breaks", s.conn.name)
			w.cover.cuts++
			s.conn.breaks(e.flag)
		}
		return
	case opOutside:
		w.outside(e)
		return
	case opName:
		w.tracef("world", "the manager names %s", w.legit.name)
		w.name()
		return
	case opSilence, opVoice:
		if w.plan.named {
			w.tracef("world", "%s", e)
			w.silent = e.op == opSilence
			w.cover.silences++
		}
		return
	}
	s := w.legit
	if e.who != primaryNow {
		s = w.servers[e.who]
	}
	w.tracef("world", "%s %s", e.op, s)
	switch e.op {
	case opCutProbes:
		s.probeCuts++
		w.noisy = w.now + 2*healthInterval
		s.stir()
	case opKill:
		if s.up {
			w.cover.kills++
			s.kill()
		}
	case opStart:
		s.start(e.n, e.flag, e.fit)
	case opPromote:
		s.promote()
	case opFollow:
		if !s.up {
			s.start(e.n, false, true)
		}
		s.follow()
	case opFreeze:
		if s.up {
			s.frozen = true
			w.cover.freezes++
		}
	case opThaw:
		s.frozen = false
		s.stir()
		s.receive()
		s.apply()
	case opCut:
		s.cut = true
		w.cover.partitions++
	case opMend:
		s.cut, s.frozen = false, false
		s.stir()
		s.receive()
		s.apply()
	case opPause:
		s.paused = true
	case opResume:
		s.paused = false
		s.apply()
	case opLag:
		s.lag = e.d
	case opStall:
		s.stall = e.d
	case opSlow:
		s.slow = e.d
	case opClock:
		s.clock.skew += e.d
		w.cover.steps++
	}
}

// outside is a write of somebody who does not use the proxy.
func (w *world) outside(e *event) {
	s := w.legit
	if !s.alive() || s.standby {
		return
	}
	var writes set
	writes.add(e.id)
	w.writes[e.id].by = "somebody"
	xid := s.assign()
	s.log(xid, writes, e.fit)
	life := s.life
	w.tracef("outside", "commits w%d on %s", e.id, s.name)
	w.alive(s, life, time.Duration(50_000+s.dice.n(300_000)), func() {
		if s.standby {
			return
		}
		if !e.flag {
			s.flush()
		}
		s.visible.join(writes)
		s.ended(xid)
		w.after(time.Duration(50_000), func() {
			w.tracef("outside", "w%d is acknowledged", e.id)
			w.acknowledge(writes)
		})
	})
}
