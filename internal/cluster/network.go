package cluster

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
)

// A Network is a switch and hosts of its own: each Host is a network namespace
// with one address. The caller's own namespace has an address in it too, which
// no fault ever touches. It needs root, ip and nft.
//
// The namespaces have no names: they exist as long as the caller or a process
// in them does. A watchdog ends those processes, and takes the hosts' disks
// away, when the caller dies without a word.
type Network struct {
	subnet string // of four numbers the first three
	prefix string // of the names of links in the caller's namespace
	self   *os.File
	ground *os.File // the namespace of the switch
	guard  *netGuard

	mu     sync.Mutex // guards the fields below
	hosts  []*Host
	closed bool
}

// A Host is one machine of a Network. Its methods may be called at any time.
// The zero value stands for the machine that the caller is on.
type Host struct {
	// Name is what NewHost was given.
	Name string
	// IP is its address; empty stands for 127.0.0.1.
	IP string
	// Env are further variables of the environment of the programs on it.
	Env []string

	net *Network
	ns  *os.File

	mu    sync.Mutex // guards the fields below
	rules []rule     // what happens to packets that arrive
	disk  string
}

// A Cut says what becomes of packets.
type Cut struct {
	// Reject answers them with a reset, where they would be lost otherwise.
	Reject bool
	// Loss is how many of 100 are lost; 0 means all.
	Loss int
}

// rule is a Cut on the way from a host to the one that has the rule.
type rule struct {
	from *Host
	cut  Cut
}

func (h *Host) ip() string {
	if h == nil || h.IP == "" {
		return "127.0.0.1"
	}
	return h.IP
}

// clients are the addresses, in CIDR, from which a server on this host is
// reached.
func (h *Host) clients() string {
	if h == nil || h.net == nil {
		return "127.0.0.1/32"
	}
	return h.net.Subnet()
}

func (h *Host) diskDir() string {
	if h == nil {
		return ""
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.disk
}

// String is the host's name.
func (h *Host) String() string { return h.Name }

// Subnet is the network's in CIDR.
func (n *Network) Subnet() string { return n.subnet + ".0/24" }

// hostNumbers: the last number of the first host's address, and of the
// caller's.
const (
	firstHost = 1
	selfHost  = 254
)

// Close removes the network. The programs on its hosts must have ended, or are
// ended now.
func (n *Network) Close() error {
	n.mu.Lock()
	hosts, closed := slices.Clone(n.hosts), n.closed
	n.closed = true
	n.mu.Unlock()
	if closed {
		return nil
	}
	err := n.guard.close()
	for _, h := range hosts {
		h.ns.Close()
	}
	n.ground.Close()
	n.self.Close()
	return err
}

// Cut does something to the packets from one host to another, until Heal. The
// way back stays as it is.
func (h *Host) Cut(from *Host, cut Cut) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.rules = append(slices.DeleteFunc(h.rules, func(r rule) bool { return r.from == from }), rule{from, cut})
	return h.filterLocked()
}

// Heal undoes Cut.
func (h *Host) Heal(from *Host) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.rules = slices.DeleteFunc(h.rules, func(r rule) bool { return r.from == from })
	return h.filterLocked()
}

// ruleset is for nft: the table as it is to be, in one transaction.
func (h *Host) rulesetLocked() string {
	var b strings.Builder
	b.WriteString("table inet pgroute\ndelete table inet pgroute\ntable inet pgroute {\n chain in {\n  type filter hook input priority 0; policy accept;\n")
	for _, r := range h.rules {
		fmt.Fprintf(&b, "  ip saddr %s ", r.from.IP)
		switch {
		case r.cut.Reject:
			b.WriteString("meta l4proto tcp reject with tcp reset\n")
		case r.cut.Loss > 0:
			fmt.Fprintf(&b, "numgen random mod 100 < %d drop\n", r.cut.Loss)
		default:
			b.WriteString("drop\n")
		}
	}
	b.WriteString(" }\n}\n")
	return b.String()
}

func (h *Host) filterLocked() error {
	return h.tool(h.rulesetLocked(), "nft", "-f", "-")
}

// Slow limits what the host sends to so many bits in a second, such as
// "256kbit"; the empty rate lifts the limit.
func (h *Host) Slow(rate string) error {
	if rate == "" {
		return h.tool("", "tc", "qdisc", "del", "dev", "eth0", "root")
	}
	return h.tool("", "tc", "qdisc", "replace", "dev", "eth0", "root", "tbf", "rate", rate, "burst", "16kb", "latency", "400ms")
}

// tool runs a program of the system in the host's namespace.
func (h *Host) tool(input, name string, args ...string) error {
	path, err := Tool(name)
	if err != nil {
		return err
	}
	return h.Enter(func() error { return runTool(input, path, args...) })
}

func runTool(input, path string, args ...string) error {
	cmd := exec.Command(path, args...)
	cmd.Stdin = strings.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", path, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// subnetFree says whether no address of this machine is in a network.
func subnetFree(cidr string) bool {
	_, want, err := net.ParseCIDR(cidr)
	if err != nil {
		return false
	}
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	for _, addr := range addrs {
		if have, ok := addr.(*net.IPNet); ok && (want.Contains(have.IP) || have.Contains(want.IP)) {
			return false
		}
	}
	return true
}
