package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
)

// StopMode says how a server is stopped.
type StopMode int

const (
	// Fast ends all sessions, writes a checkpoint and waits until the replicas
	// have received everything.
	Fast StopMode = iota
	// Immediate exits without a checkpoint; the next start recovers.
	Immediate
	// Kill ends every process of the server with SIGKILL, as a loss of power
	// would, except that the operating system keeps what was written.
	Kill
)

const (
	stopTimeout = 2 * time.Minute // for Fast, Immediate and Kill each
	portTimeout = time.Minute     // for a stopped server's own port to be free again
)

var errPortTaken = errors.New("the port is taken")

// configure writes the configuration files that stay the same for the node's
// whole life.
func (n *Node) configure() error {
	if err := n.c.box.writeFile(n.file("postgresql.conf"), n.c.opts.postgresqlConf()); err != nil {
		return err
	}
	return n.c.box.writeFile(n.file("pg_hba.conf"), n.c.opts.hbaConf())
}

// writeConf writes what differs between nodes and between starts.
func (n *Node) writeConf() error {
	n.mu.Lock()
	upstream := n.upstream
	n.mu.Unlock()
	return n.c.box.writeFile(n.file(nodeConfFile), fmt.Sprintf("port = %d\nunix_socket_directories = %s\ncluster_name = %s\nprimary_conninfo = %s\n",
		n.Port, quoteConf(n.c.socketDir()), quoteConf(n.Name), quoteConf(upstream)))
}

// Start starts the server and returns when it accepts connections: a replica
// may still be behind. Starting a running server is an error.
func (n *Node) Start(ctx context.Context) error {
	patient, cancel := context.WithTimeout(ctx, portTimeout)
	defer cancel()
	// Somebody's connection may use the port for a moment; it cannot change
	// any more, since others know it.
	return poll(patient, "start "+n.Name, func() (bool, error) {
		err := n.startOnce(ctx)
		if errors.Is(err, errPortTaken) && patient.Err() == nil {
			return false, nil
		}
		return true, err
	})
}

func (n *Node) startOnce(ctx context.Context) error {
	if n.Running() {
		return fmt.Errorf("start %s: it is running", n.Name)
	}
	if err := n.writeConf(); err != nil {
		return err
	}
	var logged int64 // what earlier starts said is not about this one
	if info, err := os.Stat(n.log); err == nil {
		logged = info.Size()
	}
	cmd := exec.Command(n.bin("postgres"), append([]string{"-D", n.dir}, n.args...)...)
	proc, err := n.c.box.start(cmd, n.log)
	if err != nil {
		return err
	}
	n.unguardFrozen() // the old server's
	n.mu.Lock()
	n.proc = proc
	n.mu.Unlock()
	err = poll(ctx, "wait until "+n.Name+" accepts connections", func() (bool, error) {
		if !proc.running() {
			text := n.LogTail(4 << 10)
			if info, err := os.Stat(n.log); err == nil {
				text = n.LogTail(min(info.Size()-logged, 4<<10))
			}
			if strings.Contains(text, "could not bind") {
				return false, errPortTaken
			}
			return false, fmt.Errorf("the server exited (%v): %s", proc.err, text)
		}
		lock := n.readLockFile()
		return lock.pid == proc.pid && lock.ready, nil
	})
	if err != nil && proc.running() {
		return errors.Join(err, n.Stop(Immediate))
	}
	return err
}

// lockFile is what a postmaster says about itself in postmaster.pid (miscadmin.h).
type lockFile struct {
	pid, sharedMemory int
	ready             bool
}

func (n *Node) readLockFile() lockFile {
	data, err := os.ReadFile(n.file("postmaster.pid"))
	if err != nil {
		return lockFile{}
	}
	var lock lockFile
	lines := strings.Split(string(data), "\n")
	lock.pid, _ = strconv.Atoi(strings.TrimSpace(lines[0]))
	if len(lines) > 6 {
		if fields := strings.Fields(lines[6]); len(fields) == 2 { // key, id
			lock.sharedMemory, _ = strconv.Atoi(fields[1])
		}
	}
	lock.ready = len(lines) > 7 && strings.TrimSpace(lines[7]) == "ready"
	return lock
}

// Running says whether the server's main process is there, frozen or not.
func (n *Node) Running() bool { return n.process().running() }

// PID is the postmaster's process id, 0 when the server does not run.
func (n *Node) PID() int {
	if p := n.process(); p.running() {
		return p.pid
	}
	return 0
}

func (n *Node) process() *process {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.proc
}

// Stop stops the server and returns when all its processes have ended. A
// server that does not run is fine.
func (n *Node) Stop(mode StopMode) error {
	proc := n.process()
	if !proc.running() {
		return nil
	}
	if mode == Kill {
		return n.kill(proc)
	}
	if err := n.Thaw(); err != nil {
		return err
	}
	sig := sigFast
	if mode == Immediate {
		sig = sigImmediate
	}
	if err := proc.signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop %s: %w", n.Name, err)
	}
	if proc.ended(stopTimeout) {
		return nil
	}
	return errors.Join(fmt.Errorf("stop %s: still there after %v, killed", n.Name, stopTimeout), n.kill(proc))
}

func (n *Node) kill(proc *process) error {
	// A frozen postmaster starts no child while we look for them.
	if err := proc.signal(sigFreeze); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill %s: %w", n.Name, err)
	}
	pids, err := children(proc.pid)
	if err != nil {
		return fmt.Errorf("kill %s: %w", n.Name, err)
	}
	for _, pid := range append(pids, proc.pid) {
		if err := signal(pid, sigKill); err != nil && !errors.Is(err, errNoProcess) {
			return fmt.Errorf("kill %s: %w", n.Name, err)
		}
	}
	n.unguardFrozen()
	if !proc.ended(stopTimeout) {
		return fmt.Errorf("kill %s: still there after %v", n.Name, stopTimeout)
	}
	// The next start refuses while one of the old server's processes lives.
	err = pollFor(stopTimeout, "kill "+n.Name, func() (bool, error) {
		return !slices.ContainsFunc(pids, alive), nil
	})
	// The segment has no place in the data directory and outlives the server.
	if lock := n.readLockFile(); err == nil && lock.pid == proc.pid && lock.sharedMemory > 0 {
		err = removeSharedMemory(lock.sharedMemory, lock.pid)
	}
	return err
}

// Restart stops the server in the mode given and starts it again.
func (n *Node) Restart(ctx context.Context, mode StopMode) error {
	if err := n.Stop(mode); err != nil {
		return err
	}
	return n.Start(ctx)
}
