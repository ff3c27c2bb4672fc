package main

import (
	"context"
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// runPsycopg2 runs the tests of psycopg2 with Debian's psycopg2.
func runPsycopg2(ctx context.Context, work *workdir, t *target, dir string) (outcomes, error) {
	if err := work.copyTree("src/psycopg2/tests", filepath.Join(dir, "tests")); err != nil {
		return nil, err
	}
	return pytest(ctx, work, t, dir, []string{"PSYCOPG2_TESTDB=" + t.database, "PSYCOPG2_TESTDB_HOST=" + t.host,
		"PSYCOPG2_TESTDB_PORT=" + strconv.Itoa(t.port), "PSYCOPG2_TESTDB_USER=postgres", "PSYCOPG2_TEST_REPL_DSN="}, nil)
}

// runPsycopg3 runs the tests of psycopg 3 with Debian's psycopg, and those of
// its pool with the pool that comes with them. Their authors say which depend
// on timing: these are left out.
func runPsycopg3(ctx context.Context, work *workdir, t *target, dir string) (outcomes, error) {
	if err := work.copyTree("src/psycopg3/tests", filepath.Join(dir, "tests")); err != nil {
		return nil, err
	}
	if err := work.copyFile("src/psycopg3/pyproject.toml", filepath.Join(dir, "pyproject.toml")); err != nil {
		return nil, err
	}
	return pytest(ctx, work, t, dir, []string{"PSYCOPG_TEST_DSN=" + t.dsn()},
		[]string{"-m", "not timing and not mypy and not crdb", "--ignore=tests/crdb", "-W", "default"})
}

// pytest runs the tests in dir by pytest, whose report is in JUnit's format.
func pytest(ctx context.Context, work *workdir, t *target, dir string, env, args []string) (outcomes, error) {
	report := filepath.Join(dir, "report.xml")
	path := filepath.Join(work.fetched, "python/usr/lib/python3/dist-packages") + ":" + filepath.Join(work.fetched, "src/psycopg3/psycopg_pool")
	log, err := work.kept(t, "log")
	if err != nil {
		return nil, err
	}
	// Verbosely, and with a trace of a test that hangs.
	args = append([]string{"-m", "pytest", "-v", "-o", "faulthandler_timeout=600", "-o", "cache_dir=" + filepath.Join(dir, "cache"), "--tb=short", "--durations=20", "--junitxml=" + report, "tests"}, args...)
	out, err := tool{dir: dir, log: log, env: append(append(t.env(), "PYTHONPATH="+path, "PYTHONDONTWRITEBYTECODE=1"), env...)}.run(ctx, work, "/usr/bin/python3", args...)
	if err != nil {
		return nil, err
	}
	file, err := os.ReadFile(report)
	if err != nil {
		return nil, fmt.Errorf("read pytest's report: %w:\n%s", err, end(out))
	}
	var suites struct {
		Cases []struct {
			Class   string    `xml:"classname,attr"`
			Name    string    `xml:"name,attr"`
			Failure *struct{} `xml:"failure"`
			Error   *struct{} `xml:"error"`
			Skipped *struct{} `xml:"skipped"`
		} `xml:"testsuite>testcase"`
	}
	if err := xml.Unmarshal(file, &suites); err != nil {
		return nil, fmt.Errorf("read pytest's report: %w", err)
	}
	found := make(outcomes)
	for _, c := range suites.Cases {
		o := passed
		switch {
		case c.Failure != nil || c.Error != nil:
			o = failed
		case c.Skipped != nil:
			o = skipped
		}
		name := c.Class + "." + c.Name
		if found[name] != failed { // an error in the teardown is a case of its own
			found[name] = o
		}
	}
	return found, nil
}
