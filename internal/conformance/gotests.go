package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
)

// pgxSetup is the part of pgx's testsetup/postgresql_setup.sql that needs no
// other configuration of the server.
var pgxSetup = []string{
	"CREATE EXTENSION hstore", "CREATE EXTENSION ltree", "CREATE DOMAIN uint64 AS numeric(20,0)",
	"CREATE USER pgx_md5 SUPERUSER PASSWORD 'secret'", "CREATE USER pgx_pw SUPERUSER PASSWORD 'secret'",
	`CREATE USER " tricky, ' } "" \ test user " SUPERUSER PASSWORD 'secret'`,
}

// runPgx runs the tests of pgx and of its packages.
func runPgx(ctx context.Context, work *workdir, t *target, dir string) (outcomes, error) {
	return goTests(ctx, work, t, filepath.Join(work.fetched, "src/pgx"), []string{
		"PGX_TEST_DATABASE=" + t.dsn(), "PGX_TEST_TCP_CONN_STRING=" + t.dsn(),
		"PGX_TEST_PLAIN_PASSWORD_CONN_STRING=" + strings.Replace(t.dsn(), "user=postgres password=super-secret", "user=pgx_pw password=secret", 1),
		"PGX_TEST_TRICKY_USER_CONN_STRING=" + "",
	})
}

var pqSetup = []string{
	"CREATE ROLE pqgo LOGIN SUPERUSER PASSWORD 'unused'",
	"CREATE EXTENSION hstore",
}

// tempName is the part of a test's name that differs each time: a temporary
// folder.
var tempName = regexp.MustCompile(`/tmp/[^/]+/`)

// runPq runs the tests of lib/pq.
func runPq(ctx context.Context, work *workdir, t *target, dir string) (outcomes, error) {
	return goTests(ctx, work, t, filepath.Join(work.fetched, "src/pq"), nil)
}

// goTests runs all tests of a module, one package after the other, because
// they share the database.
func goTests(ctx context.Context, work *workdir, t *target, module string, env []string) (outcomes, error) {
	out, err := tool{dir: module, env: append(t.env(), append(env, "GOFLAGS=-mod=mod", "GOWORK=off")...)}.run(ctx, work,
		"go", "test", "-json", "-count=1", "-p=1", "-timeout=20m", "./...")
	if err != nil {
		return nil, err
	}
	found := make(outcomes)
	printed := make(map[string]string)
	failing := make(map[string]bool) // packages with a failed test
	var log strings.Builder
	for line := range strings.Lines(out) {
		var event struct{ Action, Package, Test, Output string }
		if err := json.Unmarshal([]byte(line), &event); err != nil {
			log.WriteString(line) // what the go command itself complains about
			continue
		}
		name := filepath.Base(event.Package) + "." + tempName.ReplaceAllString(event.Test, "/tmp/")
		switch event.Action {
		case "output":
			printed[name] += event.Output
		case "pass", "skip", "fail":
			if event.Test != "" {
				found[name] = map[string]outcome{"pass": passed, "skip": skipped, "fail": failed}[event.Action]
			} else if event.Action == "fail" && !failing[event.Package] {
				found[name] = failed // it does not compile, or it crashed
			}
			failing[event.Package] = failing[event.Package] || event.Action == "fail"
			if event.Action == "fail" {
				log.WriteString(printed[name])
			}
			delete(printed, name)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("go test ran nothing:\n%s", end(log.String()))
	}
	return found, work.keep(t, "log", []byte(log.String()))
}
