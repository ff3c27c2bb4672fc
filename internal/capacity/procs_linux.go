package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of processor time in /proc/PID/stat (USER_HZ), which is the
// same on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// stat is what one process has used.
type stat struct {
	parent int
	// own is the processor time of its threads, ended that of its children that
	// have ended and were waited for.
	own, ended time.Duration
}

// readStat reads /proc/PID/stat; see proc_pid_stat(5). Fields are counted from
// behind the name, which may contain anything.
func readStat(pid int) (stat, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return stat{}, err
	}
	fields := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	if len(fields) < 15 {
		return stat{}, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	number := func(i int) time.Duration {
		n, _ := strconv.ParseInt(fields[i], 10, 64)
		return time.Duration(n) * tick
	}
	parent, err := strconv.Atoi(fields[1])
	if err != nil {
		return stat{}, fmt.Errorf("/proc/%d/stat: %w", pid, err)
	}
	return stat{parent: parent, own: number(11) + number(12), ended: number(13) + number(14)}, nil
}

// exactTime is the processor time of a process with a single thread, as each
// of PostgreSQL's is, to the nanosecond: the first number of its schedstat.
func exactTime(pid int) (time.Duration, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/schedstat", pid))
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(string(data), " ")
	ns, err := strconv.ParseInt(first, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("/proc/%d/schedstat: %w", pid, err)
	}
	return time.Duration(ns), nil
}

// processTime is the processor time of any process, to the tick.
func processTime(pid int) (time.Duration, error) {
	s, err := readStat(pid)
	if err != nil {
		return 0, fmt.Errorf("read the processor time of process %d: %w", pid, err)
	}
	return s.own, nil
}

// usage is the processor time of a server by kind of process.
type usage map[string]time.Duration

// serverUsage adds up the processes of a PostgreSQL server by kind: startup,
// walreceiver, walsender, and rest, which includes what has ended.
func serverUsage(postmaster int) (usage, error) {
	top, err := readStat(postmaster)
	if err != nil {
		return nil, fmt.Errorf("read the processor time of the server: %w", err)
	}
	u := usage{"rest": top.own + top.ended}
	pids, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	for _, dir := range pids {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			continue
		}
		s, err := readStat(pid)
		if errors.Is(err, fs.ErrNotExist) || err == nil && s.parent != postmaster {
			continue
		}
		if err != nil {
			continue // It ended between the two calls; its time is in ended.
		}
		title, _ := os.ReadFile(dir + "/cmdline")
		if exact, err := exactTime(pid); err == nil {
			s.own = exact
		}
		u[kindOf(string(title))] += s.own
	}
	return u, nil
}

// kindOf tells what a server's process does by its title, which is
// "postgres: NAME: walsender app 127.0.0.1(1234) streaming 0/3000148".
func kindOf(title string) string {
	for _, kind := range []string{"startup", "walreceiver", "walsender"} {
		if strings.Contains(title, ": "+kind+" ") {
			return kind
		}
	}
	return "rest"
}

// since returns what was used since before.
func (u usage) since(before usage) usage {
	d := usage{}
	for kind, t := range u {
		d[kind] = t - before[kind]
	}
	return d
}

// all is the sum.
func (u usage) all() (sum time.Duration) {
	for _, t := range u {
		sum += t
	}
	return sum
}

// privateMemory is how many bytes of a process nobody else shares.
func privateMemory(pid int) (int64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, fmt.Errorf("read the memory of process %d: %w", pid, err)
	}
	var sum int64
	for line := range strings.Lines(string(data)) {
		if name, rest, ok := strings.Cut(line, ":"); ok && (name == "Private_Clean" || name == "Private_Dirty") {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			if err != nil {
				return 0, fmt.Errorf("read the memory of process %d: %w", pid, err)
			}
			sum += kib << 10
		}
	}
	return sum, nil
}
