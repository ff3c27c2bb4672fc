package cluster

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
)

// A Program is any program that runs beside the servers, as their user, such
// as a proxy: it may be killed and started again, and ends with the caller.
type Program struct {
	// Name is the log's.
	Name string

	host *Host
	box  *sandbox
	path string
	args []string

	mu   sync.Mutex // guards the field below
	proc *process

	closeOnce sync.Once
	closeErr  error
}

// NewProgram prepares a program on a host, nil for here; Start starts it. Its
// executable is copied, since the servers' user may not be able to read it
// where it is. The caller must Close it.
func NewProgram(host *Host, name, path string, args ...string) (*Program, error) {
	box, err := newSandbox(name, false, "KILL")
	if err != nil {
		return nil, fmt.Errorf("prepare %s: %w", name, err)
	}
	p := &Program{Name: name, host: host, box: box, path: box.path(filepath.Base(path)), args: args}
	data, err := os.ReadFile(path)
	if err == nil {
		if err = os.WriteFile(p.path, data, 0o700); err == nil {
			err = box.owner.take(p.path)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("prepare %s: %w", name, errors.Join(err, box.close()))
	}
	return p, nil
}

// Start starts the program, with further variables of the environment; it must
// not run.
func (p *Program) Start(env ...string) error {
	if p.Running() {
		return fmt.Errorf("start %s: it is running", p.Name)
	}
	proc, err := p.box.startOn(p.host, exec.Command(p.path, p.args...), p.logFile(), env...)
	if err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.proc = proc
	return nil
}

// Kill ends it with SIGKILL and returns when it has ended.
func (p *Program) Kill() error {
	proc := p.process()
	if !proc.running() {
		return nil
	}
	if err := proc.signal(sigKill); err != nil && !errors.Is(err, os.ErrProcessDone) && !errors.Is(err, errNoProcess) {
		return fmt.Errorf("kill %s: %w", p.Name, err)
	}
	if !proc.ended(stopTimeout) {
		return fmt.Errorf("kill %s: still there after %v", p.Name, stopTimeout)
	}
	return nil
}

// Stop makes it hang (SIGSTOP). Cont undoes it.
func (p *Program) Stop() error {
	if err := p.process().signal(sigFreeze); err != nil {
		return fmt.Errorf("stop %s: %w", p.Name, err)
	}
	return nil
}

// Cont lets a program run on that Stop has stopped.
func (p *Program) Cont() error {
	if err := p.process().signal(sigThaw); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("continue %s: %w", p.Name, err)
	}
	return nil
}

// Running says whether it is there, hanging or not.
func (p *Program) Running() bool { return p.process().running() }

// PID is its process id, 0 when it does not run.
func (p *Program) PID() int {
	if proc := p.process(); proc.running() {
		return proc.pid
	}
	return 0
}

// LogTail is the end of what it printed, at most size bytes.
func (p *Program) LogTail(size int64) string { return tail(p.logFile(), size) }

// Close ends the program and removes its files. It may be called more than
// once.
func (p *Program) Close() error {
	p.closeOnce.Do(func() { p.closeErr = errors.Join(p.Kill(), p.box.close()) })
	return p.closeErr
}

func (p *Program) logFile() string { return p.box.path("log") }

func (p *Program) process() *process {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.proc
}
