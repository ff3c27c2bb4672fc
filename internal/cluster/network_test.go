package cluster_test

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/pgroute/pgroute/internal/cluster"
)

func startNetwork(t *testing.T) *cluster.Network {
	t.Helper()
	n, err := cluster.NewNetwork()
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { must(t, n.Close()) })
	return n
}

// serve listens on a host, accepts and says nothing.
func serve(t *testing.T, h *cluster.Host) net.Addr {
	t.Helper()
	var l net.Listener
	must(t, h.Enter(func() (err error) {
		l, err = net.Listen("tcp", h.IP+":0")
		return err
	}))
	t.Cleanup(func() { must(t, l.Close()) })
	return l.Addr()
}

// reach dials from a host, nil for here.
func reach(h *cluster.Host, addr net.Addr, within time.Duration) error {
	return h.Enter(func() error {
		conn, err := net.DialTimeout("tcp", addr.String(), within)
		if err == nil {
			err = conn.Close()
		}
		return err
	})
}

func timedOut(err error) bool {
	var e net.Error
	return errors.As(err, &e) && e.Timeout()
}

const (
	soon   = 300 * time.Millisecond // nothing comes, so no machine is too slow for it
	surely = time.Minute
)

func TestNetworkCuts(t *testing.T) {
	n := startNetwork(t)
	var hosts []*cluster.Host
	for _, name := range []string{"a", "b", "c"} {
		h, err := n.NewHost(name)
		must(t, err)
		hosts = append(hosts, h)
	}
	a, b, c := hosts[0], hosts[1], hosts[2]
	addr := serve(t, a)
	for _, from := range []*cluster.Host{nil, a, b, c} {
		must(t, reach(from, addr, surely))
	}
	must(t, a.Cut(b, cluster.Cut{}))
	if err := reach(b, addr, soon); !timedOut(err) {
		t.Errorf("b reaches a over a way that is cut: %v", err)
	}
	must(t, reach(c, addr, surely))
	must(t, reach(nil, addr, surely))

	must(t, a.Cut(b, cluster.Cut{Reject: true}))
	if err := reach(b, addr, surely); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a rejects b: %v", err)
	}
	// Of the other way only the answers come back to b.
	must(t, a.Heal(b))
	must(t, reach(b, addr, surely))
	must(t, b.Cut(a, cluster.Cut{}))
	if err := reach(b, addr, soon); !timedOut(err) {
		t.Errorf("a's answers reach b: %v", err)
	}
	must(t, b.Cut(a, cluster.Cut{Loss: 20}))
	must(t, reach(b, addr, surely))
	must(t, b.Heal(a))
	must(t, b.Slow("64kbit"))
	must(t, reach(b, addr, surely))
	must(t, b.Slow(""))
	must(t, reach(b, addr, surely))
}

func TestHostDisk(t *testing.T) {
	n := startNetwork(t)
	h, err := n.NewHost("a")
	must(t, err)
	dir, err := h.Disk(1 << 20)
	must(t, err)
	again, err := h.Disk(1 << 20)
	must(t, err)
	if again != dir {
		t.Errorf("two disks: %s, %s", dir, again)
	}
	write := func() error { return os.WriteFile(dir+"/file", make([]byte, 64<<10), 0o600) }
	must(t, write())
	must(t, os.Remove(dir+"/file"))
	must(t, h.FillDisk(0))
	if err := write(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("there is room on a full disk: %v", err)
	}
	must(t, h.FreeDisk())
	must(t, write())
	must(t, n.Close())
	if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the disk is left: %v", err)
	}
}

// Patroni, ZooKeeper and a program run on hosts of their own.
func TestPatroniOnHosts(t *testing.T) {
	if testing.Short() || !cluster.PatroniInstalled() {
		t.Skip("needs Patroni and ZooKeeper, and takes seconds")
	}
	n := startNetwork(t)
	keeper, err := n.NewHost("zk")
	must(t, err)
	var hosts []*cluster.Host
	for _, name := range []string{"pg1", "pg2"} {
		h, err := n.NewHost(name)
		must(t, err)
		_, err = h.Disk(512 << 20)
		must(t, err)
		hosts = append(hosts, h)
	}
	z := cluster.StartZooKeeper(t, cluster.ZooKeeperOptions{Host: keeper})
	p := cluster.StartPatroni(t, 2, cluster.PatroniOptions{ZooKeeper: z, Hosts: hosts})
	leader, err := p.Leader(t.Context())
	must(t, err)
	if leader.Host != hosts[0].IP || leader.Addr() == z.Addr() {
		t.Errorf("%s is at %s, its host at %s", leader, leader.Host, hosts[0].IP)
	}
	must(t, leader.StopPatroni())
	must(t, leader.ContPatroni())
	must(t, leader.StopPostgres())
	must(t, leader.ContPostgres())
	must(t, leader.Exec(t.Context(), "CREATE TABLE t ()"))

	sleep, err := cluster.Tool("sleep")
	must(t, err)
	prog, err := cluster.NewProgram(keeper, "sleeper", sleep, "1000")
	must(t, err)
	must(t, prog.Start())
	pid := prog.PID()
	if !prog.Running() || pid == 0 {
		t.Error("the program does not run")
	}
	must(t, prog.Stop())
	must(t, prog.Cont())
	must(t, prog.Kill())
	must(t, prog.Start())
	must(t, prog.Close())
	if cluster.Alive(pid) || prog.Running() {
		t.Error("the program is left")
	}
}

// networkHelper is a helper with a host, its disk, and a frozen program there
// that its own watchdog does not know of.
func networkHelper() error {
	n, err := cluster.NewNetwork()
	if err != nil {
		return err
	}
	defer n.Close()
	h, err := n.NewHost("a")
	if err != nil {
		return err
	}
	var report helperReport
	if report.Dir, err = h.Disk(1 << 20); err != nil {
		return err
	}
	cmd := exec.Command("sleep", "1000")
	if err := h.Enter(cmd.Start); err != nil {
		return err
	}
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	report.PIDs = []int{cmd.Process.Pid}
	if err := json.NewEncoder(os.Stdout).Encode(report); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

func TestNothingOfANetworkIsLeftAfterTheCallerDies(t *testing.T) {
	startNetwork(t) // or skip
	p := startHelper(t, "network")
	report := p.report(t)
	must(t, p.cmd.Process.Kill())
	if err := p.cmd.Wait(); err == nil {
		t.Error("the helper ended in peace")
	}
	waitGone(t, report)
}
