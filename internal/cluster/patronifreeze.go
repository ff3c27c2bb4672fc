package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// StopPatroni makes the member's Patroni hang (SIGSTOP); PostgreSQL runs on,
// as what it was. ContPatroni undoes it.
func (m *PatroniMember) StopPatroni() error {
	if err := m.process().signal(sigFreeze); err != nil {
		return fmt.Errorf("stop Patroni of %s: %w", m.Name, err)
	}
	return nil
}

// ContPatroni lets a Patroni run on that StopPatroni has stopped.
func (m *PatroniMember) ContPatroni() error {
	if err := m.process().signal(sigThaw); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("continue Patroni of %s: %w", m.Name, err)
	}
	return nil
}

// StopPostgres makes every process of PostgreSQL hang, as Node.Freeze does.
// ContPostgres undoes it.
func (m *PatroniMember) StopPostgres() error {
	pid := m.PostgresPID()
	if pid == 0 {
		return fmt.Errorf("stop PostgreSQL of %s: it does not run", m.Name)
	}
	// First the postmaster: afterwards no child is born.
	if err := signal(pid, sigFreeze); err != nil {
		return fmt.Errorf("stop PostgreSQL of %s: %w", m.Name, err)
	}
	pids, err := children(pid)
	if err != nil {
		return errors.Join(fmt.Errorf("stop PostgreSQL of %s: %w", m.Name, err), signal(pid, sigThaw))
	}
	return m.node.freezePIDs(append(pids, pid))
}

// StopReplay makes a replica receive and not replay, as Node.StopReplay does:
// Patroni undoes every other way. ContPostgres undoes it.
func (m *PatroniMember) StopReplay(ctx context.Context) error { return m.node.StopReplay(ctx) }

// StopReceiver makes a replica receive nothing, as Node.StopReceiver does.
// ContPostgres undoes it.
func (m *PatroniMember) StopReceiver(ctx context.Context) error { return m.node.StopReceiver(ctx) }

// ContPostgres undoes StopPostgres, StopReplay and StopReceiver.
func (m *PatroniMember) ContPostgres() error { return m.node.Thaw() }
