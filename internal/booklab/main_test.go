package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgroute/pgroute/internal/booklab/api"
)

// programEnv makes this test's program the program itself.
const programEnv = "PGROUTE_BOOKLAB"

func TestMain(m *testing.M) {
	if os.Getenv(programEnv) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func booklab(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, os.Args[0], args...)
	cmd.Env = append(os.Environ(), programEnv+"=1")
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

var address = regexp.MustCompile(`127\.0\.0\.1:\d+`)

// Without a terminal the program tells its story, keeps every promise, says
// where everything is, and ends everything when it is told to.
func TestDemo(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts everything")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := booklab(ctx, "--stay")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		fmt.Fprintln(&text, lines.Text())
		if strings.Contains(lines.Text(), "Every promise was kept") || strings.Contains(lines.Text(), "Broken") {
			break
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	rest, err := io.ReadAll(out)
	if err != nil {
		t.Error(err)
	}
	text.Write(rest)
	if err := cmd.Wait(); err != nil {
		t.Errorf("%v\n%s", err, stderr.String())
	}
	t.Logf("\n%s", text.String())
	for _, word := range []string{
		"Open          http://127.0.0.1:", "booking-1, over sidecar-1", "booking-2, over sidecar-2", "booking-3, over the library",
		"psql 'postgres://app:", "SHOW pgroute.last_route", "(primary)", "Ada books seat", "Grace books seat",
		"booked 1, refused 99, errors 0", "Every promise was kept.", "Ending everything",
	} {
		if !strings.Contains(text.String(), word) {
			t.Errorf("%q is not in it", word)
		}
	}
	found := address.FindAllString(text.String(), -1)
	if len(found) < 9 {
		t.Errorf("%d addresses, want the balancer's, three instances', a DSN's, two sidecars' and three servers'", len(found))
	}
	for _, addr := range found {
		if conn, err := net.DialTimeout("tcp", addr, time.Second); err == nil {
			conn.Close()
			t.Errorf("somebody still listens on %s", addr)
		}
	}
}

func TestArguments(t *testing.T) {
	for _, tt := range []struct {
		args string
		code int
		word string
	}{
		{"--help", 0, "--seconds N"},
		{"--nonsense", 2, "nonsense"},
		{"--seconds -1", 2, "--seconds"},
		{"--port 70000", 2, "--port"},
		{"extra", 2, "extra"},
	} {
		t.Run(tt.args, func(t *testing.T) {
			cmd := booklab(t.Context(), strings.Fields(tt.args)...)
			out, _ := cmd.CombinedOutput() // the exit status tells
			if code := cmd.ProcessState.ExitCode(); code != tt.code || !strings.Contains(string(out), tt.word) {
				t.Errorf("exit %d, %s", code, out)
			}
		})
	}
}

// A port that somebody else has is an error that names it, at once.
func TestPortIsTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	out, err := booklab(t.Context(), "--port", port).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "somebody else listens on 127.0.0.1:"+port) {
		t.Errorf("%v: %s", err, out)
	}
}

func TestBrokenPromiseIsAnError(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	s := &story{scr: newScreen(file)}
	s.promise(true, "a kept one")
	if err := s.score(); err != nil {
		t.Error(err)
	}
	s.promise(false, "seat %s was free", "B3")
	if err := s.score(); err == nil || !strings.Contains(err.Error(), "seat B3 was free") {
		t.Errorf("got %v", err)
	}
}

func TestReadsAreCountedByRole(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `# HELP pgroute_reads_total x
pgroute_reads_total{node="pg1",reason="level",role="primary"} 3
pgroute_reads_total{node="pg2",reason="covered",role="replica"} 40
pgroute_reads_total{node="pg3",reason="waited",role="replica"} 2
pgroute_other_total{role="replica"} 7
`)
	}))
	defer srv.Close()
	got := map[string]float64{}
	client := &api.Client{HTTP: srv.Client()}
	addReads(t.Context(), client.HTTP, strings.TrimPrefix(srv.URL, "http://"), got)
	if got["primary"] != 3 || got["replica"] != 42 {
		t.Errorf("got %v", got)
	}
}
