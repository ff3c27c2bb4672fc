package lab

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
	"sync"
	"syscall"
	"time"
)

// A Process is a program of a Lab that can be killed and started again. What it
// prints goes to the end of its log. No two of Start, Stop and Kill may run at
// the same time.
type Process struct {
	// Name is unique in its Lab, such as sidecar-1.
	Name string
	// Addr is where it serves, HOST:PORT, the same after each start.
	Addr string

	path    string
	args    []string
	logFile string
	word    string // the line that says it is ready begins with this
	starter *starter
	// serves says whether it does what the others need, nil for those whose
	// word is enough.
	serves func(context.Context) bool

	mu  sync.Mutex // guards the field below
	run *running
}

// running is one life of a Process.
type running struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // how it ended, once done is closed
}

const (
	// readyTimeout is for a machine that does ten other things at once.
	readyTimeout = 2 * time.Minute
	stopTimeout  = 15 * time.Second
	pollPace     = 20 * time.Millisecond
)

// Start starts the program and returns when it serves.
func (p *Process) Start(ctx context.Context) error {
	if p.Running() {
		return fmt.Errorf("start %s: it is running", p.Name)
	}
	log, err := os.OpenFile(p.logFile, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	defer log.Close()
	begin, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	r := &running{cmd: exec.Command(p.path, p.args...), done: make(chan struct{})}
	r.cmd.Env, r.cmd.Dir = environment(), filepath.Dir(p.logFile)
	r.cmd.Stdout, r.cmd.Stderr = log, log
	if err := p.starter.start(r.cmd); err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	// waitLoop ends with the process; Stop and Kill wait for it.
	go r.waitLoop()
	p.mu.Lock()
	p.run = r
	p.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	err = until(ctx, func() (bool, error) {
		if !r.alive() {
			return false, fmt.Errorf("it ended: %v", r.err)
		}
		return p.said(begin) && (p.serves == nil || p.serves(ctx)), nil
	})
	if err != nil {
		return errors.Join(fmt.Errorf("start %s: %w\n%s", p.Name, err, p.LogTail(4<<10)), p.Kill())
	}
	return nil
}

func (r *running) waitLoop() {
	r.err = r.cmd.Wait()
	close(r.done)
}

func (r *running) alive() bool {
	if r == nil {
		return false
	}
	select {
	case <-r.done:
		return false
	default:
		return true
	}
}

// said reports whether the log has the word in a line that was begun after the
// byte begin.
func (p *Process) said(begin int64) bool {
	data, err := os.ReadFile(p.logFile)
	if err != nil || int64(len(data)) < begin {
		return false
	}
	for line := range bytes.Lines(data[begin:]) {
		if bytes.HasPrefix(line, []byte(p.word)) {
			return true
		}
	}
	return false
}

// Stop asks the program to end (SIGTERM), waits until it has, and kills it if
// that takes long, which is an error. A program that does not run is fine.
func (p *Process) Stop() error {
	r := p.current()
	if !r.alive() {
		return nil
	}
	if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop %s: %w", p.Name, err)
	}
	timer := time.NewTimer(stopTimeout)
	defer timer.Stop()
	select {
	case <-r.done:
		return nil
	case <-timer.C:
		return errors.Join(fmt.Errorf("stop %s: still there after %v", p.Name, stopTimeout), p.Kill())
	}
}

// Kill ends the program at once (SIGKILL). One that does not run is fine.
func (p *Process) Kill() error {
	r := p.current()
	if !r.alive() {
		return nil
	}
	if err := r.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill %s: %w", p.Name, err)
	}
	<-r.done
	return nil
}

// Running says whether the program is there.
func (p *Process) Running() bool { return p.current().alive() }

// PID is the program's process id, 0 when it does not run.
func (p *Process) PID() int {
	if r := p.current(); r.alive() {
		return r.cmd.Process.Pid
	}
	return 0
}

// LogTail is the end of what the program printed, in all its lives, at most
// size bytes of it.
func (p *Process) LogTail(size int) string {
	data, err := os.ReadFile(p.logFile)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(data[max(0, len(data)-size):]))
}

// URL is the HTTP address of the program, for those that serve HTTP at Addr.
func (p *Process) URL() string { return "http://" + p.Addr }

func (p *Process) current() *running {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.run
}

// environment is the caller's without what would redirect PostgreSQL's clients.
func environment() []string {
	var env []string
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "PG") {
			env = append(env, e)
		}
	}
	return env
}

// until waits until ok says so, or fails.
func until(ctx context.Context, ok func() (bool, error)) error {
	tick := time.NewTicker(pollPace)
	defer tick.Stop()
	for {
		if done, err := ok(); done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}
