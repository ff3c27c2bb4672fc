package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgroute/pgroute/internal/cluster"
)

func TestVerify(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Options{Trust: true, Replicas: 1})
	if err := errors.Join(c.WaitCaughtUp(t.Context()), c.Replicas()[0].SetApplyDelay(t.Context(), 500*time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	dsn := func(n *cluster.Node) string { return n.DSN(cluster.AppUser, cluster.AppPassword, cluster.AppDatabase) }
	file := filepath.Join(t.TempDir(), "report.json")

	// The primary alone: nothing to find. Flags and connection strings mix.
	r := invoke(t, "verify", dsn(c.Primary()), "--for", "3s", "--clients=4", "--levels", "strong,primary", "--json", file, "--seed", "7")
	if r.code != 0 || !strings.HasSuffix(r.out, "\nnothing was found\n") || !strings.Contains(r.out, "seed 7") ||
		!strings.Contains(r.out, "note: no read at strong ran on a replica") || !strings.Contains(r.err, "pgroute: checking\n") {
		t.Errorf("code %d\n%s%s", r.code, r.out, r.err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var report struct {
		Ops    int
		Counts []struct{ Workload string }
	}
	if err := json.Unmarshal(text, &report); err != nil || report.Ops == 0 || len(report.Counts) == 0 {
		t.Errorf("%v: %s", err, text)
	}

	// A late replica beside it shows stale answers: that is found, with a trace.
	r = invoke(t, "verify", "--for=5s", "--clients=32", "--quiet", "--levels=strong", "--workloads=register,booking", dsn(c.Primary()), dsn(c.Replicas()[0]))
	if r.code != 1 || r.err != "" || !strings.Contains(r.out, "\nFOUND: ") || !strings.Contains(r.out, "FINDING: stale read, ") || !strings.Contains(r.out, "(replica)") {
		t.Errorf("code %d\n%s%s", r.code, r.out, r.err)
	}

	// What is not its own it leaves alone.
	if err := c.Primary().Exec(t.Context(), "CREATE SCHEMA mine", "CREATE TABLE mine.precious (a int)"); err != nil {
		t.Fatal(err)
	}
	r = invoke(t, "verify", "--schema", "mine", dsn(c.Primary()))
	if r.code != 1 || r.err != "pgroute: verify: the schema mine exists and was not made by pgroute verify; name another one\n" {
		t.Errorf("code %d\n%s%s", r.code, r.out, r.err)
	}
	if n, err := c.Primary().QueryString(t.Context(), "SELECT count(*) FROM pg_tables WHERE schemaname IN ('mine', 'pgroute_verify')"); err != nil || n != "1" {
		t.Errorf("%s tables are left, %v", n, err)
	}

	// Everything that the help promises is there.
	help := invoke(t, "verify", "--help")
	for _, word := range []string{"--for", "--clients", "--rate", "--reconnect-every", "--workloads", "--levels", "--staleness", "--timeout", "--may-lose", "--unguarded", "--seed", "--schema", "--json", "--quiet"} {
		if help.code != 0 || !strings.Contains(help.out, "  "+word+" ") && !strings.Contains(help.out, "  "+word+"\n") {
			t.Errorf("the help says nothing of %s", word)
		}
	}
}
