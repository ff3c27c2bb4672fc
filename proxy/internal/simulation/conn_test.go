package simulation

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/pgroute/pgroute/internal/sqlstate"
	"github.com/pgroute/pgroute/proxy/internal/wire"
)

// conn is a server connection, seen from the server: what the proxy sends
// arrives after a while and in order, and so do the answers.
type conn struct {
	w       *world
	s       *server
	be      *lease // the proxy's end
	dice    dice
	name    string
	replica bool // it logged in with default_transaction_read_only = on

	in       []byte
	busy     bool // a commit waits for the disk or for a standby
	serverUp bool // the server's process is there
	proxyUp  bool // the proxy's socket is open
	upAt     time.Duration
	downAt   time.Duration
	said     [][]byte // and not arrived

	tx       byte
	ro, rr   bool
	snapshot *answer
	pending  set
	async    bool
	wrote    bool
	xid      uint64 // of the transaction, 0 if it has none
	turn     int    // which life of a primary it was connected to
}

// answer is what one read was shown, and what was true then.
type answer struct {
	s       *server
	at      time.Duration
	visible set // committed, and shown
	own     set // written by the same transaction
	legit   set // what the rightful primary had in its WAL
	acked   set // what was acknowledged to anyone
	exempt  set // what was written while two servers took writes
	primary bool
}

func (c *conn) trip() time.Duration { return time.Duration(20_000 + c.dice.n(180_000)) }

// send is the proxy's write.
func (c *conn) send(data []byte) {
	data = append([]byte(nil), data...)
	c.upAt = max(c.w.now+c.trip(), c.upAt+1)
	c.w.at(c.upAt, func() {
		if !c.serverUp {
			return
		}
		c.in = append(c.in, data...)
		c.resume()
	})
}

// say is the server's write.
func (c *conn) say(data []byte) {
	if data != nil { // nil is the end
		data = append([]byte(nil), data...)
	}
	c.said = append(c.said, data)
	c.downAt = max(c.w.now+c.trip(), c.downAt+1)
	c.w.at(c.downAt, c.arrive)
}

// arrive brings what was said to the proxy, in order, once nothing is in the way.
func (c *conn) arrive() {
	if len(c.said) == 0 || !c.proxyUp {
		return
	}
	if c.s.cut { // it is sent again until it arrives
		c.w.after(10*time.Millisecond+time.Duration(c.dice.n(1000)), c.arrive)
		return
	}
	data := c.said[0]
	c.said = c.said[1:]
	if data == nil {
		c.w.loop.serverGone(c.be)
	} else {
		c.w.loop.serverSays(c.be, data)
	}
}

// serverGone ends the server's side. What was said before arrives first.
func (c *conn) serverGone() {
	if c.serverUp {
		c.serverUp = false
		c.say(nil)
	}
}

// breaks cuts the connection: answers that are under way do not arrive. What the
// proxy had sent is lost as well, or still runs.
func (c *conn) breaks(runs bool) {
	if !c.proxyUp {
		return
	}
	if !runs {
		c.leave()
	}
	c.w.after(c.trip(), func() {
		if c.proxyUp {
			c.w.loop.serverGone(c.be)
		}
	})
}

// close is the proxy's end of the connection. The server notices when it has
// run what had arrived.
func (c *conn) close() {
	c.proxyUp = false
	c.upAt = max(c.w.now+c.trip(), c.upAt+1)
	c.w.at(c.upAt, c.closed)
}

func (c *conn) closed() {
	switch {
	case c.busy || !c.serverUp:
	case c.s.cut || c.s.frozen:
		c.w.after(10*time.Millisecond+time.Duration(c.dice.n(1000)), c.closed)
	default:
		c.leave()
	}
}

// leave ends the server's process, which aborts what it has not committed.
func (c *conn) leave() {
	if !c.serverUp {
		return
	}
	c.serverUp = false
	if !c.busy {
		c.abort()
	}
}

// abort ends a transaction that has written without committing it.
func (c *conn) abort() {
	s, xid := c.s, c.xid
	if c.xid = 0; xid == 0 {
		return
	}
	c.w.alive(s, s.life, time.Duration(1000+s.dice.n(20_000)), func() {
		if !s.standby {
			s.logQuietly(xid)
			s.ended(xid)
		}
	})
}

