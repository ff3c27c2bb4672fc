package proxy_test

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pgroute/pgroute/proxy"
	"github.com/pgroute/pgroute/proxy/internal/wire"
)

// reader makes scripts of transactions that read first, and now and then does
// anything.
type reader struct {
	*script
	queue []string // of the transaction that is under way
	names int
}

func newReader(seed uint64, t string) *script {
	s := newScript(seed, t)
	s.own = true                                                 // the portal of a BEGIN that was answered here is nowhere
	s.texts = slices.DeleteFunc(s.texts, func(sql string) bool { // what pins, and what changes the catalogue
		return slices.ContainsFunc([]string{"set_config", "selec ", "nope(", "; sel", "; ins", "set work_mem =", "prepare", "execute", "temp", " tt", "listen",
			"advisory", "hold", "do $$", "call", "create", "drop"},
			func(word string) bool { return strings.Contains(sql, word) })
	})
	r := &reader{script: s}
	s.guide = r.next
	return s
}

func (r *reader) pick(texts ...string) string {
	return strings.ReplaceAll(texts[r.IntN(len(texts))], "@", r.t)
}

// transaction makes one.
func (r *reader) transaction() {
	r.queue = append(r.queue, r.pick("begin", "begin", "begin", "BEGIN TRANSACTION", "start transaction isolation level read committed", "/* x */ begin -- y", "begin read write"))
	for n := r.IntN(7); n > 0; n-- {
		switch r.IntN(12) {
		case 0:
			r.queue = append(r.queue, r.pick("savepoint a", "savepoint b", "savepoint \"a\"", "savepoint C"))
		case 1:
			r.queue = append(r.queue, r.pick("rollback to a", "rollback to savepoint b", "release a", "release savepoint b", "rollback work to \"c\"", "rollback to nope", "release nope"))
		case 2:
			r.queue = append(r.queue, r.pick("select 1/(v-v) from @", "select * from nope", "select 'x'::int", "select nope from @", "select 1; select 1/0", "selec 1"))
		case 3:
			r.queue = append(r.queue, r.pick("commit and chain", "rollback and chain", "begin", "set pgx.a = 1", "select 1; begin", "discard all", ";"))
		case 4:
			if r.IntN(3) == 0 {
				r.queue = append(r.queue, r.pick("select now() = transaction_timestamp(), current_date = now()::date", "select 'now'::timestamptz = now(), age(now()) is null",
					"set transaction isolation level repeatable read", "set transaction read only", "set local work_mem = '1MB'", "select pg_current_xact_id_if_assigned() is null",
					"select pg_backend_pid() > 0", "declare c cursor for select id from @ order by id", "show transaction_isolation", "show transaction_read_only", "lock table @",
					"select v from @ where id = 1 for update", "select days from v_@"))
			}
		default:
			r.queue = append(r.queue, r.pick("select count(*), sum(v) from @", "select id, v from @ order by id limit 5", "select v from @ where id = 3", "select 1; select count(*) from @",
				"copy (select count(*) from @) to stdout", "values (1), (2)", "table @", "select f_@()", "select count(*) from v_@", "explain (costs off) select 1",
				"with x as (select max(v) from @) select * from x", "select current_setting('timezone')"))
		}
	}
	if r.IntN(2) == 0 {
		r.queue = append(r.queue, r.pick("insert into @ (v) values (6)", "update @ set v = v + 1 where id = 2", "delete from @ where id = 4", "set local work_mem = '2MB'", "fetch 2 from c",
			"set transaction isolation level serializable"), r.pick("select count(*), sum(v) from @", "show work_mem", "savepoint z", "set transaction isolation level repeatable read"))
	}
	r.queue = append(r.queue, r.pick("commit", "commit", "end", "rollback"))
	if r.IntN(8) == 0 {
		r.queue = append(r.queue, "rollback", "discard all") // what has pinned is over
	}
}

// next makes the next step of a transaction, in one protocol or the other.
func (r *reader) next() (step, bool) {
	if r.IntN(12) == 0 {
		return step{}, false
	}
	if len(r.queue) == 0 {
		r.transaction()
	}
	sql := r.queue[0]
	r.queue = r.queue[1:]
	st := step{ready: 1, copy: append(frame('f', "no\x00"), frame('S', "")...)}
	if strings.Contains(sql, "; ") || r.IntN(2) == 0 {
		st.bytes, st.text = wire.AppendQuery(nil, sql), "Q "+sql
		return st, true
	}
	st.add(sql, "", 0)
	if len(r.queue) > 0 && r.IntN(3) == 0 && !strings.Contains(r.queue[0], "; ") { // the next one in the same group, as some drivers do it with BEGIN
		sql, r.queue = r.queue[0], r.queue[1:]
		r.names++ // of two unnamed ones in a group that fails only the last is remembered
		st.add(sql, fmt.Sprintf("r%d", r.names), byte(r.IntN(4)/3))
	}
	st.bytes = wire.AppendSync(st.bytes)
	return st, true
}

// add appends the messages that run sql once.
func (st *step) add(sql, name string, limit byte) {
	b := wire.AppendParse(st.bytes, []byte(name), append([]byte(sql), 0, 0, 0))
	b = wire.AppendBind(b, nil, []byte(name), make([]byte, 6))
	b = wire.AppendNamed(b, 'D', 'P', nil)
	st.bytes = append(b, 'E', 0, 0, 0, 9, 0, 0, 0, 0, limit)
	st.text += fmt.Sprintf("PBDE[%s %d %s] ", name, limit, sql)
}

// TestSameAnswersUntilWrite: transactions that read on replicas before they
// write on the primary are told what they would be told there.
func TestSameAnswersUntilWrite(t *testing.T) {
	n := uint64(0)
	for _, database := range []string{"until", "until_again"} {
		s := sameAnswers(t, database, proxy.Policy{Wait: patience, TransactionReads: proxy.ReadsUntilWrite}, newReader)
		for _, r := range s.Stats().Reads {
			if r.Role == "replica" {
				n += r.Count
			}
		}
		if n >= diffClients*diffSteps/20 {
			return
		}
		t.Logf("%d reads ran on replicas: %+v", n, s.Stats().Reads)
	}
	t.Errorf("only %d reads ran on replicas in two plays", n)
}

// row returns the values of the first row of an answer.
func row(out []message) (list []string) {
	for _, m := range out {
		if m.typ != 'D' {
			continue
		}
		for b := m.body[2:]; len(b) >= 4; {
			n := int(int32(binary.BigEndian.Uint32(b)))
			b = b[4:]
			if n < 0 {
				list = append(list, "NULL")
				continue
			}
			list = append(list, string(b[:n]))
			b = b[n:]
		}
		break
	}
	return list
}

// route is what SHOW pgroute.last_route says: role and reason.
func (p *peer) route(t testing.TB) (role, reason string) {
	t.Helper()
	out, err := p.ask("show pgroute.last_route")
	if err != nil {
		t.Fatal(err)
	}
	l := row(out)
	if len(l) < 3 {
		t.Fatalf("the route is %v", out)
	}
	return l[1], l[2]
}
