package main

import (
	"os"
	"testing"
	"time"
)

func TestProcessesAreToldApartByTitle(t *testing.T) {
	for title, want := range map[string]string{
		"postgres: pg1: walsender app 127.0.0.1(4711) streaming 0/3000148": "walsender",
		"postgres: pg2: startup recovering 000000010000000000000003":       "startup",
		"postgres: pg2: walreceiver streaming 0/3000148":                   "walreceiver",
		"postgres: pg1: app app 127.0.0.1(4711) idle":                      "rest",
		"/usr/lib/postgresql/15/bin/postgres -D startup":                   "rest",
	} {
		if got := kindOf(title); got != want {
			t.Errorf("%q is %s, should be %s", title, got, want)
		}
	}
}

func TestProcessorTimeIsRead(t *testing.T) {
	pid := os.Getpid()
	before, err := processTime(pid)
	if err != nil {
		t.Fatal(err)
	}
	// Works until the clock of the process has moved.
	for deadline := time.Now().Add(2 * time.Minute); ; {
		after, err := processTime(pid)
		if err != nil {
			t.Fatal(err)
		}
		if after > before {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("working takes no processor time")
		}
	}
	if exact, err := exactTime(pid); err != nil || exact <= 0 {
		t.Errorf("exact processor time %v, %v", exact, err)
	}
	if private, err := privateMemory(pid); err != nil || private <= 0 {
		t.Errorf("private memory %d, %v", private, err)
	}
	if _, err := processTime(1 << 30); err == nil {
		t.Error("a process that is not there has used time")
	}
}
