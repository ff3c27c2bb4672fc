package stress_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgroute/pgroute/internal/cluster"
)

// pgbench runs the program over a proxy, again and again.
type pgbench struct {
	program, dir string
	s            *sidecar
	runs         int
	done         int
	pauses       *pauses
	errors       []error
}

func newPgbench(t *testing.T, s *sidecar, p *pauses) *pgbench {
	program, err := cluster.Tool("pgbench")
	if err != nil {
		t.Fatal(err)
	}
	return &pgbench{program: program, dir: t.TempDir(), s: s, pauses: p}
}

// run runs it with the given arguments and returns what it says.
func (b *pgbench) run(ctx context.Context, args ...string) (string, error) {
	host, port, _ := strings.Cut(b.s.addr, ":")
	cmd := exec.CommandContext(ctx, b.program, append([]string{"-h", host, "-p", port, "-U", cluster.AppUser}, append(args, cluster.AppDatabase)...)...)
	cmd.Env = append(os.Environ(), "PGPASSWORD="+cluster.AppPassword, "PGSSLMODE=disable", "PGCONNECT_TIMEOUT=120")
	cmd.Dir = b.dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("pgbench: %w: %s", err, out)
	}
	return string(out), nil
}

// drive runs TPC-B in explicit transactions, in turns of some seconds, until stop
// is closed. A turn that has begun is brought to its end. With -stress.ease
// every other transaction is none, but a rest.
func (b *pgbench) drive(ctx context.Context, seconds int, stop <-chan struct{}) {
	scripts := []string{"-b", "tpcb-like"}
	if *easeFlag > 0 {
		idle := filepath.Join(b.dir, "rest.sql")
		if err := os.WriteFile(idle, fmt.Appendf(nil, "\\sleep %d us\n", easeFlag.Microseconds()), 0o600); err != nil {
			b.errors = append(b.errors, err)
			return
		}
		scripts = append(scripts, "-f", idle)
	}
	for {
		select {
		case <-stop:
			return
		default:
		}
		b.runs++
		began := time.Now()
		prefix := filepath.Join(b.dir, fmt.Sprintf("turn%d", b.runs))
		out, err := b.run(ctx, append(scripts, "-n", "-c", "4", "-j", "1", "-M", "prepared", "-T", fmt.Sprint(seconds), "-l", "--log-prefix", prefix)...)
		if err != nil && !strings.Contains(err.Error(), "aborted in command 4 ") { // that is the BEGIN, which runs again
			err = &cutOff{err, began, time.Now()}
		}
		if err != nil {
			b.errors = append(b.errors, err)
		}
		// Before version 15 it does not tell them; there a client that fails ends it.
		if _, failed, told := strings.Cut(out, "number of failed transactions: "); told && !strings.HasPrefix(failed, "0 ") && err == nil {
			b.errors = append(b.errors, errors.New("pgbench: "+out))
		}
		if err := b.collect(prefix, began); err != nil {
			b.errors = append(b.errors, err)
		}
	}
}

// collect reads the log of a turn: client, number, latency in µs, script, and
// when it was done, in seconds and µs. The turn began at began.
func (b *pgbench) collect(prefix string, began time.Time) error {
	names, err := filepath.Glob(prefix + ".*")
	if err != nil {
		return err
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
			if strings.Contains(lines.Text(), " failed ") {
				b.errors = append(b.errors, &cutOff{fmt.Errorf("pgbench: a transaction failed: %s", lines.Text()), began, time.Now()})
				continue
			}
			var client, number, took, script, sec, usec int64
			if _, err := fmt.Sscan(lines.Text(), &client, &number, &took, &script, &sec, &usec); err != nil {
				return fmt.Errorf("read pgbench's log: %w in %q", err, lines.Text())
			}
			if script > 0 {
				continue
			}
			b.done++
			end := time.Unix(sec, usec*1000)
			b.pauses.add("pgbench", end.Add(-time.Duration(took)*time.Microsecond), end)
		}
		if err := os.Remove(name); err != nil {
			return err
		}
	}
	return nil
}
