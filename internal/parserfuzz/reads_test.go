package parserfuzz_test

import (
	"bytes"
	"cmp"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	pg_query "github.com/pganalyze/pg_query_go/v6"

	"github.com/pgroute/pgroute/internal/sqlclass"
)

// script runs the corpus, in order, as one client would: everything on the
// primary, settings and transactions on the standby as well.
type script struct {
	*servers
	judge
	cat         *sqlclass.Catalogue
	fingerprint uint64
	changed     bool // something other than a query ran since the catalogue was read
	temporary   map[string]bool
	builtins    map[string]bool // the server's own volatile functions
	opt         sqlclass.Options

	statements, parsed, reads, recognised, writes int
	missed                                        map[string]*misses
}

type misses struct {
	n        int
	examples []string
}

// TestReadsAreRecognised runs PostgreSQL's regression tests and counts the reads
// that the classifier recognises. A read is what the parser's tree and the
// catalogue call one, and what a standby answers as the primary does. Whatever is
// called a read and is none is an error.
func TestReadsAreRecognised(t *testing.T) {
	if testing.Short() {
		t.Skip("starts servers")
	}
	folder, whole := excerpt, false
	if *wholeFlag || *corpusFlag != "" {
		folder, whole = regress(t)
	}
	s := &script{servers: start(t), missed: make(map[string]*misses), changed: true, opt: options}
	begun := *fromFlag == ""
	s.evil = map[string]bool{}
	s.both(t, "set statement_timeout = '10s'")
	for i, c := range readCorpus(t, folder) {
		if i > 0 && !begun {
			if begun = c.name == *fromFlag; !begun {
				continue
			}
		}
		s.both(t, "rollback; reset all; set statement_timeout = '10s'; discard temp; deallocate all; reset session authorization")
		s.opt = options
		for _, sql := range c.statements {
			s.run(t, c.name, sql)
		}
		t.Logf("%-20s %6d statements so far, %5d reads, %5d recognised", c.name, s.statements, s.reads, s.recognised)
	}
	if s.reads == 0 {
		t.Fatal("no reads")
	}
	share := float64(s.recognised) / float64(s.reads) * 100
	t.Logf("%d statements, %d parse, %d are reads, %d of these recognised: %.1f %%; %d writes taken for reads", s.statements, s.parsed, s.reads, s.recognised, share, s.writes)
	for _, why := range slices.SortedFunc(maps.Keys(s.missed), func(a, b string) int { return cmp.Compare(s.missed[b].n, s.missed[a].n) }) {
		t.Logf("%5d missed: %s", s.missed[why].n, why)
		for _, example := range s.missed[why].examples {
			t.Logf("        %.160q", example)
		}
	}
	if least := 97.0; whole && share < least || !whole && share < 90 {
		t.Errorf("%.1f %% of the reads are recognised", share)
	}
}

// both runs a text on both servers.
func (s *script) both(t *testing.T, sql string) {
	exec(t.Context(), s.primary, sql)
	exec(t.Context(), s.standby, sql)
}

func (s *script) run(t *testing.T, file, sql string) {
	s.statements++
	if fromStdin.MatchString(sql) { // its data was psql's
		return
	}
	tree, err := pg_query.Parse(sql)
	if err != nil || len(tree.GetStmts()) != 1 {
		exec(t.Context(), s.primary, sql)
		s.changed = true
		return
	}
	s.parsed++
	switch n := tree.GetStmts()[0].GetStmt().GetNode().(type) {
	case *pg_query.Node_SelectStmt, *pg_query.Node_ExplainStmt, *pg_query.Node_CopyStmt:
		if isCopyIn(n) {
			exec(t.Context(), s.primary, sql)
			return
		}
		s.query(t, file, sql)
	case *pg_query.Node_VariableSetStmt:
		if strings.Contains(strings.ToLower(sql), "synchronous_commit") || n.VariableSetStmt.GetName() == "statement_timeout" {
			return
		}
		s.both(t, sql)
		var path, strings string
		if err := s.primary.QueryRow(t.Context(), "select current_setting('search_path'), current_setting('standard_conforming_strings')").Scan(&path, &strings); err == nil {
			s.opt.SearchPathDefault, s.opt.StandardConformingStrings = path == `"$user", public`, strings == "on"
		}
	case *pg_query.Node_TransactionStmt:
		s.both(t, sql)
		s.changed = true
	case *pg_query.Node_InsertStmt, *pg_query.Node_UpdateStmt, *pg_query.Node_DeleteStmt, *pg_query.Node_MergeStmt:
		exec(t.Context(), s.primary, sql)
	default:
		exec(t.Context(), s.primary, sql)
		s.changed = true
	}
	s.level(t)
}

