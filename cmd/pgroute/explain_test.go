package main

import (
	"strings"
	"testing"

	"github.com/pgroute/pgroute/internal/cluster"
)

func TestExplainWithoutServers(t *testing.T) {
	t.Parallel()
	r := invoke(t, "explain", "SELECT 1")
	want := "class      read\n" +
		"route      a replica that has replayed all that the session wrote or saw (level session); after a wait of 100ms: the primary\n" +
		"reason     read\n" +
		"catalogue  not known: without --node and --monitor the worst is assumed\n"
	if r.code != 0 || r.out != want || r.err != "" {
		t.Errorf("code %d\n%s%s", r.code, r.out, r.err)
	}
	r = invoke(t, "explain", "--consistency", "primary", "SELECT 1")
	if !strings.Contains(r.out, "route      the primary: the level is primary\n") {
		t.Errorf("%s%s", r.out, r.err)
	}
}

func TestExplainAsksTheCatalogue(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{Replicas: 1})
	if err := c.Primary().Exec(t.Context(), "CREATE TABLE t (a int)",
		"CREATE FUNCTION quiet() RETURNS int LANGUAGE sql STABLE AS 'SELECT 1'",
		"CREATE FUNCTION loud() RETURNS int LANGUAGE sql VOLATILE AS 'SELECT 1'"); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"explain", "--database", cluster.AppDatabase}, servers(c)...)
	r := invoke(t, append(args, "SELECT quiet() FROM t")...)
	if r.code != 0 || !strings.HasPrefix(r.out, "class      read\n") || !strings.Contains(r.out, "catalogue  of app on "+c.Primary().Addr()) {
		t.Errorf("code %d\n%s%s", r.code, r.out, r.err)
	}
	r = invoke(t, append(args, "SELECT loud() FROM t")...)
	if r.code != 0 || !strings.HasPrefix(r.out, "class      write\n") || !strings.Contains(r.out, "reason     volatile function loud\n") {
		t.Errorf("code %d\n%s%s", r.code, r.out, r.err)
	}
	args[2] = "nowhere"
	if r = invoke(t, append(args, "SELECT 1")...); r.code != 1 || strings.Count(r.err, "\n") != 1 || !strings.Contains(r.err, `database "nowhere" does not exist`) {
		t.Errorf("code %d\n%s%s", r.code, r.out, r.err)
	}
}
