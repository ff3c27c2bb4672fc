package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

const (
	readyTimeout = time.Minute
	stopTimeout  = 30 * time.Second
)

// A process is pgroute, running.
type process struct {
	ready string // the line by which it says so
	cmd   *exec.Cmd
	done  chan error // gets how it ended
}

// startProcess starts pgroute and waits until it is ready. Its log goes to our
// standard error.
func startProcess(ctx context.Context, path string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command(path, args...), done: make(chan error, 1)}
	p.cmd.Stderr = os.Stderr
	orphanSignal(p.cmd)
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start pgroute: %w", err)
	}
	line := make(chan string, 1)
	// readLoop ends with the process's output; stop waits for it.
	go p.readLoop(bufio.NewScanner(stdout), line)
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	select {
	case p.ready = <-line:
		return p, nil
	case err := <-p.done:
		return nil, fmt.Errorf("start pgroute: it ended: %v", err)
	case <-ctx.Done():
		return nil, errors.Join(fmt.Errorf("start pgroute: not ready: %w", ctx.Err()), p.stop())
	}
}

// readLoop passes on the line that says that pgroute is ready, and waits for
// its end.
func (p *process) readLoop(out *bufio.Scanner, line chan<- string) {
	for out.Scan() {
		if strings.HasPrefix(out.Text(), "pgroute: ready on ") {
			line <- out.Text()
		}
	}
	p.done <- p.cmd.Wait()
}

// stop ends pgroute and waits for its end. What is wrong with its exit is an
// error: a proxy that crashed under the tests passed none of them.
func (p *process) stop() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself, as its status will tell
	timer := time.NewTimer(stopTimeout)
	defer timer.Stop()
	select {
	case err := <-p.done:
		if err != nil {
			return fmt.Errorf("pgroute ended: %w", err)
		}
		return nil
	case <-timer.C:
		_ = p.cmd.Process.Kill()
		<-p.done
		return errors.New("pgroute did not end when asked to")
	}
}
