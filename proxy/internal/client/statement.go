package client

import (
	"strconv"

	"github.com/pgroute/pgroute/internal/sqlclass"
)

// class is what we keep of a classification.
type class struct {
	access     sqlclass.Access
	tx         sqlclass.Tx
	iso        sqlclass.Isolation
	readOnly   bool
	mixed      bool
	time       bool // it may ask when the transaction began
	harmless   bool
	copyIn     bool
	cursor     bool // it opens a cursor for a read
	empty      bool // no statement at all
	setting    sqlclass.SettingKind
	dealloc    bool
	deallocAll bool
	sequence   bool // it names a sequence (nextval, setval)
	binds      sqlclass.Binds
	reason     sqlclass.Reason
	pinReason  string
	pins       sqlclass.Pins
	several    bool // more than one statement
	queries    bool // a group: not all of it is transaction control
}

// shows reports whether the client is shown something, and nothing is written, or
// whether what a cursor will show is decided.
func (c *class) shows() bool {
	return c.cursor || c.access == sqlclass.AccessRead && !c.empty && (c.tx == sqlclass.TxNone || c.queries)
}

// Statement is a prepared statement as text and parameter types, prepared when
// these had one meaning. It is interned in its event loop, so that clients
// share what a backend has prepared.
type Statement struct {
	key   statementKey
	id    uint64
	name  []byte // on backends
	rest  []byte // query text, terminator, parameter types as in a Parse
	class class
	hint  sqlclass.Hint // its level and policy; slices are not kept
	gen   uint64        // of the catalogue that class was made with
	refs  int
	// result is the type of its result as it was first described, 0 if it was
	// not. It was still that when sameSince changes of the catalogue were known,
	// and the catalogue was sameGen.
	result             uint64
	sameSince, sameGen uint64
}

// meaning is what the names in a text stood for when a client prepared it. A
// Parse is analysed at once, so who prepares a text after DDL, or with another
// search_path, must not get what somebody prepared before: types may differ,
// and the server refuses a plan whose result has changed its type.
type meaning struct {
	catalogue, ddl uint64
	path, role     string // the role decides what $user is
	own            uint64 // not 0: nobody shares it
}

// statementKey is what makes two statements one.
type statementKey struct {
	rest string
	meaning
}

// meaning returns what a text that is prepared now means.
func (m *Machine) meaning() meaning {
	_, gen, _ := m.db.Catalogue()
	w := meaning{catalogue: gen, ddl: m.db.Changes()}
	w.path, _ = m.want.Value("search_path")
	w.role, _ = m.want.Value("role")
	if m.pins&^sqlclass.PinsApart != 0 || m.txNames || m.c.names { // nobody follows what is set now
		m.env.own++
		w.own = m.env.own
	}
	return w
}

// unclassified is the gen of a statement without a class that holds for all.
const unclassified = ^uint64(0)

// text returns the SQL source.
func (s *Statement) text() []byte {
	for i, c := range s.rest {
		if c == 0 {
			return s.rest[:i]
		}
	}
	return s.rest
}

// Statements interns prepared statements for one event loop. It is bounded:
// statements that no client holds leave when there are more than the bound, or
// when their texts are longer than maxIdleBytes. Those that are held count
// against their clients.
type Statements struct {
	byKey     map[statementKey]*Statement
	lastID    uint64
	idle      int
	idleBytes int
	max       int
}

const maxIdleBytes = 16 << 20

// NewStatements returns an interner that keeps at most max statements that no
// client refers to.
func NewStatements(max int) *Statements {
	return &Statements{byKey: make(map[statementKey]*Statement), max: max}
}

// hold returns the statement for rest with this meaning and counts a
// reference. fresh is true if it was not known: its class is not set then.
func (t *Statements) hold(rest []byte, what meaning) (s *Statement, fresh bool) {
	key := statementKey{string(rest), what}
	if mutantShortKeys() {
		key.rest = key.rest[:min(len(key.rest), 12)]
	}
	if s = t.byKey[key]; s != nil {
		if s.refs == 0 {
			t.idle--
			t.idleBytes -= s.size()
		}
		s.refs++
		return s, false
	}
	t.lastID++
	s = &Statement{key: key, id: t.lastID, name: backendName(t.lastID), rest: append([]byte(nil), rest...), refs: 1, gen: unclassified}
	t.byKey[s.key] = s
	return s, true
}

// release drops a reference.
func (t *Statements) release(s *Statement) {
	s.refs--
	if s.refs > 0 {
		return
	}
	t.idle++
	t.idleBytes += s.size()
	if t.idle <= t.max && t.idleBytes <= maxIdleBytes {
		return
	}
	for k, old := range t.byKey {
		if old.refs == 0 {
			delete(t.byKey, k)
			t.idle--
			t.idleBytes -= old.size()
			if t.idle <= t.max*3/4 && t.idleBytes <= maxIdleBytes*3/4 {
				return
			}
		}
	}
}

// size is what s takes in memory, roughly: its text is there twice.
func (s *Statement) size() int { return 2*len(s.rest) + 256 }

// namePrefix begins the names of the statements that we prepare on backends.
const namePrefix = "pgroute_"

func backendName(id uint64) []byte { return strconv.AppendUint([]byte(namePrefix), id, 10) }

// named is one entry of a client's prepared statements.
type named struct {
	name string
	stmt *Statement
}

// names are a client's named prepared statements: a short list is cheaper
// than a map in memory and in time, a long one becomes a map.
type names struct {
	list  []named
	byID  map[string]*Statement
	bytes int // of the statements
}

const namesInList = 8

func (n *names) find(name []byte) *Statement {
	if n.byID != nil {
		return n.byID[string(name)]
	}
	for i := range n.list {
		if n.list[i].name == string(name) {
			return n.list[i].stmt
		}
	}
	return nil
}

func (n *names) add(name string, s *Statement) {
	n.bytes += s.size()
	if n.byID != nil {
		n.byID[name] = s
		return
	}
	if len(n.list) < namesInList {
		n.list = append(n.list, named{name, s})
		return
	}
	n.byID = make(map[string]*Statement, 2*namesInList)
	for _, e := range n.list {
		n.byID[e.name] = e.stmt
	}
	n.list = nil
	n.byID[name] = s
}

func (n *names) remove(name []byte) *Statement {
	if n.byID != nil {
		s := n.byID[string(name)]
		if s != nil {
			n.bytes -= s.size()
		}
		delete(n.byID, string(name))
		return s
	}
	for i := range n.list {
		if n.list[i].name == string(name) {
			s := n.list[i].stmt
			n.bytes -= s.size()
			n.list[i] = n.list[len(n.list)-1]
			n.list = n.list[:len(n.list)-1]
			return s
		}
	}
	return nil
}

// nameOf returns a name by which the client knows s.
func (n *names) nameOf(s *Statement) (string, bool) {
	for i := range n.list {
		if n.list[i].stmt == s {
			return n.list[i].name, true
		}
	}
	for name, st := range n.byID {
		if st == s {
			return name, true
		}
	}
	return "", false
}

func (n *names) len() int { return len(n.list) + len(n.byID) }

func (n *names) each(f func(*Statement)) {
	for _, e := range n.list {
		f(e.stmt)
	}
	for _, s := range n.byID {
		f(s)
	}
	n.list, n.byID, n.bytes = nil, nil, 0
}
