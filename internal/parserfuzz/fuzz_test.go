package parserfuzz_test

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	pg_query "github.com/pganalyze/pg_query_go/v6"

	"github.com/pgroute/pgroute/internal/sqlclass"
)

// prepared is a database with all that is adversarial, and who knows it.
func prepared(t *testing.T, s *servers) *judge {
	t.Helper()
	objects := "../sqlclass/testdata"
	runFile(t, s.primary, objects, "objects.sql")
	runFile(t, s.primary, objects, "objects14.sql")
	runFile(t, s.primary, objects, "closure.sql")
	list := func(words string) map[string]bool {
		set := make(map[string]bool)
		for word := range strings.FieldsSeq(words) {
			set[word] = true
		}
		return set
	}
	j := &judge{
		volatile:  s.volatile(t),
		relations: s.names(t, "select relname from pg_class where relname ilike 'bad%' or relkind in ('S', 'f') or relpersistence = 'u' and relkind = 'r'"),
		types:     list("d_bad d_badover c_bad c_nested c_cast bad_rowcast _d_bad _d_badover _c_bad _c_nested _c_cast"),
		operators: list("<+> =!="),
		evil: list(`fw fws fcatch lastseq locker tenant hiddendefault atomiclock atomictenant atomicseq addv sumv noisy liar definer_writes
			server_name bad_body bad_mixed bad_domain bad_argument logs writes touch`),
	}
	for _, relation := range []string{"vn", "parent", "twins"} {
		j.relations[relation] = true
	}
	return j
}

// tally counts what the fuzzing saw.
type tally struct {
	texts, parsed, reads, ran, writes int
	sampled, rightly                  int // of what is no read: judged, and a write to the judge as well
	distinct, distinctReads           map[uint64]struct{}
}

// TestNoWriteIsARead: whatever the parser or the standby calls a write, the
// classifier does, over mutated and generated statements.
func TestNoWriteIsARead(t *testing.T) {
	if testing.Short() {
		t.Skip("starts servers")
	}
	s := start(t)
	if s.catalogue(t).ServerVersion() < 150000 {
		t.Skip("the objects need PostgreSQL 15")
	}
	j := prepared(t, s)
	cat := s.catalogue(t)
	folder, _ := regress(t)
	var seeds []string
	for _, c := range readCorpus(t, folder) {
		for _, sql := range c.statements {
			if len(sql) < 1500 {
				seeds = append(seeds, sql)
			}
		}
	}
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	m := newMutator(rand.New(rand.NewPCG(seed, 1)), seeds)
	for _, conn := range []string{"set statement_timeout = 100", "set app.tenant = 'a'"} {
		exec(t.Context(), s.standby, conn)
		exec(t.Context(), s.primary, conn)
	}
	n := tally{distinct: make(map[uint64]struct{}), distinctReads: make(map[uint64]struct{})}
	r := new(sqlclass.Result)
	var onStandby time.Duration // at most as long as all the rest
	begin := time.Now()
	for n.parsed < *statementsFlag && t.Context().Err() == nil {
		sql := m.next()
		n.texts++
		fingerprint, err := pg_query.FingerprintToUInt64(sql)
		if err != nil {
			continue
		}
		n.parsed++
		n.distinct[fingerprint] = struct{}{}
		sqlclass.Classify([]byte(sql), cat, options, r)
		if r.Access != sqlclass.AccessRead {
			if n.parsed%16 == 0 {
				n.sampled++
				if v, _ := j.read(sql); v.why != "" {
					n.rightly++
				}
			}
			continue
		}
		n.reads++
		if v, ok := j.read(sql); !ok || v.why != "" {
			n.writes++
			t.Errorf("seed %d: a read, but %s:\n%s", seed, v.why, sql)
		}
		if _, seen := n.distinctReads[fingerprint]; seen {
			continue
		}
		n.distinctReads[fingerprint] = struct{}{}
		if onStandby*4 > time.Since(begin) {
			continue
		}
		started := time.Now()
		n.ran++
		s.judgeRead(t, sql)
		onStandby += time.Since(started)
		if n.ran%500 == 0 {
			s.judgeSession(t)
		}
		if n.writes > 20 {
			t.Fatal("and so on")
		}
	}
	s.judgeSession(t)
	t.Logf("seed %d: %d texts, of which %d parse, %d of these distinct without their literals; %d reads, %d of these distinct, %d ran on the standby; %d writes taken for reads; of %d sampled that are no reads %d are writes to the judge; %v",
		seed, n.texts, n.parsed, len(n.distinct), n.reads, len(n.distinctReads), n.ran, n.writes, n.sampled, n.rightly, time.Since(begin).Round(time.Second))
	if n.rightly < n.sampled/4 || n.reads < n.parsed/50 || n.ran < n.reads/1000 || len(n.distinct) < n.parsed/20 {
		t.Error("the statements are too much alike, or too few are reads")
	}
}

// judgeRead runs a read on the standby. What it refuses, the primary must refuse
// as well.
func (s *servers) judgeRead(t *testing.T, sql string) {
	t.Helper()
	_, state := exec(t.Context(), s.standby, sql)
	if s.standby.PgConn().TxStatus() != 'I' {
		exec(t.Context(), s.standby, "rollback")
	}
	if s.standby.IsClosed() {
		t.Errorf("the standby is gone after\n%s", sql)
		s.redial(t)
	}
	if !refusals[state] {
		return
	}
	_, same := exec(t.Context(), s.primary, sql)
	if s.primary.PgConn().TxStatus() != 'I' {
		exec(t.Context(), s.primary, "rollback")
	}
	if same != state {
		t.Errorf("a read, but the standby says %s, the primary %q:\n%s", state, same, sql)
	}
}

// judgeSession: the reads have left nothing behind.
func (s *servers) judgeSession(t *testing.T) {
	t.Helper()
	var left string
	err := s.standby.QueryRow(t.Context(), `select string_agg(what, ', ') from (
		select locktype from pg_locks where locktype = 'advisory' and pid = pg_backend_pid() union all
		select name from pg_settings where source = 'session' and name <> 'statement_timeout' union all
		select name from pg_prepared_statements where not from_sql is false union all
		select name from pg_cursors where name <> '' union all
		select pg_listening_channels()) as left_behind(what)`).Scan(&nullable{&left})
	if err != nil {
		t.Fatal(err)
	}
	if left != "" {
		t.Errorf("the reads left behind: %s", left)
	}
}

// nullable scans a NULL as the empty string.
type nullable struct{ to *string }

func (n *nullable) Scan(value any) error {
	if s, ok := value.(string); ok {
		*n.to = s
	}
	return nil
}
