package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// pipelineRows is what PostgreSQL's own run of libpq_pipeline inserts.
const pipelineRows = "700"

// runPipeline runs the tests of PostgreSQL's program libpq_pipeline. Where
// PostgreSQL has the messages that a test must exchange, the messages that it
// did exchange are compared with them, byte by byte; the comparison is a
// test of its own, as in PostgreSQL's own run.
func runPipeline(ctx context.Context, work *workdir, t *target, dir string) (outcomes, error) {
	program := filepath.Join(work.fetched, "lib", "libpq_pipeline")
	list, err := tool{dir: dir}.run(ctx, work, program, "tests")
	if err != nil {
		return nil, err
	}
	found := make(outcomes)
	for _, test := range strings.Fields(list) {
		trace := filepath.Join(dir, test+".trace")
		status := filepath.Join(dir, test+".status")
		// The program tells by its status alone, which a shell can keep.
		out, err := tool{dir: dir}.run(ctx, work, "/bin/sh", "-c", `"$@"; echo $? >"$0"`, status,
			program, "-r", pipelineRows, "-t", trace, test, t.dsn())
		if err != nil {
			return nil, err
		}
		code, err := os.ReadFile(status)
		if err != nil {
			return nil, err
		}
		found[test] = failed
		if strings.TrimSpace(string(code)) == "0" {
			found[test] = passed
		} else {
			fmt.Fprintf(os.Stderr, "conformance: libpq_pipeline %s:\n%s", test, out)
		}
		want, err := os.ReadFile(filepath.Join(work.fetched, "src/postgresql-15/src/test/modules/libpq_pipeline/traces", test+".trace"))
		if os.IsNotExist(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		got, err := os.ReadFile(trace)
		if err != nil {
			return nil, err
		}
		found[test+" trace"] = failed
		if bytes.Equal(got, want) {
			found[test+" trace"] = passed
		} else if err := work.keep(t, test+".trace", got); err != nil {
			return nil, err
		}
	}
	return found, nil
}
