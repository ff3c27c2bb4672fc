package proxy_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/proxy"
	"github.com/pgroute/pgroute/proxy/internal/wire"
)

// peer is a client that speaks raw messages.
type peer struct {
	conn   net.Conn
	params map[string]string
	pid    uint32
	secret []byte
}

// login opens a raw connection; the server must trust the user.
func login(addr, user, database string, params ...string) (*peer, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	p := &peer{conn: conn, params: map[string]string{}}
	b := []byte{0, 0, 0, 0, 0, 3, 0, 0}
	for _, s := range append([]string{"user", user, "database", database}, params...) {
		b = append(append(b, s...), 0)
	}
	b = append(b, 0)
	binary.BigEndian.PutUint32(b, uint32(len(b)))
	if _, err := conn.Write(b); err != nil {
		return nil, err
	}
	for {
		m, err := p.next()
		if err != nil {
			conn.Close()
			return nil, err
		}
		switch m.typ {
		case 'S':
			name, rest, _ := wire.CString(m.body)
			value, _, _ := wire.CString(rest)
			p.params[string(name)] = string(value)
		case 'K':
			p.pid, p.secret = binary.BigEndian.Uint32(m.body), m.body[4:]
		case 'E':
			conn.Close()
			return nil, fmt.Errorf("refused: %s", m)
		case 'Z':
			return p, nil
		}
	}
}

// message is one message of a server.
type message struct {
	typ  byte
	body []byte
}

// String is what two servers that behave alike say alike.
func (m message) String() string {
	if m.typ == 'E' || m.typ == 'N' {
		var b strings.Builder
		b.WriteByte(m.typ)
		for _, f := range []byte("VCMDHPstcdn") {
			if v := wire.Field(m.body, f); v != nil {
				fmt.Fprintf(&b, " %c=%s", f, v)
			}
		}
		return b.String()
	}
	return fmt.Sprintf("%c %q", m.typ, m.body)
}

const patience = 20 * time.Second

// next reads one message.
func (p *peer) next() (message, error) {
	p.conn.SetReadDeadline(time.Now().Add(patience))
	var h [5]byte
	if _, err := io.ReadFull(p.conn, h[:]); err != nil {
		return message{}, err
	}
	m := message{h[0], make([]byte, binary.BigEndian.Uint32(h[1:])-4)}
	_, err := io.ReadFull(p.conn, m.body)
	return m, err
}

