package client_test

import (
	"fmt"
	"maps"
	"strings"

	"github.com/pgroute/pgroute/proxy/internal/wire"
)

// pgmodel is as much of a PostgreSQL server as a pooler can get wrong: it takes
// the bytes of a connection and answers them as the backend of that connection
// would. It knows settings, transactions and savepoints, prepared statements,
// portals, temporary tables, LISTEN and COPY, in the few statements of the
// model's vocabulary.
type pgmodel struct {
	replica bool
	in, out []byte

	reset   map[string]string // what RESET takes back to
	now     session
	begun   *session // as it was when the transaction began; nil: there is none
	points  []savepoint
	tx      byte
	block   bool // the transaction was begun by BEGIN
	ro      bool
	named   map[string]string
	unnamed *string
	portals map[string]*portal
	skip    bool // to the Sync
	copyIn  bool
	simple  bool // the COPY came by a Query
	ended   bool

	// ran is told of each text of a client that is run, wrote of each INSERT
	// among them, committed of the end of a transaction that has written.
	ran, wrote func(text string)
	committed  func()
	dirty      bool
	trouble    string // the SQLSTATE with which the next read fails
}

// session is what a transaction may take back.
type session struct {
	cur, kept    map[string]string // in force; in force once SET LOCAL has ended
	temp, listen map[string]bool
}

type savepoint struct {
	name string
	was  session
}

type portal struct {
	sql  string
	done bool
}

// settingsOf are the settings that the model knows.
var settingsOf = []string{"app.x", "role", "timezone", "work_mem"}

func newPGModel(replica bool, startup map[string]string) *pgmodel {
	p := &pgmodel{replica: replica, tx: 'I', reset: map[string]string{"work_mem": "4MB", "timezone": "UTC", "role": "none", "app.x": ""},
		portals: map[string]*portal{}, named: map[string]string{}, wrote: func(string) {}, ran: func(string) {}, committed: func() {}}
	maps.Copy(p.reset, startup)
	p.now = session{maps.Clone(p.reset), maps.Clone(p.reset), map[string]bool{}, map[string]bool{}}
	return p
}

func (s session) clone() session {
	return session{maps.Clone(s.cur), maps.Clone(s.kept), maps.Clone(s.temp), maps.Clone(s.listen)}
}

// input takes what the connection has sent.
func (p *pgmodel) input(b []byte) {
	p.in = append(p.in, b...)
	for !p.ended {
		typ, total, ok := wire.Header(p.in)
		if !ok || total > len(p.in) {
			return
		}
		body := p.in[wire.HeaderLen:total]
		p.in = p.in[total:]
		p.message(typ, body)
	}
}

func (p *pgmodel) message(typ byte, body []byte) {
	if p.copyIn {
		p.copying(typ)
		return
	}
	if p.skip && typ != 'S' {
		return
	}
	switch typ {
	case 'Q':
		sql, _ := cut(body)
		p.query(sql)
	case 'P':
		p.parse(body)
	case 'B':
		p.bind(body)
	case 'D':
		p.describe(body[0], string(body[1:len(body)-1]))
	case 'E':
		name, _ := cut(body)
		p.execute(name)
	case 'C':
		if name := string(body[1 : len(body)-1]); body[0] == 'P' {
			delete(p.portals, name)
		} else if name == "" {
			p.unnamed = nil
		} else {
			delete(p.named, name)
		}
		p.out = wire.AppendEmpty(p.out, '3')
	case 'S':
		p.sync()
	case 'X':
		p.ended = true
	}
}

func (p *pgmodel) copying(typ byte) {
	switch typ {
	case 'c':
		p.copyIn = false
		p.out = wire.AppendCommandComplete(p.out, "COPY 1")
	case 'f':
		p.copyIn = false
		p.fail("57014", "COPY failed")
		p.skip = !p.simple
	default:
		return
	}
	if p.simple {
		p.finish()
	}
}

func (p *pgmodel) sync() {
	p.skip = false
	p.finish()
}

// finish ends an implicit transaction and says ReadyForQuery.
func (p *pgmodel) finish() {
	if !p.block {
		p.end(p.tx != 'E')
	}
	p.out = wire.AppendReady(p.out, p.tx)
}

// start begins the transaction that every statement needs.
func (p *pgmodel) start() {
	if p.begun == nil {
		was := p.now.clone()
		p.begun = &was
	}
}