// level ends the standby's transaction with the primary's.
func (s *script) level(t *testing.T) {
	if s.primary.PgConn().TxStatus() == 'I' && s.standby.PgConn().TxStatus() != 'I' {
		exec(t.Context(), s.standby, "rollback")
	}
	s.redial(t)
}

var fromStdin = regexp.MustCompile(`(?i)\bfrom\s+stdin\b`)

func isCopyIn(node any) bool {
	n, ok := node.(*pg_query.Node_CopyStmt)
	return ok && n.CopyStmt.GetIsFrom()
}

// query runs a query on both servers and compares what all say of it.
func (s *script) query(t *testing.T, file, sql string) {
	s.refresh(t)
	r := new(sqlclass.Result)
	sqlclass.Classify([]byte(sql), s.cat, s.opt, r)
	v, _ := s.read(sql)
	idle := s.primary.PgConn().TxStatus() == 'I'
	expected, state := exec(t.Context(), s.primary, sql)
	if r.Access != sqlclass.AccessRead && v.why != "" {
		s.changed = true
		return
	}
	if s.temporaryIn(sql) || !idle { // the client is pinned, or its transaction is on the primary
		s.changed = s.changed || v.why != ""
		return
	}
	got, standby := exec(t.Context(), s.standby, sql)
	refused := refusals[standby] && standby != state
	if r.Access == sqlclass.AccessRead && (v.why != "" || refused) {
		s.writes++
		t.Errorf("%s: a read, but the judge says %q, the standby %q, the primary %q:\n%s", file, v.why, standby, state, sql)
		return
	}
	if v.why != "" || state != "" || standby != "" {
		return
	}
	if !equal(expected, got) && r.Access != sqlclass.AccessRead {
		return // not known to be a read
	}
	s.reads++
	if r.Access == sqlclass.AccessRead {
		s.recognised++
		return
	}
	why := r.Reason.String() + " " + string(r.Object)
	m := s.missed[why]
	if m == nil {
		m = new(misses)
		s.missed[why] = m
	}
	m.n++
	if len(m.examples) < 2 {
		m.examples = append(m.examples, file+": "+sql)
	}
}

// refresh reads the catalogue again if it may have changed.
func (s *script) refresh(t *testing.T) {
	if !s.changed && s.cat != nil {
		return
	}
	s.changed = false
	rows, err := s.Query(t.Context(), sqlclass.FingerprintQuery)
	if err != nil {
		t.Fatal(err)
	}
	s.temporary = s.names(t, "select relname from pg_class where relpersistence = 't' and relkind in ('r', 'v', 'S', 'p')")
	if now := sqlclass.Fingerprint(rows); s.cat == nil || now != s.fingerprint {
		s.cat, s.fingerprint = s.catalogue(t), now
		s.volatileNames(t)
	}
}

func (s *script) volatileNames(t *testing.T) {
	if s.builtins == nil {
		s.builtins = s.names(t, "select proname from pg_proc where provolatile = 'v' and oid < 16384")
	}
	s.judge.volatile = s.names(t, "select proname from pg_proc where provolatile = 'v' and oid >= 16384")
	maps.Copy(s.judge.volatile, s.builtins)
	s.relations = s.names(t, "select relname from pg_class where oid >= 16384 and (relkind in ('S', 'f') or relpersistence = 'u')")
	s.operators = s.names(t, "select oprname from pg_operator o join pg_proc p on p.oid = oprcode where o.oid >= 16384 and provolatile = 'v'")
}

// temporaryIn reports whether a text names a temporary relation.
func (s *script) temporaryIn(sql string) bool {
	for _, token := range tokenize(sql) {
		if s.temporary[sqlclass.FoldIdentifier(token)] {
			return true
		}
	}
	return false
}

// equal reports whether two answers have the same rows, in whatever order.
func equal(a, b []*pgconn.Result) bool { return slices.Equal(sorted(a), sorted(b)) }

func sorted(results []*pgconn.Result) []string {
	var rows []string
	for _, result := range results {
		for _, row := range result.Rows {
			rows = append(rows, string(bytes.Join(row, []byte{0})))
		}
	}
	slices.Sort(rows)
	return rows
}
