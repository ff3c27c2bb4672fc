package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A program is a proxy that runs as a process of its own.
type program struct {
	name, addr, log string

	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // how it ended, once done is closed
}

const (
	readyTimeout = 20 * time.Second
	stopTimeout  = 5 * time.Second
	pollPace     = 10 * time.Millisecond
)

// startProgram starts a program whose output goes to the file log, and returns
// once a connection to addr is accepted and the log contains word.
func startProgram(ctx context.Context, name, addr, log, word, path string, args ...string) (*program, error) {
	out, err := os.Create(log)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	defer out.Close()
	p := &program{name: name, addr: addr, log: log, cmd: exec.Command(path, args...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = orphanSignal()
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	// waitLoop ends with the process; stop waits for it.
	go p.waitLoop()
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	tick := time.NewTicker(pollPace)
	defer tick.Stop()
	for !p.ready(word) {
		select {
		case <-p.done:
			return nil, fmt.Errorf("start %s: it ended (%v):\n%s", name, p.err, p.tail())
		case <-ctx.Done():
			p.stop()
			return nil, fmt.Errorf("start %s: not ready: %w:\n%s", name, ctx.Err(), p.tail())
		case <-tick.C:
		}
	}
	return p, nil
}

func (p *program) waitLoop() {
	p.err = p.cmd.Wait()
	close(p.done)
}

func (p *program) ready(word string) bool {
	if data, err := os.ReadFile(p.log); err != nil || !strings.Contains(string(data), word) {
		return false
	}
	conn, err := net.DialTimeout("tcp", p.addr, time.Second)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// tail is the end of what the program printed.
func (p *program) tail() string {
	data, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(data[max(0, len(data)-2000):]))
}

func (p *program) pid() int { return p.cmd.Process.Pid }

// stop ends the program and waits until it has ended.
func (p *program) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended by itself
	timer := time.NewTimer(stopTimeout)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// memory is what a process uses, in bytes.
type memory struct{ now, peak int64 }

func (p *program) memory() (memory, error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(p.pid()) + "/status")
	if err != nil {
		return memory{}, fmt.Errorf("read the memory of %s: %w", p.name, err)
	}
	m, err := parseStatus(string(data))
	if err != nil {
		return memory{}, fmt.Errorf("read the memory of %s: %w", p.name, err)
	}
	return m, nil
}

// forgetPeak makes the peak begin anew (proc(5), clear_refs). Where the system
// does not allow it the peak is that of the process's whole life.
func (p *program) forgetPeak() {
	_ = os.WriteFile("/proc/"+strconv.Itoa(p.pid())+"/clear_refs", []byte("5"), 0)
}

// parseStatus reads VmRSS and VmHWM of proc(5).
func parseStatus(text string) (memory, error) {
	var m memory
	for line := range strings.SplitSeq(text, "\n") {
		name, value, _ := strings.Cut(line, ":")
		into := map[string]*int64{"VmRSS": &m.now, "VmHWM": &m.peak}[name]
		if into == nil {
			continue
		}
		n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			return memory{}, fmt.Errorf("%s is no number: %w", name, err)
		}
		*into = n << 10
	}
	if m.now == 0 || m.peak == 0 {
		return memory{}, errors.New("no VmRSS or VmHWM there")
	}
	return m, nil
}
