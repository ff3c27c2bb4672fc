package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// fakeClock is Debian's libfaketime, which answers for the clock on the wall in
// the programs that load it. The one for programs with threads takes a lock,
// and PostgreSQL asks for the time in signal handlers.
const fakeClock = "faketime/libfaketime.so.1"

// ClocksInstalled says whether PatroniOptions.Clocks can work here.
func ClocksInstalled() bool {
	dir, err := binDir()
	if err != nil {
		return false
	}
	_, err = clockLibrary(dir)
	return err == nil
}

// clockLibrary finds the library and tries whether the PostgreSQL in dir runs with
// it: one of scripts/versions.sh may have a C library that is too old.
func clockLibrary(dir string) (string, error) {
	found, _ := filepath.Glob("/usr/lib/*/" + fakeClock)
	if len(found) == 0 {
		return "", errors.New("libfaketime is not installed (Debian: apt-get install libfaketime)")
	}
	cmd := exec.Command(filepath.Join(dir, "postgres"), "--version")
	cmd.Env = []string{"LD_PRELOAD=" + found[0]}
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("libfaketime and this PostgreSQL do not go together: %w: %s", err, out)
	}
	return found[0], nil
}

// clockScript stands in for postgres. Patroni believes that a server is its own
// only if it was started within 3 s of the time that the server has noted, by
// its own clock: so a server begins with the right time, as a machine does that
// has asked for it. A crash alone does not end the postmaster, and leaves its
// clock as it is.
const clockScript = `#!/bin/sh
case "$1" in
-D*) echo +0 >'%[1]s.new' && mv '%[1]s.new' '%[1]s' ;;
esac
FAKETIME_TIMESTAMP_FILE='%[1]s' FAKETIME_CACHE_DURATION=1 FAKETIME_DONT_FAKE_MONOTONIC=1 NO_FAKE_STAT=1 LD_PRELOAD='%[2]s' exec '%[3]s' "$@"
`

// wear makes the folder of programs of a member whose server has a clock of its
// own, and returns it.
func (m *PatroniMember) wear() (string, error) {
	library, err := clockLibrary(m.p.opts.BinDir)
	if err != nil {
		return "", err
	}
	dir := m.p.box.path(m.Name + ".bin")
	if err := m.p.box.mkdir(dir); err != nil {
		return "", err
	}
	programs, err := os.ReadDir(m.p.opts.BinDir)
	if err != nil {
		return "", fmt.Errorf("look for PostgreSQL's programs: %w", err)
	}
	for _, p := range programs {
		if p.Name() == "postgres" {
			continue
		}
		if err := os.Symlink(filepath.Join(m.p.opts.BinDir, p.Name()), filepath.Join(dir, p.Name())); err != nil {
			return "", fmt.Errorf("link PostgreSQL's programs: %w", err)
		}
	}
	postgres := filepath.Join(dir, "postgres")
	script := fmt.Sprintf(clockScript, m.clockFile(), library, filepath.Join(m.p.opts.BinDir, "postgres"))
	if err := m.p.box.writeFile(postgres, script); err != nil {
		return "", err
	}
	if err := os.Chmod(postgres, 0o700); err != nil {
		return "", fmt.Errorf("make %s executable: %w", postgres, err)
	}
	return dir, m.SetClock(0)
}

// sweepClocks removes what the library leaves in /dev/shm of a process that was
// killed, and of the programs that a server runs: files with the number of a
// process that is not there any more.
func sweepClocks() error {
	var errs error
	for _, name := range []string{"faketime_shm_", "sem.faketime_sem_"} {
		found, _ := filepath.Glob(filepath.Join(memoryDir, name+"*"))
		for _, path := range found {
			pid, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(path), name))
			if err != nil || alive(pid) {
				continue
			}
			// What belongs to another user is left to that one.
			if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) && !errors.Is(err, os.ErrPermission) {
				errs = errors.Join(errs, err)
			}
		}
	}
	return errs
}

func (m *PatroniMember) clockFile() string { return m.p.box.path(m.Name + ".clock") }

// SetClock sets the clock of the member's server, which must be one of
// PatroniOptions.Clocks, wrong by d: forward, or back if d is negative. Every
// process of the server follows within a second, until the server is started
// again.
func (m *PatroniMember) SetClock(d time.Duration) error {
	// In one step: whoever reads it meanwhile has the one or the other.
	next := m.clockFile() + ".next"
	if err := m.p.box.writeFile(next, sign(d)+strconv.FormatFloat(d.Abs().Seconds(), 'f', 6, 64)+"\n"); err != nil {
		return err
	}
	if err := os.Rename(next, m.clockFile()); err != nil {
		return fmt.Errorf("set the clock of %s: %w", m.Name, err)
	}
	return nil
}

// CrashPostgres ends one process of PostgreSQL with SIGKILL: the postmaster then
// ends all others and begins another life, without having ended itself.
func (m *PatroniMember) CrashPostgres(ctx context.Context) error {
	text, err := m.QueryString(ctx, "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'")
	if err != nil {
		return fmt.Errorf("crash PostgreSQL of %s: %w", m.Name, err)
	}
	pid, err := strconv.Atoi(text)
	if err != nil {
		return fmt.Errorf("crash PostgreSQL of %s: %w", m.Name, err)
	}
	if parent, _ := processStat(pid); parent == 0 || parent != m.PostgresPID() {
		return fmt.Errorf("crash PostgreSQL of %s: process %d does not belong to it", m.Name, pid)
	}
	if err := signal(pid, sigKill); err != nil {
		return fmt.Errorf("crash PostgreSQL of %s: %w", m.Name, err)
	}
	return nil
}

func sign(d time.Duration) string {
	if d < 0 {
		return "-"
	}
	return "+"
}
