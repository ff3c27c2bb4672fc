package proxy_test

import (
	"strings"
	"testing"

	"github.com/pgroute/pgroute/router"
)

// A text that stands for different tables in two transactions, by a search_path
// or a role that is set there, is two statements: the server would refuse the
// second client the plan of the first one, whose result has another type.
func TestStatementMeansWhatItsTransactionSet(t *testing.T) {
	s := shared(t, router.LevelPrimary)
	ctx := t.Context()
	setup := s.connect(t, "default_query_exec_mode=exec")
	for _, sql := range []string{
		"create schema meaning_a", "create schema meaning_b", "create role meaning_a", "create role meaning_b",
		"create table meaning_a.meaning_t as select 1 as v", "create table meaning_t as select 1 as v",
		"create table meaning_b.meaning_t as select 'text' as v, 2 as w",
		"grant usage on schema meaning_a to meaning_a", "grant usage on schema meaning_b to meaning_b",
		"grant select on meaning_a.meaning_t to meaning_a", "grant select on meaning_b.meaning_t to meaning_b",
	} {
		if _, err := setup.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	if err := setup.Close(ctx); err != nil {
		t.Fatal(err)
	}
	for name, texts := range map[string][4]string{ // before, and after, for each of two clients
		"SET LOCAL search_path": {"begin; set local search_path = meaning_a", "commit", "begin; set local search_path = meaning_b", "commit"},
		"one after the other":   {"begin|set local search_path = meaning_a", "commit", "begin|set local search_path = meaning_b", "commit"},
		"SET search_path":       {"begin|set search_path = meaning_a", "rollback", "begin|set search_path = meaning_b", "rollback"},
		"SET LOCAL ROLE":        {"begin|set local role meaning_a", "commit", "begin|set local role meaning_b", "commit"},
		"set_config":            {"select 1", "select 1", "begin|select set_config('search_path', 'meaning_b', true)", "commit"},
		"SET ROLE":              {"set role meaning_a", "reset role", "set role meaning_b", "reset role"},
	} {
		t.Run(name, func(t *testing.T) {
			for i, want := range []string{"1", "text"} {
				c := s.connect(t, "default_query_exec_mode=exec").PgConn()
				for _, sql := range strings.Split(texts[2*i], "|") {
					if _, err := c.Exec(ctx, sql).ReadAll(); err != nil {
						t.Fatal(err)
					}
				}
				if _, err := c.Prepare(ctx, "s", "select * from meaning_t /* "+name+" */", nil); err != nil {
					t.Fatal(err)
				}
				r := c.ExecPrepared(ctx, "s", nil, nil, nil).Read()
				if r.Err != nil || len(r.Rows) != 1 || string(r.Rows[0][0]) != want {
					t.Errorf("client %d: %q, %v; want %s", i, r.Rows, r.Err, want)
				}
				if _, err := c.Exec(ctx, texts[2*i+1]).ReadAll(); err != nil {
					t.Fatal(err)
				}
				if err := c.Close(ctx); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}
