package main

import (
	"context"
	"maps"
	"slices"
)

// outcome is how a test ended.
type outcome string

const (
	passed  outcome = "passed"
	failed  outcome = "failed"
	skipped outcome = "skipped"
)

// outcomes are those of a suite's tests, by name.
type outcomes map[string]outcome

func (o outcomes) count(want outcome) int {
	n := 0
	for _, got := range o {
		if got == want {
			n++
		}
	}
	return n
}

// names are those of the tests, sorted.
func (o outcomes) names() []string { return slices.Sorted(maps.Keys(o)) }

// A suite is a set of tests that somebody wrote for PostgreSQL.
type suite struct {
	name string
	// database is made for it, from template0.
	database string
	// setup are statements that are run there directly, as the superuser.
	setup []string
	// needs are the files below build/conformance that it cannot do without.
	needs []string
	// logical says that its tests replicate logically.
	logical bool
	// run runs the tests against the target, in the folder dir. An error means
	// that they could not be run.
	run func(ctx context.Context, work *workdir, t *target, dir string) (outcomes, error)
}

// missing says what the suite lacks, or nothing.
func (s *suite) missing(work *workdir) string {
	for _, need := range s.needs {
		if !work.has(need) {
			return need + " is not there"
		}
	}
	return ""
}

// suites are all suites, in the order in which they run.
var suites = []suite{
	{name: "regress", database: "regression", setup: regressSettings("regression"), needs: []string{"src/postgresql-15", "lib/regress.so"}, run: runRegress},
	{name: "isolation", database: "isolation_regression", setup: regressSettings("isolation_regression"), needs: []string{"src/postgresql-15", "lib/backendpid.so"}, run: runIsolation},
	{name: "libpq_pipeline", database: "pipeline", needs: []string{"src/postgresql-15", "lib/libpq_pipeline"}, run: runPipeline},
	{name: "pgx", database: "pgx_test", setup: pgxSetup, needs: []string{"src/pgx"}, run: runPgx},
	{name: "pq", database: "pqgo", setup: pqSetup, needs: []string{"src/pq"}, run: runPq},
	{name: "psycopg2", database: "psycopg2_test", setup: []string{"CREATE EXTENSION hstore"}, needs: []string{"src/psycopg2", "python"}, logical: true, run: runPsycopg2},
	{name: "psycopg3", database: "psycopg3_test", needs: []string{"src/psycopg3", "python"}, run: runPsycopg3},
	{name: "DBD::Pg", database: "dbdpg_test", needs: []string{"src/libdbd-pg-perl", "perl"}, run: runPerl},
	{name: "node-postgres", database: "programs", run: runNode},
	{name: "pgjdbc", database: "programs", run: runJava},
}
