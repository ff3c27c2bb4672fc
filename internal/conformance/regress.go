package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// regressSettings are what pg_regress gives a database that it makes itself.
func regressSettings(database string) []string {
	var statements []string
	for _, setting := range []string{"lc_messages TO 'C'", "lc_monetary TO 'C'", "lc_numeric TO 'C'", "lc_time TO 'C'",
		"bytea_output TO 'hex'", "timezone_abbreviations TO 'Default'"} {
		statements = append(statements, "ALTER DATABASE "+database+" SET "+setting)
	}
	return statements
}

// runRegress runs PostgreSQL's regression suite. What each test printed stays
// in the results, so that the two ways can be compared to the letter.
func runRegress(ctx context.Context, work *workdir, t *target, dir string) (outcomes, error) {
	return regress(ctx, work, t, dir, "")
}

// regress runs the suite by another schedule, unless that is empty.
func regress(ctx context.Context, work *workdir, t *target, dir, schedule string) (outcomes, error) {
	input, output, lib := filepath.Join(dir, "input"), filepath.Join(dir, "output"), filepath.Join(dir, "lib")
	if err := work.copyTree("src/postgresql-15/src/test/regress", input); err != nil {
		return nil, err
	}
	if err := work.copyTree("lib", lib); err != nil {
		return nil, err
	}
	if err := os.Mkdir(output, 0o755); err != nil {
		return nil, err
	}
	file := filepath.Join(input, "parallel_schedule")
	if schedule != "" {
		if err := os.WriteFile(file, []byte(schedule), 0o644); err != nil {
			return nil, err
		}
	}
	if err := work.own(dir); err != nil {
		return nil, err
	}
	out, err := tool{dir: dir, servers: true, log: filepath.Join(dir, "log")}.run(ctx, work, work.test("regress/pg_regress"),
		"--use-existing", "--dbname="+t.database, "--host="+t.host, "--port="+strconv.Itoa(t.port), "--user=postgres",
		"--dlpath="+lib, "--inputdir="+input, "--outputdir="+output, "--bindir="+work.bin(), "--schedule="+file,
		"--max-concurrent-tests=20", "--max-connections="+strconv.Itoa(work.parallel))
	if err != nil {
		return nil, err
	}
	return judged(work, out, output, t)
}

// runIsolation runs PostgreSQL's isolation suite, whose tests use several
// sessions each. Either way the tester is told the servers' process ids by
// programs/backendpid.c.
func runIsolation(ctx context.Context, work *workdir, t *target, dir string) (outcomes, error) {
	input, output := filepath.Join(dir, "input"), filepath.Join(dir, "output")
	if err := work.copyTree("src/postgresql-15/src/test/isolation", input); err != nil {
		return nil, err
	}
	if err := os.Mkdir(output, 0o755); err != nil {
		return nil, err
	}
	if err := work.own(dir); err != nil {
		return nil, err
	}
	shim := filepath.Join(dir, "backendpid.so")
	if err := work.copyFile("lib/backendpid.so", shim); err != nil {
		return nil, err
	}
	out, err := tool{dir: dir, env: []string{"LD_PRELOAD=" + shim}, servers: true, log: filepath.Join(dir, "log")}.run(ctx, work, work.test("isolation/pg_isolation_regress"),
		"--use-existing", "--dbname="+t.database, "--host="+t.host, "--port="+strconv.Itoa(t.port), "--user=postgres",
		"--inputdir="+input, "--outputdir="+output, "--bindir="+work.bin(), "--schedule="+filepath.Join(input, "isolation_schedule"))
	if err != nil {
		return nil, err
	}
	return judged(work, out, output, t)
}

// judgement is a line of pg_regress about one test.
var judgement = regexp.MustCompile(`(?m)^(?:test)?\s+(\S+)\s+\.\.\. (ok|FAILED|failed \(ignored\))`)

// judged reads pg_regress's judgements, and keeps the differences that it
// found.
func judged(work *workdir, out, output string, t *target) (outcomes, error) {
	if !strings.Contains(out, " tests passed") && !strings.Contains(out, " tests failed") {
		return nil, fmt.Errorf("pg_regress did not get to its end:\n%s", end(out))
	}
	found := make(outcomes)
	for _, m := range judgement.FindAllStringSubmatch(out, -1) {
		found[m[1]] = failed
		if m[2] == "ok" {
			found[m[1]] = passed
		}
	}
	diffs, err := os.ReadFile(filepath.Join(output, "regression.diffs"))
	if err != nil && !os.IsNotExist(err) { // it is there when there is something to write
		return nil, err
	}
	return found, work.keep(t, "diffs", []byte(strings.ReplaceAll(string(diffs), filepath.Dir(output)+"/", "")))
}
