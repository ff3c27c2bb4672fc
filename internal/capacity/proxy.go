package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/pgroute/pgroute/internal/cluster"
)

// program is a process that said it is ready.
type program struct {
	cmd  *exec.Cmd
	addr string
}

// startProgram starts a program and waits for its line "NAME: ready on ADDR".
func startProgram(ctx context.Context, path string, args ...string) (*program, error) {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", filepath.Base(path), err)
	}
	p := &program{cmd: cmd}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if _, addr, ok := strings.Cut(lines.Text(), ": ready on "); ok {
			p.addr = strings.TrimSpace(addr)
			return p, nil
		}
	}
	p.stop()
	return nil, fmt.Errorf("%s ended before it was ready", filepath.Base(path))
}

// stop ends the program and waits for it.
func (p *program) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // It may have ended by itself.
	_ = p.cmd.Wait()
}

// build builds a command of the module into the lab's folder.
func (l *lab) build(ctx context.Context, folder string) (string, error) {
	path := filepath.Join(l.dir, filepath.Base(folder))
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", path, folder).CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w: %s", folder, err, out)
	}
	return path, nil
}

// startProxy runs pgroute in front of the cluster, as a sidecar.
func (l *lab) startProxy(ctx context.Context) (*program, error) {
	path, err := l.build(ctx, "./cmd/pgroute")
	if err != nil {
		return nil, err
	}
	args := []string{"proxy", "--listen", "127.0.0.1:0", "--log-level", "error", "--monitor",
		"postgres://" + cluster.MonitorUser + ":" + cluster.MonitorPassword + "@/postgres?sslmode=disable"}
	for _, addr := range l.Addrs() {
		args = append(args, "--node", addr)
	}
	return startProgram(ctx, path, args...)
}

// measureProxy runs reads and bookings through pgroute.
func measureProxy(ctx context.Context, l *lab) ([]Measurement, error) {
	p, err := l.startProxy(ctx)
	if err != nil {
		return nil, err
	}
	defer p.stop()
	var found []Measurement
	for _, script := range []string{"read", "write"} {
		if _, err := l.pgbench(ctx, p.addr, script); err != nil {
			return nil, err
		}
		before, err := processTime(p.cmd.Process.Pid)
		if err != nil {
			return nil, err
		}
		count, err := l.pgbench(ctx, p.addr, script)
		if err != nil {
			return nil, err
		}
		after, err := processTime(p.cmd.Process.Pid)
		if err != nil {
			return nil, err
		}
		found = append(found, Measurement{
			Name: "proxy_" + script, Value: each(after-before, count), Unit: "µs",
			What: fmt.Sprintf("processor time of pgroute for a %s at session, prepared, %d clients, %d transactions; its questions for positions included",
				map[string]string{"read": "point read", "write": "booking"}[script], clientsAtOnce, count),
		})
	}
	return found, nil
}