// logQuietly writes a record that nobody waits for.
func (s *server) logQuietly(xid uint64) {
	s.log(xid, set{}, false)
	s.w.alive(s, s.life, 20*time.Millisecond+time.Duration(s.dice.n(1_000_000)), s.flush)
}

func (c *conn) promoted() {
	if c.serverUp {
		c.say(wire.AppendParameterStatus(nil, "in_hot_standby", "off"))
	}
}

// resume runs what has arrived.
func (c *conn) resume() {
	for c.serverUp && !c.busy && c.s.alive() && !c.s.cut {
		typ, total, ok := wire.Header(c.in)
		if !ok || total > len(c.in) {
			return
		}
		body := c.in[wire.HeaderLen:total]
		c.in = c.in[total:]
		switch typ {
		case 'Q':
			sql, _, _ := wire.CString(body)
			c.query(string(sql))
		case 'F':
			c.call(int(binary.BigEndian.Uint32(body)))
		case 'X':
			c.leave()
		default:
			c.w.failf("the proxy sent a %c, which nobody asked it for", typ)
			return
		}
	}
}

func (c *conn) fails(code, message string) {
	b := wire.AppendReport(nil, &wire.Report{Severity: "ERROR", Code: code, Message: message})
	if c.tx == 'T' {
		c.tx = 'E'
		c.abort()
	}
	c.say(wire.AppendReady(b, c.tx))
}

func (c *conn) done(tag string) {
	c.say(wire.AppendReady(wire.AppendCommandComplete(nil, tag), c.tx))
}

// query runs a statement.
func (c *conn) query(sql string) {
	if i := strings.Index(sql, "*/ "); i >= 0 {
		sql = sql[i+3:]
	}
	c.w.tracef(c.s.name, "runs %s for %s", sql, c.name)
	switch {
	case sql == "rollback" || sql == "commit" && c.tx == 'E':
		c.end()
		c.done("ROLLBACK")
	case sql == "commit":
		if c.tx == 'T' && c.wrote {
			c.commit(c.pending, c.async, false, "COMMIT")
			return
		}
		c.end()
		c.done("COMMIT")
	case c.tx == 'E':
		c.fails("25P02", "current transaction is aborted, commands ignored until end of transaction block")
	case strings.HasPrefix(sql, "begin"):
		c.tx = 'T'
		c.ro = strings.Contains(sql, "read only") || c.replica
		c.rr = strings.Contains(sql, "repeatable read")
		c.done("BEGIN")
	case sql == "select v from t":
		c.read()
	case strings.HasPrefix(sql, "insert"):
		c.insert(sql)
	default:
		c.w.failf("nobody knows the statement %q", sql)
	}
}

// call answers one of the calls that ask for a transaction.
func (c *conn) call(function int) {
	if c.tx == 'E' {
		c.fails("25P02", "current transaction is aborted, commands ignored until end of transaction block")
		return
	}
	var b []byte
	switch {
	case function == xidFunction && c.xid == 0:
		b = []byte{'V', 0, 0, 0, 8, 0xff, 0xff, 0xff, 0xff}
	case function == xidFunction:
		b = binary.BigEndian.AppendUint64([]byte{'V', 0, 0, 0, 16, 0, 0, 0, 8}, c.xid)
	case function == insertFunction:
		b = binary.BigEndian.AppendUint64([]byte{'V', 0, 0, 0, 16, 0, 0, 0, 8}, uint64(c.s.insert()))
	case function == flushFunction:
		b = binary.BigEndian.AppendUint64([]byte{'V', 0, 0, 0, 16, 0, 0, 0, 8}, uint64(c.s.endOf(c.s.flushed)))
	default:
		c.w.failf("nobody knows the function %d", function)
	}
	c.say(wire.AppendReady(b, c.tx))
}

// The functions pg_current_xact_id_if_assigned, pg_current_wal_insert_lsn and
// pg_current_wal_flush_lsn.
const (
	xidFunction    = 5060
	insertFunction = 2852
	flushFunction  = 3330
)

