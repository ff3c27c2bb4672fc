package main

import (
	"bufio"
	"net"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

var address = regexp.MustCompile(`127\.0\.0\.1:\d+`)

// gone fails the test if somebody still listens at an address that the story
// named.
func gone(t *testing.T, story string) {
	t.Helper()
	found := address.FindAllString(story, -1)
	if len(found) < 4 {
		t.Errorf("the story names %d addresses", len(found))
	}
	for _, addr := range found {
		if conn, err := net.Dial("tcp", addr); err == nil {
			conn.Close()
			t.Errorf("somebody still listens at %s", addr)
		}
	}
}

func TestDemoTellsTheStory(t *testing.T) {
	t.Parallel()
	r := invoke(t, "demo", "--seconds", "1")
	if r.code != 0 {
		t.Fatalf("code %d\n%s%s", r.code, r.out, r.err)
	}
	for _, want := range []string{"ZooKeeper", "Write, then read at once", "fresh", "eventual ", "strong ", "0 stale", "pairs, 0 stale", "pgroute demo --stay"} {
		if !strings.Contains(r.out, want) {
			t.Errorf("the story lacks %q", want)
		}
	}
	if strings.Contains(r.out, "\x1b") || strings.Contains(r.out, "\r") || r.err != "" {
		t.Errorf("colours without a terminal, or errors:\n%q\n%s", r.out, r.err)
	}
	gone(t, r.out)
}

// A signal ends the demonstration at any time, and it leaves nothing behind.
func TestDemoEndsBySignal(t *testing.T) {
	t.Parallel()
	for after, sig := range map[string]syscall.Signal{
		"A cluster for a minute": syscall.SIGTERM, // while servers start
		"The same read":          syscall.SIGINT,
		"SHOW NODES":             syscall.SIGTERM, // while it stays
	} {
		t.Run(after, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(binary(t), "demo", "--seconds", "1", "--stay")
			cmd.Env = environment()
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			var story strings.Builder
			sent := false
			for s := bufio.NewScanner(out); s.Scan(); {
				story.WriteString(s.Text() + "\n")
				if !sent && strings.Contains(s.Text(), after) {
					sent = true
					if err := cmd.Process.Signal(sig); err != nil {
						t.Error(err)
					}
				}
			}
			if err := cmd.Wait(); err != nil || !sent {
				t.Errorf("it ended with %v\n%s", err, &story)
			}
			if sig != syscall.SIGTERM || after == "SHOW NODES" {
				gone(t, story.String())
			}
		})
	}
}
