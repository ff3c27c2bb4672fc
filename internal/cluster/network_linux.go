package cluster

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// NewNetwork makes a network without hosts. The caller must Close it after the
// servers on its hosts.
func NewNetwork() (*Network, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("make a network: only root may")
	}
	for _, name := range []string{"ip", "nft", "tc"} {
		if _, err := Tool(name); err != nil {
			return nil, fmt.Errorf("make a network: %w (Debian: apt-get install iproute2 nftables)", err)
		}
	}
	n := &Network{prefix: fmt.Sprintf("pgr%06x", rand.IntN(1<<24))}
	for range 100 {
		n.subnet = fmt.Sprintf("10.%d.%d", 200+rand.IntN(50), rand.IntN(256))
		if subnetFree(n.Subnet()) {
			break
		}
	}
	var err error
	// Not /proc/self: the first thread may be one that visited a host.
	if n.self, err = threadNamespace(false); err != nil {
		return nil, fmt.Errorf("make a network: %w", err)
	}
	if n.ground, err = threadNamespace(true); err != nil {
		return nil, fmt.Errorf("make a network: %w", errors.Join(err, n.self.Close()))
	}
	if n.guard, err = newNetGuard(); err != nil {
		return nil, fmt.Errorf("make a network: %w", errors.Join(err, n.ground.Close(), n.self.Close()))
	}
	err = inNamespace(n.ground, func() error {
		return errors.Join(ip("link", "add", "br0", "type", "bridge"), ip("link", "set", "br0", "up"),
			ip("link", "add", "self", "type", "veth", "peer", "name", n.prefix, "netns", handle(n.self)),
			ip("link", "set", "self", "master", "br0", "up"))
	})
	if err == nil {
		err = inNamespace(n.self, func() error {
			return errors.Join(ip("addr", "add", fmt.Sprintf("%s.%d/24", n.subnet, selfHost), "dev", n.prefix), ip("link", "set", n.prefix, "up"))
		})
	}
	if err != nil {
		return nil, fmt.Errorf("make a network: %w", errors.Join(err, n.Close()))
	}
	return n, nil
}

// NewHost adds a host to the network.
func (n *Network) NewHost(name string) (*Host, error) {
	ns, err := threadNamespace(true)
	if err != nil {
		return nil, fmt.Errorf("add host %s: %w", name, err)
	}
	n.mu.Lock()
	number := firstHost + len(n.hosts)
	h := &Host{Name: name, IP: fmt.Sprintf("%s.%d", n.subnet, number), net: n, ns: ns}
	n.hosts = append(n.hosts, h)
	n.mu.Unlock()
	link := fmt.Sprintf("port%d", number)
	err = inNamespace(n.ground, func() error {
		return errors.Join(ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", handle(ns)),
			ip("link", "set", link, "master", "br0", "up"))
	})
	if err == nil {
		err = h.Enter(func() error {
			return errors.Join(ip("addr", "add", h.IP+"/24", "dev", "eth0"), ip("link", "set", "eth0", "up"), ip("link", "set", "lo", "up"))
		})
	}
	if err == nil {
		err = n.guard.watch(ns)
	}
	if err != nil {
		return nil, fmt.Errorf("add host %s: %w", name, err)
	}
	return h, nil
}

// Enter runs do in the host's namespace: programs and sockets that it makes
// are on the host. do must not start goroutines that make some.
func (h *Host) Enter(do func() error) error {
	if h == nil || h.ns == nil {
		return do()
	}
	return inNamespace(h.ns, do)
}

func inNamespace(ns *os.File, do func() error) error {
	done := make(chan error, 1)
	// Ends with do; waited for below.
	go visit(ns, do, done)
	return <-done
}

// visit keeps its thread to itself and never gives it back: the thread ends
// with the goroutine, and nobody else ever runs in the namespace.
func visit(ns *os.File, do func() error, done chan<- error) {
	runtime.LockOSThread()
	if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
		done <- fmt.Errorf("enter a network namespace: %w", err)
		return
	}
	done <- do()
}

type namespaceAnswer struct {
	file *os.File
	err  error
}

// threadNamespace opens the namespace of the caller, or a fresh one.
func threadNamespace(fresh bool) (*os.File, error) {
	answer := make(chan namespaceAnswer, 1)
	// Ends at once; waited for below.
	go openNamespace(fresh, answer)
	a := <-answer
	return a.file, a.err
}

func openNamespace(fresh bool, answer chan<- namespaceAnswer) {
	runtime.LockOSThread()
	if fresh {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			answer <- namespaceAnswer{err: fmt.Errorf("make a network namespace: %w", err)}
			return
		}
	} else {
		defer runtime.UnlockOSThread()
	}
	file, err := os.Open("/proc/thread-self/ns/net")
	answer <- namespaceAnswer{file, err}
}

// handle is a path to an open file that programs started by us can open.
func handle(f *os.File) string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), f.Fd()) }

func ip(args ...string) error {
	path, err := Tool("ip")
	if err != nil {
		return err
	}
	return runTool("", path, args...)
}

// Disk gives the host a file system of that many bytes for the data of the
// server that starts on it, and returns where it is.
func (h *Host) Disk(size int64) (string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.disk != "" {
		return h.disk, nil
	}
	own, err := serverOwner()
	if err != nil {
		return "", err
	}
	dir, err := os.MkdirTemp("", "pgroute-disk-"+h.Name+"-")
	if err != nil {
		return "", fmt.Errorf("make a disk for %s: %w", h.Name, err)
	}
	if err := h.net.guard.mount(dir); err != nil {
		return "", errors.Join(err, os.Remove(dir))
	}
	options := fmt.Sprintf("size=%d,mode=0700,uid=%d,gid=%d", size, own.uid, own.gid)
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, options); err != nil {
		return "", fmt.Errorf("make a disk for %s: %w", h.Name, err)
	}
	h.disk = dir
	return dir, nil
}

// FillDisk takes all the room that is left on the host's disk but keep bytes.
func (h *Host) FillDisk(keep int64) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	var fs unix.Statfs_t
	if err := unix.Statfs(h.disk, &fs); err != nil {
		return fmt.Errorf("fill the disk of %s: %w", h.Name, err)
	}
	room := int64(fs.Bavail)*fs.Bsize - keep
	if room <= 0 {
		return nil
	}
	f, err := os.OpenFile(h.filler(), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("fill the disk of %s: %w", h.Name, err)
	}
	defer f.Close()
	// Others may have taken the room meanwhile, which will do.
	if err := unix.Fallocate(int(f.Fd()), 0, 0, room); err != nil && !errors.Is(err, unix.ENOSPC) {
		return fmt.Errorf("fill the disk of %s: %w", h.Name, err)
	}
	return nil
}

// FreeDisk undoes FillDisk.
func (h *Host) FreeDisk() error {
	if err := os.Remove(h.filler()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("free the disk of %s: %w", h.Name, err)
	}
	return nil
}

func (h *Host) filler() string { return filepath.Join(h.disk, "filler") }

// namespaceName is what /proc/PID/ns/net of a process in it says.
func namespaceName(ns *os.File) (string, error) {
	var stat unix.Stat_t
	if err := unix.Fstat(int(ns.Fd()), &stat); err != nil {
		return "", fmt.Errorf("look at a namespace: %w", err)
	}
	return strings.Join([]string{"net:[", fmt.Sprint(stat.Ino), "]"}, ""), nil
}
