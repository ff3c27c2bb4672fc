package main

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// runPerl runs the tests of DBD::Pg with Debian's DBD::Pg, file by file in the
// order of their names, which they rely on.
func runPerl(ctx context.Context, work *workdir, t *target, dir string) (outcomes, error) {
	if err := work.copyTree("src/libdbd-pg-perl/t", filepath.Join(dir, "t")); err != nil {
		return nil, err
	}
	files, err := filepath.Glob(filepath.Join(dir, "t", "*.t"))
	if err != nil {
		return nil, err
	}
	slices.Sort(files)
	lib := filepath.Join(work.fetched, "perl/usr/lib/x86_64-linux-gnu/perl5/5.36") + ":" + filepath.Join(work.fetched, "perl/usr/share/perl5")
	env := []string{"PERL5LIB=" + lib, "DBI_DSN=dbi:Pg:" + strings.ReplaceAll(t.dsn(), " ", ";"), "DBI_USER=postgres", "DBI_PASS=super-secret"}
	found := make(outcomes)
	var log strings.Builder
	for _, file := range files {
		out, err := tool{dir: dir, env: env}.run(ctx, work, "/usr/bin/perl", file)
		if err != nil {
			return nil, err
		}
		log.WriteString(out)
		addTAP(found, filepath.Base(file), out)
	}
	return found, work.keep(t, "log", []byte(log.String()))
}

// tapLine is the result of a test in TAP, the Test Anything Protocol.
var tapLine = regexp.MustCompile(`^\s*(not )?ok\b\s*(\d+)?\s*(?:- )?(.*)$`)

// addTAP adds the tests that a program reports. A program whose plan is not
// fulfilled has a failed test more: it ended early.
func addTAP(found outcomes, program, out string) {
	ran, plan := 0, -1
	for line := range strings.Lines(out) {
		line = strings.TrimRight(line, "\n")
		var planned int
		if n, err := fmt.Sscanf(line, "1..%d", &planned); n == 1 && err == nil {
			plan = planned
			continue
		}
		m := tapLine.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		ran++
		o := passed
		switch {
		case strings.Contains(m[3], "# skip"):
			o = skipped
		case m[1] != "" && !strings.Contains(m[3], "# TODO"):
			o = failed
		}
		found[fmt.Sprintf("%s %d", program, ran)] = o
	}
	if ran != plan {
		found[program+" plan"] = failed
	}
}