func (c *conn) end() {
	c.abort()
	c.tx, c.ro, c.rr, c.snapshot, c.pending, c.wrote, c.async = 'I', false, false, nil, set{}, false, false
}

func (c *conn) read() {
	if c.s.standby && c.tx == 'T' && !c.ro && c.replica == false {
		c.w.failf("a read-write transaction runs on the replica %s", c.s.name)
	}
	w := c.w
	x := answer{s: c.s, at: w.now, visible: c.s.visible, own: c.pending, legit: w.legit.logged, acked: w.acked, exempt: w.exempt, primary: !c.s.standby}
	if c.rr {
		if c.snapshot == nil {
			first := x
			c.snapshot = &first
		}
		x.visible, x.acked = c.snapshot.visible, c.snapshot.acked
	}
	w.answers = append(w.answers, x)
	w.tracef(c.s.name, "shows %s to %s", x.visible, c.name)
	b := wire.AppendTextColumns(nil, 0, "v")
	b = wire.AppendTextRow(b, strconv.Itoa(len(w.answers)-1))
	b = wire.AppendCommandComplete(b, "SELECT 1")
	c.say(wire.AppendReady(b, c.tx))
}

// insert runs "insert into t values (17)", with "async" or "fit" behind it.
func (c *conn) insert(sql string) {
	_, text, _ := strings.Cut(sql, "(")
	text, options, _ := strings.Cut(text, ")")
	id, err := strconv.Atoi(text)
	if err != nil {
		c.w.failf("a write arrived as %q", sql)
		return
	}
	x := &c.w.writes[id]
	if c.s.standby || c.ro || c.replica && c.tx == 'I' {
		c.w.cover.refusedWrites++
		c.fails(sqlstate.ReadOnlySQLTransaction, "cannot execute INSERT in a read-only transaction")
		return
	}
	if x.ran++; x.ran > 1 {
		c.w.failf("w%d of %s is run twice (I5)", id, x.by)
	}
	x.on = c.s
	async, fit := strings.Contains(options, "async"), strings.Contains(options, "fit")
	if c.xid == 0 {
		c.xid = c.s.assign()
	}
	if c.tx == 'T' {
		c.s.logQuietly(c.xid)
		c.pending.add(id)
		c.wrote, c.async = true, c.async || async
		c.done("INSERT 0 1")
		return
	}
	var writes set
	writes.add(id)
	c.commit(writes, async, fit, "INSERT 0 1")
}

// commit writes a commit record, and answers when it has to be seen by all.
func (c *conn) commit(writes set, async, fit bool, tag string) {
	s := c.s
	r := s.log(c.xid, writes, fit)
	c.w.tracef(s.name, "commits %s at %s", writes, r.end)
	life := s.life
	c.busy = true
	shown := func() {
		if s.life != life || s.standby {
			return // it has died meanwhile
		}
		s.visible.join(writes)
		s.ended(c.xid)
		c.busy, c.xid = false, 0
		c.end()
		c.done(tag)
		if !c.proxyUp {
			c.serverUp = false
		}
		c.resume()
	}
	if async {
		c.w.cover.asyncCommits++
		c.w.alive(s, life, 20*time.Millisecond+time.Duration(s.dice.n(1_000_000)), s.flush)
		c.w.alive(s, life, time.Duration(1000+s.dice.n(5000)), shown)
		return
	}
	c.w.alive(s, life, time.Duration(30_000+s.dice.n(400_000)), func() {
		s.flush()
		// The commit is on its way to the standbys. Here nobody sees it yet.
		c.w.alive(s, life, s.stall+time.Duration(2_000+s.dice.n(30_000)), shown)
	})
}

// alive runs f after d, if the server is then in the same life; while it is
// frozen, f waits.
func (w *world) alive(s *server, life uint64, d time.Duration, f func()) {
	w.after(d, func() {
		switch {
		case s.life != life || !s.up:
		case s.frozen:
			w.alive(s, life, time.Millisecond+time.Duration(s.dice.n(100_000)), f)
		default:
			f()
		}
	})
}

func (a *answer) String() string {
	return fmt.Sprintf("%s at %s showed %s", a.s.name, stamp(a.at), a.visible)
}
