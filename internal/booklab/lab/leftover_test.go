package lab_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgroute/pgroute/internal/booklab/lab"
)

// patience is for a machine that does ten other things at once.
const patience = 2 * time.Minute

// A user who closes the terminal, and a test runner that loses patience, must
// not leave anything behind.
func TestNothingIsLeftAfterTheCallerDies(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), helperEnv+"=1")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var report helperReport
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &report)
	}
	if killErr := cmd.Process.Signal(syscall.SIGKILL); killErr != nil {
		t.Error(killErr)
	}
	_ = cmd.Wait() // it was killed
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	if len(report.PIDs) != 8 {
		t.Errorf("processes %v: want a sidecar, two instances, the balancer, ZooKeeper and three servers", report.PIDs)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		left := remains(report)
		if left == "" {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("left: %s", left)
		case <-tick.C:
		}
	}
}

// remains says what is left of a helper's lab.
func remains(r helperReport) string {
	for _, pid := range r.PIDs {
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			return "a process"
		}
	}
	if _, err := os.Lstat(r.Folder); !errors.Is(err, fs.ErrNotExist) {
		return r.Folder
	}
	return ""
}

// A program that does not start is an error that shows what it printed, and
// everything that runs by then is taken down.
func TestStartFailsHalfWay(t *testing.T) {
	dir := t.TempDir()
	program := dir + "/broken"
	// A program runs in the lab's folder.
	script := "#!/bin/sh\n[ $1 = init ] && exit 0\npwd >" + dir + "/folder; echo it is broken; exit 3\n"
	if err := os.WriteFile(program, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := lab.Start(t.Context(), lab.Options{Pgroute: program, Booking: program})
	if err == nil {
		err = l.Close()
		t.Fatalf("a lab of broken programs starts (%v)", err)
	}
	for _, word := range []string{"start sidecar-1", "exit status 3", "it is broken"} {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q is not in: %v", word, err)
		}
	}
	folder, err := os.ReadFile(dir + "/folder")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(strings.TrimSpace(string(folder))); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is left: %v", folder, err)
	}
}

func TestStartIsInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	program := t.TempDir() + "/silent"
	if err := os.WriteFile(program, []byte("#!/bin/sh\n[ $1 = init ] && exit 0\nexec sleep 600\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	// The seats are the last that is told before the programs are started.
	l, err := lab.Start(ctx, lab.Options{Pgroute: program, Booking: program, Progress: func(what string) {
		if what == "the seats are there" {
			cancel()
		}
	}})
	if err == nil {
		err = l.Close()
		t.Fatalf("an interrupted lab starts (%v)", err)
	}
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestOptionsThatMakeNoSense(t *testing.T) {
	for _, opts := range []lab.Options{
		{Sidecars: -1},
		{OverSidecar: -1, OverLibrary: -1},
	} {
		if l, err := lab.Start(t.Context(), opts); err == nil {
			t.Errorf("%+v starts", opts)
			_ = l.Close()
		}
	}
}
