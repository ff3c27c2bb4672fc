package cluster

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// A sandbox is a temporary folder and the processes that work in it. Whatever
// happens to the caller, the processes end and the folder goes: close does it
// through the watchdog, and so does the caller's death.
type sandbox struct {
	dir      string
	owner    owner
	watchdog *exec.Cmd

	mu    sync.Mutex // guards the fields below
	alarm io.WriteCloser
	pids  []int // what the watchdog must end, in the order of their start
}

// memoryDir is used for servers that need not be durable, if it has room.
const (
	memoryDir  = "/dev/shm"
	memoryRoom = 2 << 30
)

// watchdogScript reads lines, each with all pids that are alive now, until the
// caller is gone (end of file): then it ends the last ones and removes the
// folder. It runs as the servers' user, who may touch nothing else. A stopped
// process acts on no signal but SIGKILL, hence the SIGCONT.
const watchdogScript = `dir=$1 sig=$2 pids=
while read -r line; do pids=$line; done
if [ -n "$pids" ]; then
  kill -CONT $pids; kill "-$sig" $pids
  i=0; while [ $i -lt 30 ]; do
    left=; for p in $pids; do kill -0 "$p" && left="$left $p"; done
    [ -z "$left" ] && break
    sleep 0.1; i=$((i+1))
  done
  [ -n "$left" ] && kill -KILL $left
fi
i=0; while [ $i -lt 10 ]; do rm -rf -- "$dir" && break; sleep 0.1; i=$((i+1)); done
`

// newSandbox makes the folder, on a disk if onDisk, and starts the watchdog.
// With sig (QUIT, KILL) the watchdog ends the processes of a dead caller.
func newSandbox(name string, onDisk bool, sig string) (*sandbox, error) {
	own, err := serverOwner()
	if err != nil {
		return nil, err
	}
	parent := os.TempDir()
	if !onDisk && freeBytes(memoryDir) >= memoryRoom {
		parent = memoryDir
	}
	dir, err := os.MkdirTemp(parent, "pgroute-"+name+"-")
	if err != nil {
		return nil, fmt.Errorf("make a folder for servers: %w", err)
	}
	s := &sandbox{dir: dir, owner: own}
	if err := own.take(dir); err != nil {
		return nil, errors.Join(fmt.Errorf("give %s to the servers: %w", dir, err), os.Remove(dir))
	}
	s.watchdog = exec.Command("/bin/sh", "-c", watchdogScript, "pgroute-watchdog", dir, sig)
	s.watchdog.Dir = "/"
	s.watchdog.SysProcAttr = own.attributes()
	if s.alarm, err = s.watchdog.StdinPipe(); err == nil {
		err = s.watchdog.Start()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the watchdog: %w", err), os.Remove(dir))
	}
	return s, nil
}

// close removes the folder. All processes must have ended, except those that
// the owner could not end: the watchdog does.
func (s *sandbox) close() error {
	s.mu.Lock()
	alarm := s.alarm
	s.mu.Unlock()
	// A second close finds the pipe closed and the folder gone, and is harmless.
	if err := alarm.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("end the watchdog: %w", err)
	}
	// The exit status says nothing: kill(1) complains about pids that ended by
	// themselves. Whether the folder is gone says everything.
	_ = s.watchdog.Wait()
	if _, err := os.Lstat(s.dir); !errors.Is(err, os.ErrNotExist) {
		if err := os.RemoveAll(s.dir); err != nil {
			return fmt.Errorf("remove the servers' folder: %w", err)
		}
	}
	return nil
}

func (s *sandbox) path(elem ...string) string {
	return filepath.Join(append([]string{s.dir}, elem...)...)
}

func (s *sandbox) mkdir(path string) error {
	if err := os.Mkdir(path, 0o700); err != nil {
		return fmt.Errorf("make a folder: %w", err)
	}
	return s.owner.take(path)
}

func (s *sandbox) writeFile(path, content string) error {
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		return fmt.Errorf("write a server's file: %w", err)
	}
	return s.owner.take(path)
}

// guard tells the watchdog about a process; forget takes it back. Both are
// quick, and a dead watchdog is no reason to fail.
func (s *sandbox) guard(pids ...int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pids = append(s.pids, pids...)
	s.tellLocked()
}

func (s *sandbox) forget(pids ...int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, pid := range pids {
		if i := slices.Index(s.pids, pid); i >= 0 {
			s.pids = slices.Delete(s.pids, i, i+1)
		}
	}
	s.tellLocked()
}

func (s *sandbox) tellLocked() {
	words := make([]string, len(s.pids))
	for i, pid := range s.pids {
		words[i] = strconv.Itoa(pid)
	}
	_, _ = io.WriteString(s.alarm, strings.Join(words, " ")+"\n")
}
