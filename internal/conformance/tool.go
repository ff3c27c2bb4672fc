package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// toolTimeout ends a suite that hangs. On a busy machine the longest takes half
// an hour.
const toolTimeout = 2 * time.Hour

// A tool is a program that runs tests.
type tool struct {
	dir     string   // where it runs
	env     []string // on top of our own
	servers bool     // it runs as the user that the servers run as
	log     string   // a file that gets all that it prints, as it comes
}

// run runs the program and returns what it printed. That it ended with a
// status is no error: tests that fail do that, and its output tells which. If
// it did not end by itself, that is one.
func (t tool) run(ctx context.Context, work *workdir, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, toolTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = t.dir
	cmd.Env = append(cleanEnv(), t.env...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if t.log != "" {
		file, err := os.Create(t.log)
		if err != nil {
			return "", err
		}
		defer file.Close()
		both := io.MultiWriter(&out, file)
		cmd.Stdout, cmd.Stderr = both, both
	}
	cmd.WaitDelay = 10 * time.Second
	orphanSignal(cmd)
	if t.servers && work.uid >= 0 {
		runAs(cmd, work.uid, work.gid)
		cmd.Env = append(cmd.Env, "HOME="+work.dir)
	}
	err := cmd.Run()
	var ended *exec.ExitError
	if errors.As(err, &ended) && ended.ExitCode() >= 0 && ctx.Err() == nil {
		return out.String(), nil
	}
	if errors.As(err, &ended) && ctx.Err() == nil {
		if status, ok := ended.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			return out.String(), fmt.Errorf("%s: ended by %v:\n%s", filepath.Base(name), status.Signal(), end(out.String()))
		}
	}
	if err != nil {
		return out.String(), fmt.Errorf("%s: %w:\n%s", filepath.Base(name), errors.Join(err, ctx.Err()), end(out.String()))
	}
	return out.String(), nil
}

// end is the end of a long text.
func end(text string) string { return text[max(0, len(text)-4000):] }

// cleanEnv is our environment without what would lead a client elsewhere.
func cleanEnv() []string {
	var env []string
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "PG") && !strings.HasPrefix(v, "PYTHON") && !strings.HasPrefix(v, "PERL") {
			env = append(env, v)
		}
	}
	return append(env, "LC_ALL=C.UTF-8")
}
