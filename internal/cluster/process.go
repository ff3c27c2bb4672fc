package cluster

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// A process is a running program of a sandbox.
type process struct {
	pid  int
	done chan struct{} // closed when it has ended
	err  error         // how it ended, once done is closed
}

// start runs a program as the servers' user. Its output goes to the end of
// logFile. The sandbox waits for it; use process.done.
func (s *sandbox) start(cmd *exec.Cmd, logFile string) (*process, error) {
	return s.startOn(nil, cmd, logFile)
}

// startOn is start on a host, nil for this one, with further variables of the
// environment.
func (s *sandbox) startOn(host *Host, cmd *exec.Cmd, logFile string, env ...string) (*process, error) {
	log, err := os.OpenFile(logFile, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open a server's log: %w", err)
	}
	defer log.Close()
	s.prepare(cmd)
	cmd.Stdout, cmd.Stderr = log, log
	if host != nil {
		cmd.Env = append(cmd.Env, host.Env...)
	}
	cmd.Env = append(cmd.Env, env...)
	if err := host.Enter(cmd.Start); err != nil {
		return nil, fmt.Errorf("start %s: %w", filepath.Base(cmd.Path), err)
	}
	p := &process{pid: cmd.Process.Pid, done: make(chan struct{})}
	s.guard(p.pid)
	// waitLoop ends with the process.
	go s.waitLoop(cmd, p)
	return p, nil
}

func (s *sandbox) waitLoop(cmd *exec.Cmd, p *process) {
	p.err = cmd.Wait()
	s.forget(p.pid)
	close(p.done)
}

// run runs a program to its end. The error carries what it printed.
func (s *sandbox) run(ctx context.Context, path string, args ...string) error {
	cmd := exec.CommandContext(ctx, path, args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second
	s.prepare(cmd)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", filepath.Base(path), err)
	}
	s.guard(cmd.Process.Pid)
	err := cmd.Wait()
	s.forget(cmd.Process.Pid)
	if err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(path), err, strings.TrimSpace(out.String()))
	}
	return nil
}

// prepare gives cmd the servers' user, folder and an environment in which
// nothing of the caller's PostgreSQL settings is left.
func (s *sandbox) prepare(cmd *exec.Cmd) {
	cmd.SysProcAttr = s.owner.attributes()
	cmd.Dir = s.dir
	cmd.Env = []string{"LC_ALL=C", "TZ=UTC", "HOME=" + s.dir, "PATH=" + os.Getenv("PATH")}
}

func (p *process) running() bool {
	if p == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// signal sends sig unless the process has ended.
func (p *process) signal(sig syscall.Signal) error {
	if !p.running() {
		return os.ErrProcessDone
	}
	return signal(p.pid, sig)
}

// ended waits until the process has ended, at most for the time given.
func (p *process) ended(within time.Duration) bool {
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-p.done:
		return true
	case <-timer.C:
		return false
	}
}

// tail is the end of a log file, in whole lines.
func tail(path string, size int64) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return ""
	}
	from := max(info.Size()-size, 0)
	data := make([]byte, min(info.Size(), size))
	n, _ := f.ReadAt(data, from)
	text := string(data[:n])
	if from > 0 {
		if _, rest, ok := strings.Cut(text, "\n"); ok {
			text = rest
		}
	}
	return strings.TrimSpace(text)
}
