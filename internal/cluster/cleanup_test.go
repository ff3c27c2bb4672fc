package cluster_test

import (
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/pgroute/pgroute/internal/cluster"
)

// A user who closes the terminal, and a test runner that loses patience, must
// not leave servers behind.
func TestNothingIsLeftAfterTheCallerDies(t *testing.T) {
	interrupt := syscall.SIGINT
	if signal.Ignored(interrupt) {
		interrupt = syscall.SIGTERM // a shell lets what it runs in the background ignore the other
	}
	for _, tt := range []struct {
		name, mode string
		signal     syscall.Signal
	}{
		{"killed", "plain", syscall.SIGKILL},
		{"killed while one node is frozen and one is dead", "frozen", syscall.SIGKILL},
		{"interrupted without a handler", "plain", interrupt},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := startHelper(t, tt.mode)
			report := p.report(t)
			if err := p.cmd.Process.Signal(tt.signal); err != nil {
				t.Fatal(err)
			}
			if err := p.cmd.Wait(); err == nil {
				t.Error("the helper ended in peace")
			}
			begin := time.Now()
			waitGone(t, report)
			t.Logf("%d processes and the folder gone after %v", len(report.PIDs), time.Since(begin))
		})
	}
}

func TestNothingIsLeftAfterClose(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Replicas: 1})
	replica := c.Replicas()[0]
	report := helperReport{Dir: c.Dir(), PIDs: []int{c.WatchdogPID(), c.Primary().PID(), replica.PID()}}
	if err := replica.Freeze(); err != nil {
		t.Fatal(err)
	}
	if err := c.Primary().Stop(cluster.Kill); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	for _, pid := range report.PIDs {
		if cluster.Alive(pid) {
			t.Errorf("process %d is left", pid)
		}
	}
	if _, err := os.Lstat(report.Dir); !os.IsNotExist(err) {
		t.Errorf("%s is left: %v", report.Dir, err)
	}
	if err := c.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
}

// go test runs packages in parallel: both may find no template and both must
// get a cluster of their own.
func TestProcessesShareTheTemplate(t *testing.T) {
	env := "TMPDIR=" + t.TempDir()
	first, second := startHelper(t, "plain", env), startHelper(t, "plain", env)
	a, b := first.report(t), second.report(t)
	if a.Dir == b.Dir || a.Value == "" || b.Value == "" {
		t.Errorf("reports %+v and %+v", a, b)
	}
	for _, p := range []*helperProcess{first, second} {
		if err := p.stdin.Close(); err != nil {
			t.Fatal(err)
		}
		if err := p.cmd.Wait(); err != nil {
			t.Errorf("the helper: %v", err)
		}
	}
	waitGone(t, a)
	waitGone(t, b)
}
