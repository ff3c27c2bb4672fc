package cluster

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
)

// A netGuard is the watchdog of a Network: a shell that outlives the caller.
type netGuard struct {
	cmd *exec.Cmd

	mu    sync.Mutex // guards the fields below
	alarm io.WriteCloser
	disks []string
}

// netGuardScript reads lines until the caller is gone, each "ns NAME" or "disk
// DIR", and then ends every process in those namespaces, which nobody but
// those that the caller started can be in, and takes the disks away.
const netGuardScript = `caller=$1 spaces=' ' disks=
while read -r kind name; do
  case $kind in ns) spaces="$spaces$name " ;; disk) disks="$disks $name" ;; esac
done
inside() {
  ls -l /proc/[0-9]*/ns/net 2>/dev/null | sed -n 's|.* /proc/\([0-9]*\)/ns/net -> \(.*\)$|\1 \2|p' |
    while read -r pid name; do case $pid$spaces in "$caller "*) ;; *" $name "*) echo "$pid" ;; esac; done
}
i=0; while [ $i -lt 50 ]; do
  left=$(inside)
  [ -z "$left" ] && break
  kill -KILL $left
  sleep 0.1; i=$((i+1))
done
for d in $disks; do umount -l "$d"; rmdir "$d"; done
`

func newNetGuard() (*netGuard, error) {
	g := &netGuard{cmd: exec.Command("/bin/sh", "-c", netGuardScript, "pgroute-network-watchdog", strconv.Itoa(os.Getpid()))}
	g.cmd.Dir = "/"
	// In a session of its own: a Ctrl-C in the terminal is not for it.
	g.cmd.SysProcAttr = owner{}.attributes()
	var err error
	if g.alarm, err = g.cmd.StdinPipe(); err == nil {
		err = g.cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("start the network's watchdog: %w", err)
	}
	return g, nil
}

func (g *netGuard) watch(ns *os.File) error {
	name, err := namespaceName(ns)
	if err != nil {
		return err
	}
	return g.tell("ns " + name)
}

// mount announces a disk before it is there.
func (g *netGuard) mount(dir string) error {
	g.mu.Lock()
	g.disks = append(g.disks, dir)
	g.mu.Unlock()
	return g.tell("disk " + dir)
}

func (g *netGuard) tell(line string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, err := io.WriteString(g.alarm, line+"\n"); err != nil {
		return fmt.Errorf("tell the network's watchdog: %w", err)
	}
	return nil
}

// close lets the watchdog do its work and waits for it.
func (g *netGuard) close() error {
	g.mu.Lock()
	alarm, disks := g.alarm, g.disks
	g.mu.Unlock()
	if err := alarm.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("end the network's watchdog: %w", err)
	}
	_ = g.cmd.Wait() // What counts is what is left.
	var left []string
	for _, dir := range disks {
		if _, err := os.Lstat(dir); err == nil {
			left = append(left, dir)
		}
	}
	if left != nil {
		return fmt.Errorf("take the disks away: %s still there", strings.Join(left, ", "))
	}
	return nil
}
