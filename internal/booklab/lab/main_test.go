package lab_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"testing"

	"github.com/pgroute/pgroute/internal/booklab/lab"
)

// helperEnv makes this test's program start a lab, say what it started, and
// wait for the end of its input, or for its own.
const helperEnv = "PGROUTE_LAB_HELPER"

// helperReport is what the helper started.
type helperReport struct {
	PIDs   []int
	Folder string
}

func TestMain(m *testing.M) {
	if os.Getenv(helperEnv) == "" {
		os.Exit(m.Run())
	}
	if err := help(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func help() error {
	l, err := lab.Start(context.Background(), lab.Options{OverSidecar: 1, Sidecars: 1})
	if err != nil {
		return err
	}
	report := helperReport{Folder: l.Folder(), PIDs: []int{l.ZooKeeper.PID()}}
	for _, p := range l.Processes() {
		report.PIDs = append(report.PIDs, p.PID())
	}
	for _, n := range l.Cluster.Nodes() {
		report.PIDs = append(report.PIDs, n.PID())
	}
	if err := json.NewEncoder(os.Stdout).Encode(report); err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	return l.Close()
}