// send sends messages, in pieces if rnd says so.
func (p *peer) send(b []byte, rnd *rand.Rand) error {
	for len(b) > 0 {
		n := len(b)
		if rnd != nil && rnd.IntN(4) == 0 {
			n = 1 + rnd.IntN(len(b))
		}
		if _, err := p.conn.Write(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// step is one request and what to do if the server asks for copy data.
type step struct {
	text  string // for humans
	bytes []byte
	ready int    // how many ReadyForQuery it brings
	copy  []byte // what to send as copy data
}

// play runs one step and returns the answer.
func (p *peer) play(s step, rnd *rand.Rand) ([]string, error) {
	if err := p.send(s.bytes, rnd); err != nil {
		return nil, err
	}
	var out []string
	for n := 0; n < s.ready; {
		m, err := p.next()
		if err != nil {
			return out, err
		}
		out = append(out, m.String())
		switch m.typ {
		case 'Z':
			n++
		case 'G':
			if err := p.send(s.copy, rnd); err != nil {
				return out, err
			}
		}
	}
	return out, nil
}

// script makes random requests of a client that uses the table t and that
// wants every answer to be certain.
type script struct {
	*rand.Rand
	t      string
	texts  []string
	exotic bool // pins and the like too
}

func newScript(seed uint64, t string) *script {
	s := &script{Rand: rand.New(rand.NewPCG(seed, 1)), t: t}
	s.texts = []string{
		"select 1", "select 'a'::text, 2", "select count(*), sum(v) from @", "select id, v from @ order by id limit 5",
		"insert into @ (v) values (1)", "insert into @ (v) values (2) returning v", "update @ set v = v + 1 where id < 5", "delete from @ where id % 3 = 0",
		"begin", "begin", "begin read only", "begin isolation level repeatable read, read only", "start transaction read only", "begin isolation level serializable read only",
		"commit", "commit", "commit", "rollback", "rollback", "end", "savepoint a", "rollback to a", "release a", "commit and chain", "rollback and chain",
		"set work_mem = '200kB'", "set work_mem to '300kB'", "set local work_mem = '400kB'", "reset work_mem", "set work_mem to default",
		"set timezone = 'Asia/Tokyo'", "set time zone 'UTC'", "reset timezone", "set extra_float_digits = 1", "set lock_timeout = '7s'", "reset lock_timeout",
		"set search_path = pg_catalog, public", "set search_path to public", "reset search_path", "reset all", "discard all", "discard plans",
		"set application_name = 'me'", "set role app", "reset role", "set session characteristics as transaction isolation level repeatable read",
		"set default_transaction_isolation = 'read committed'", "set default_transaction_read_only = on", "set default_transaction_read_only = off",
		"set statement_timeout = '5s'", "set datestyle = 'German'", "set client_min_messages = 'notice'", "set standard_conforming_strings = on",
		"show work_mem", "show timezone", "show search_path", "show application_name", "show datestyle",
		"select current_setting('work_mem'), current_setting('timezone'), current_setting('lock_timeout')", "select current_user::text, session_user::text",
		"select current_setting('search_path'), current_setting('default_transaction_isolation')", "show transaction_isolation", "show default_transaction_read_only",
		"select 1/0", "select * from nope", "selec 1", "insert into @ (id) values (null)", "select nope(1)", "", ";", "-- nothing",
		"select 1; select 2", "select 1; insert into @ (v) values (3)", "insert into @ (v) values (4); select 1/0", "set work_mem = '500kB'; select 1",
		"begin; select 1; commit", "begin; insert into @ (v) values (5); rollback", "commit; begin", "select 1; selec 2",
		"deallocate all", "deallocate nope", "prepare sq as select 1", "execute sq", "deallocate sq",
		"copy @ (v) from stdin", "copy (select 1 union all select 2) to stdout", "copy @ to stdout where", "do $$ begin raise notice 'hi'; end $$",
		"explain (costs off) select 1", "values (1), (2)", "table @", "select generate_series(1, 50)", "select repeat('x', 3000)",
		"lock table @ in access share mode", "select 1 for update", "select id from @ where id = 1 for update", "set transaction read only", "set transaction isolation level repeatable read",
		"select set_config('work_mem', '600kB', false)", "select set_config('lock_timeout', '8s', true)", "with x as (select 1) select * from x",
		"declare c cursor for select generate_series(1, 10)", "fetch 3 from c", "close c", "create temp table if not exists tt (a int)", "insert into tt values (1)", "select count(*) from tt", "drop table if exists tt",
		"declare h cursor with hold for select 1", "fetch h", "close h", "close all", "listen ch", "unlisten *", "select pg_advisory_lock(99)", "select pg_advisory_unlock_all()",
		"create table if not exists @_x (a int)", "drop table if exists @_x", "analyze @", "vacuum @", "call proc_commit('@')",
	}
	for i, x := range s.texts {
		s.texts[i] = strings.ReplaceAll(x, "@", t)
	}
	return s
}

func (s *script) sql() string { return s.texts[s.IntN(len(s.texts))] }

// extended is sql for the extended protocol.
func (s *script) extended() string {
	for {
		if sql := s.sql(); !strings.HasPrefix(sql, "call") && !strings.HasSuffix(sql, "read only") {
			return sql
		}
	}
}

func (s *script) name() []byte {
	return []byte([]string{"", "", "s1", "s2", "s3"}[s.IntN(5)])
}

func (s *script) portal() []byte {
	return []byte([]string{"", "", "", "", "p1"}[s.IntN(5)])
}

// next makes the next step.
func (s *script) next() step {
	st := step{ready: 1}
	data := frame('d', "7\n8\n")
	if s.IntN(3) == 0 {
		data = frame('d', "7\nbad\n")
	}
	if s.IntN(4) == 0 {
		data = append(data, frame('f', "no\x00")...)
	} else {
		data = append(data, frame('c', "")...)
	}
	if s.IntN(2) == 0 {
		sql := s.sql()
		st.text = "Q " + sql
		st.bytes = wire.AppendQuery(nil, sql)
		st.copy = data
		return st
	}
	st.copy = wire.AppendSync(data)
	b := st.bytes
	// Of several unnamed statements in a group that fails only the last is
	// remembered, so that a script has one.
	changed := false
	// PostgreSQL 15 crashes when some portals are executed again after the end
	// of their group.
	bound := map[string]bool{}
	// A server closes the connection when anything follows COPY FROM STDIN. What
	// follows the end of all names in one group is not promised.
	for n := 1 + s.IntN(7); n > 0 && !strings.Contains(st.text, "stdin") && !strings.Contains(st.text, " all]"); n-- {
		switch s.IntN(10) {
		case 0, 1, 2:
			name, sql := s.name(), s.extended()
			if strings.Contains(sql, "stdin") || strings.HasSuffix(sql, " all") {
				name = []byte("s9") // it is parsed once and not bound later
				changed = true
			}
			if len(name) == 0 && changed {
				name = []byte("s1")
			}
			changed = changed || len(name) == 0
			b = wire.AppendParse(b, name, append([]byte(sql), 0, 0, 0))
			st.text += fmt.Sprintf("P[%s %s] ", name, sql)
			if s.IntN(3) > 0 {
				b = wire.AppendBind(b, nil, name, make([]byte, 6))
				b = append(b, 'E', 0, 0, 0, 9, 0, 0, 0, 0, 0)
				st.text += "B E "
				bound[""] = true
			}
		case 3, 4, 5:
			portal, name := s.portal(), s.name()
			bound[string(portal)] = true
			b = wire.AppendBind(b, portal, name, make([]byte, 6))
			st.text += fmt.Sprintf("B[%s %s] ", portal, name)
			if s.IntN(3) > 0 {
				b = append(b, 'E', 0, 0, 0, byte(9+len(portal)))
				b = append(append(b, portal...), 0, 0, 0, 0, 0)
				st.text += fmt.Sprintf("E[%s] ", portal)
			}
		case 6:
			portal, max := s.portal(), s.IntN(3)
			if !bound[string(portal)] {
				continue
			}
			b = append(b, 'E', 0, 0, 0, byte(9+len(portal)))
			b = append(append(b, portal...), 0, 0, 0, 0, byte(max))
			st.text += fmt.Sprintf("E[%s %d] ", portal, max)
		case 7:
			name := s.name()
			b = wire.AppendNamed(b, 'D', 'S', name)
			st.text += fmt.Sprintf("D[S %s] ", name)
		case 8:
			what, name := byte('S'), s.name()
			if len(name) == 0 && changed {
				name = []byte("s1")
			}
			changed = changed || len(name) == 0
			if s.IntN(2) == 0 {
				what, name = 'P', s.portal()
			}
			b = wire.AppendNamed(b, 'C', what, name)
			st.text += fmt.Sprintf("C[%c %s] ", what, name)
		case 9:
			if s.IntN(2) == 0 {
				b = append(b, 'H', 0, 0, 0, 4)
				st.text += "H "
			} else {
				portal := s.portal()
				b = wire.AppendNamed(b, 'D', 'P', portal)
				st.text += fmt.Sprintf("D[P %s] ", portal)
			}
		}
	}
	st.bytes = wire.AppendSync(b)
	st.text += "S"
	return st
}

const (
	diffClients = 4
	diffSteps   = 300
	diffPast    = 12
)

// TestSameAnswers lets random clients talk to the primary directly and, in a
// database of the same content, through the proxy: they must be told the same.
func TestSameAnswers(t *testing.T) {
	c := use(t, trusting)
	if err := c.Primary().Exec(t.Context(), "create database direct"); err != nil {
		t.Fatal(err)
	}
	conn := connect(t, c.Primary().DSN(cluster.SuperUser, cluster.SuperPassword, "direct"))
	sql := `create procedure proc_commit(name text) language plpgsql as $$ begin execute 'insert into ' || name || ' (v) values (9)'; commit; end $$;`
	for i := range diffClients {
		sql += fmt.Sprintf("create table t_%d (id int generated always as identity primary key, v int); insert into t_%[1]d (v) select x from generate_series(1, 20) x; grant all on t_%[1]d to app;", i)
	}
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
	conn.Close(t.Context())
	if err := c.Primary().Exec(t.Context(), "create database proxied template direct"); err != nil {
		t.Fatal(err)
	}
	s := start(t, proxy.Config{Source: source(c), Auth: proxy.AuthTrust, PoolSize: diffClients})
	seed := uint64(time.Now().UnixNano()) % 100000
	if v := os.Getenv("PGROUTE_SEED"); v != "" {
		seed, _ = strconv.ParseUint(v, 10, 64)
	}
	var clients sync.WaitGroup
	for i := range diffClients {
		clients.Go(func() { compare(t, c, s, fmt.Sprintf("t_%d", i), seed+uint64(i)) })
	}
	clients.Wait()
}

// compare plays one script on both sides.
func compare(t *testing.T, c *cluster.Cluster, s *served, table string, seed uint64) {
	direct, err := login(c.Primary().Addr(), cluster.SuperUser, "direct")
	if err != nil {
		t.Error(err)
		return
	}
	defer direct.conn.Close()
	proxied, err := login(s.addr(), cluster.SuperUser, "proxied")
	if err != nil {
		t.Error(err)
		return
	}
	defer proxied.conn.Close()
	x := newScript(seed, table)
	var past []string
	for range diffSteps {
		st := x.next()
		past = append(past, st.text)
		want, err := direct.play(st, nil)
		if err != nil {
			t.Errorf("seed %d: direct: %v after %q", seed, err, st.text)
			return
		}
		got, err := proxied.play(st, x.Rand)
		if slices.ContainsFunc(got, func(m string) bool {
			return strings.Contains(m, "M=pgroute: this read-only transaction runs on a replica")
		}) {
			// The client has to begin anew.
			for _, p := range []*peer{direct, proxied} {
				if _, err := p.play(step{bytes: wire.AppendQuery(nil, "rollback"), ready: 1}, nil); err != nil {
					t.Errorf("seed %d: %v", seed, err)
					return
				}
			}
			continue
		}
		if slices.Contains(certain(got), refused) && got[len(got)-1] == want[len(want)-1] && strings.HasPrefix(want[len(want)-1], "Z \"E") {
			continue // in a failed transaction a statement cannot come to a backend that lacks it
		}
		if err != nil || !slices.Equal(certain(got), certain(want)) {
			t.Errorf("seed %d: after\n\t%s\nthe proxy says (%v)\n\t%s\nwant\n\t%s", seed, strings.Join(past[max(0, len(past)-diffPast):], "\n\t"), err,
				strings.Join(certain(got), "\n\t"), strings.Join(certain(want), "\n\t"))
			return
		}
	}
}

const refused = "E 25P02 or 42P05"

// certain leaves out what may differ.
func certain(answer []string) []string {
	var out []string
	for _, m := range answer {
		switch {
		case strings.HasPrefix(m, "E V=ERROR C=25P02"), strings.HasPrefix(m, "E V=ERROR C=42P05"):
			// A name that is taken cannot be looked up on a backend that does
			// not know it while the transaction has failed.
			out = append(out, refused)
		default:
			out = append(out, m)
		}
	}
	return out
}

// frame makes one message.
func frame(typ byte, body string) []byte {
	b := append([]byte{typ, 0, 0, 0, 0}, body...)
	wire.Lengthen(b, len(b)-1)
	return b
}
