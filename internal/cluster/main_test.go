package cluster_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/pgroute/pgroute/internal/cluster"
)

// patience is how long a test waits for what is to happen, on a busy machine.
const patience = 2 * time.Minute

// helperMode makes the test binary a program that runs a cluster, so that
// tests can have several such programs and kill them.
const helperMode = "PGROUTE_CLUSTER_HELPER"

// helperReport is what the program prints once its cluster is up.
type helperReport struct {
	Dir   string
	PIDs  []int // of every process, the watchdog included
	Value string
}

func TestMain(m *testing.M) {
	if mode := os.Getenv(helperMode); mode != "" {
		if err := helper(mode); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// helper starts a cluster, reports, and waits for the end of its input. In the
// mode "frozen" one node is frozen and another has been killed.
func helper(mode string) error {
	ctx := context.Background()
	if mode == "network" {
		return networkHelper()
	}
	c, err := cluster.New(ctx, cluster.Options{})
	if err != nil {
		return err
	}
	defer c.Close()
	report := helperReport{Dir: c.Dir(), PIDs: []int{c.WatchdogPID()}}
	if err := c.Primary().Exec(ctx, "CREATE TABLE t AS SELECT pg_backend_pid() AS v"); err != nil {
		return err
	}
	if err := c.WaitCaughtUp(ctx); err != nil {
		return err
	}
	if report.Value, err = c.Nodes()[2].QueryString(ctx, "SELECT v FROM t"); err != nil {
		return err
	}
	for _, n := range c.Nodes() {
		pids, err := cluster.Children(n.PID())
		if err != nil {
			return err
		}
		report.PIDs = append(append(report.PIDs, n.PID()), pids...)
	}
	if mode == "frozen" {
		if err := c.Nodes()[1].Freeze(); err != nil {
			return err
		}
		if err := c.Nodes()[2].Stop(cluster.Kill); err != nil {
			return err
		}
	}
	if err := json.NewEncoder(os.Stdout).Encode(report); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// helperProcess is a running helper.
type helperProcess struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout io.Reader
}

func startHelper(t *testing.T, mode string, env ...string) *helperProcess {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &helperProcess{cmd: exec.Command(exe)}
	p.cmd.Env = append(append(os.Environ(), helperMode+"="+mode), env...)
	p.cmd.Stderr = os.Stderr
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if p.stdout, err = p.cmd.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if p.cmd.ProcessState == nil {
			_ = p.cmd.Process.Kill()
			_ = p.cmd.Wait()
		}
	})
	return p
}

func (p *helperProcess) report(t *testing.T) helperReport {
	t.Helper()
	line, err := bufio.NewReader(p.stdout).ReadBytes('\n')
	if err != nil {
		t.Fatalf("read the helper's report: %v", err)
	}
	var report helperReport
	if err := json.Unmarshal(line, &report); err != nil {
		t.Fatalf("read the helper's report: %v: %s", err, line)
	}
	return report
}

// waitGone waits until nothing of a helper's cluster is left.
func waitGone(t *testing.T, report helperReport) {
	t.Helper()
	err := cluster.PollFor(patience, "wait until nothing is left", func() (bool, error) {
		for _, pid := range report.PIDs {
			if cluster.Alive(pid) {
				return false, nil
			}
		}
		_, err := os.Lstat(report.Dir)
		return os.IsNotExist(err), nil
	})
	if err != nil {
		t.Error(err)
	}
}
