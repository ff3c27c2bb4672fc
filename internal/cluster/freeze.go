package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
)

// Freeze stops every process of the server (SIGSTOP): connections stay open
// and nothing answers, as on a machine that hangs. The kernel still accepts
// new TCP connections. Thaw undoes it.
func (n *Node) Freeze() error {
	proc := n.process()
	// First the postmaster: afterwards no child is born.
	if err := proc.signal(sigFreeze); err != nil {
		return fmt.Errorf("freeze %s: %w", n.Name, err)
	}
	pids, err := children(proc.pid)
	if err != nil {
		return fmt.Errorf("freeze %s: %w", n.Name, err)
	}
	return n.freezePIDs(append(pids, proc.pid))
}

// Thaw lets everything run on that Freeze and its like have stopped.
func (n *Node) Thaw() error {
	var err error
	for _, pid := range n.unguardFrozen() {
		if e := signal(pid, sigThaw); e != nil && !errors.Is(e, errNoProcess) {
			err = errors.Join(err, fmt.Errorf("thaw %s: %w", n.Name, e))
		}
	}
	return err
}

// StopReceiver stops the replica's WAL receiver (SIGSTOP): nothing arrives
// any more, and the primary does not notice at once. Thaw undoes it.
func (n *Node) StopReceiver(ctx context.Context) error {
	return n.freezeKind(ctx, "walreceiver")
}

// StopReplay stops the replica's startup process (SIGSTOP): WAL is received,
// not replayed, and no function says so, unlike after PauseReplay. Thaw undoes
// it.
func (n *Node) StopReplay(ctx context.Context) error {
	return n.freezeKind(ctx, "startup")
}

// StopWALWriter stops the process that flushes what was committed
// asynchronously (SIGSTOP): a server that is killed then loses that. Thaw
// undoes it.
func (n *Node) StopWALWriter(ctx context.Context) error {
	return n.freezeKind(ctx, "walwriter")
}

// StopPostmaster stops the postmaster alone (SIGSTOP): those who are connected
// notice nothing, and whoever connects waits. Thaw undoes it.
func (n *Node) StopPostmaster() error { return n.freezePIDs([]int{n.PID()}) }

func (n *Node) freezeKind(ctx context.Context, kind string) error {
	text, err := n.QueryString(ctx, "SELECT pid FROM pg_stat_activity WHERE backend_type = $1", kind)
	if err != nil {
		return fmt.Errorf("find the %s process: %w", kind, err)
	}
	pid, err := strconv.Atoi(text)
	if err != nil {
		return fmt.Errorf("find the %s process: %w", kind, err)
	}
	return n.freezePIDs([]int{pid})
}

func (n *Node) freezePIDs(pids []int) error {
	// The watchdog first: it must not miss a process that cannot end itself.
	n.c.box.guard(pids...)
	n.mu.Lock()
	n.frozen = append(n.frozen, pids...)
	n.mu.Unlock()
	for _, pid := range pids {
		if err := signal(pid, sigFreeze); err != nil && !errors.Is(err, errNoProcess) {
			return fmt.Errorf("freeze %s: %w", n.Name, err)
		}
	}
	return nil
}

// unguardFrozen forgets the frozen processes and returns them.
func (n *Node) unguardFrozen() []int {
	n.mu.Lock()
	pids := slices.Clone(n.frozen)
	n.frozen = nil
	n.mu.Unlock()
	n.c.box.forget(pids...)
	return pids
}

// KillBackend ends one process of the server with SIGKILL, as the kernel does
// when memory runs out. PostgreSQL then ends all sessions and recovers, with
// the same postmaster. pid is what pg_backend_pid returns; a process that is
// not the server's is refused.
func (n *Node) KillBackend(ctx context.Context, pid int) error {
	if parent, _ := processStat(pid); parent == 0 || parent != n.PID() {
		return fmt.Errorf("kill process %d: it does not belong to %s", pid, n.Name)
	}
	if err := signal(pid, sigKill); err != nil {
		return fmt.Errorf("kill process %d of %s: %w", pid, n.Name, err)
	}
	return poll(ctx, fmt.Sprintf("kill process %d of %s", pid, n.Name), func() (bool, error) {
		return !alive(pid), nil
	})
}

// reload makes the postmaster read its configuration again. It passes the
// signal on to its children, so the effect comes a moment later.
func (n *Node) reload() error {
	if err := n.process().signal(sigReload); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("reload %s: %w", n.Name, err)
	}
	return nil
}