func (p *pgmodel) end(commit bool) {
	if p.begun != nil && !commit {
		p.now = *p.begun
	}
	if p.dirty && commit {
		p.committed()
	}
	p.dirty = false
	p.now.cur = maps.Clone(p.now.kept)
	p.begun, p.points, p.block, p.ro, p.tx = nil, nil, false, false, 'I'
	clear(p.portals)
}

func (p *pgmodel) fail(code, text string) {
	p.out = wire.AppendReport(p.out, &wire.Report{Severity: "ERROR", Code: code, Message: text})
	p.tx = 'E'
}

// query runs the statements of a Query, up to the first that fails.
func (p *pgmodel) query(sql string) {
	p.unnamed = nil
	delete(p.portals, "")
	list := strings.Split(sql, ";")
	none := true
	for _, one := range list {
		one = strings.TrimSpace(one)
		if one == "" {
			continue
		}
		none = false
		if !p.run(one, true) {
			break
		}
		if p.copyIn {
			p.simple = true
			return
		}
	}
	if none {
		p.out = wire.AppendEmpty(p.out, 'I')
	}
	p.finish()
}

func (p *pgmodel) parse(body []byte) {
	name, rest := cut(body)
	sql, _ := cut(rest)
	if name == "" {
		p.unnamed = nil // also when the new one is refused (postgres.c, exec_parse_message)
	}
	switch _, exists := p.named[name]; {
	case p.tx == 'E' && !ends(sql) && sql != "":
		p.refuse("25P02", "current transaction is aborted")
		return
	case exists:
		p.refuse("42P05", fmt.Sprintf("prepared statement %q already exists", name))
		return
	}
	p.start()
	if name == "" {
		p.unnamed = &sql
	} else {
		p.named[name] = sql
	}
	p.out = wire.AppendEmpty(p.out, '1')
}

// refuse fails a message of the extended protocol: what follows is skipped.
func (p *pgmodel) refuse(code, text string) {
	p.fail(code, text)
	p.skip = true
}

func (p *pgmodel) statement(name string) (string, bool) {
	if name != "" {
		sql, ok := p.named[name]
		if !ok {
			p.refuse("26000", fmt.Sprintf("prepared statement %q does not exist", name))
		}
		return sql, ok
	}
	if p.unnamed == nil {
		p.refuse("26000", "unnamed prepared statement does not exist")
		return "", false
	}
	return *p.unnamed, true
}

func (p *pgmodel) bind(body []byte) {
	name, rest := cut(body)
	from, _ := cut(rest)
	sql, ok := p.statement(from)
	if !ok {
		return
	}
	if p.tx == 'E' && !ends(sql) && sql != "" {
		p.refuse("25P02", "current transaction is aborted")
		return
	}
	if p.portals[name] != nil && name != "" {
		p.refuse("42P03", "cursor already exists")
		return
	}
	p.start()
	p.portals[name] = &portal{sql: sql}
	p.out = wire.AppendEmpty(p.out, '2')
}

func (p *pgmodel) describe(what byte, name string) {
	sql := ""
	if what == 'S' {
		var ok bool
		if sql, ok = p.statement(name); !ok {
			return
		}
	} else if o := p.portals[name]; o != nil {
		sql = o.sql
	} else {
		p.refuse("34000", "portal does not exist")
		return
	}
	rows := returnsRows(sql)
	if p.tx == 'E' && rows {
		p.refuse("25P02", "current transaction is aborted")
		return
	}
	p.start()
	if what == 'S' {
		p.out = append(p.out, message('t', "\x00\x00")...)
	}
	if rows {
		p.out = wire.AppendTextColumns(p.out, 0, "c")
	} else {
		p.out = wire.AppendEmpty(p.out, 'n')
	}
}

func (p *pgmodel) execute(name string) {
	o := p.portals[name]
	switch {
	case o == nil:
		p.refuse("34000", "portal does not exist")
	case o.sql == "":
		p.out = wire.AppendEmpty(p.out, 'I')
	case p.tx == 'E' && !ends(o.sql):
		p.refuse("25P02", "current transaction is aborted")
	case o.done && !returnsRows(o.sql):
		p.refuse("55000", "portal cannot be run")
	case o.done:
		p.out = wire.AppendCommandComplete(p.out, "SELECT 0")
	default:
		o.done = true
		if !p.run(o.sql, false) {
			p.skip = true
		} else if p.copyIn {
			p.simple = false
		}
	}
}
