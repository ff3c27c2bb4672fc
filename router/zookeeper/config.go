package zookeeper

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/go-zookeeper/zk"
)

const (
	defaultPort           = "2181"
	defaultSessionTimeout = 10 * time.Second
	minSessionTimeout     = 100 * time.Millisecond
)

// ErrRefused is in what a Trace is told when an access control list is the
// reason.
var ErrRefused = zk.ErrNoAuth

// Config says which ZooKeeper to use and where in it.
type Config struct {
	// Hosts is ZooKeeper's connection string, HOST[:PORT],HOST[:PORT]…[/CHROOT].
	// The port is 2181 unless it is given. A chroot is put before every path.
	Hosts string
	// Path is the znode of the layout, such as /pgroute/booking; for NewPatroni
	// NAMESPACE/SCOPE.
	Path string
	// SessionTimeout is how long ZooKeeper keeps the session of a client that
	// is silent, and how long a Confirmed is good for (Candidates.ValidFor).
	// ZooKeeper may grant the session another timeout. Zero or less means 10 s.
	SessionTimeout time.Duration
	// Auth is USER:PASSWORD for ZooKeeper's digest scheme; empty means none.
	Auth string
	// Logger gets one warning for each malformed state of a node and for each
	// loss of ZooKeeper; everything else is at debug. nil means slog.Default().
	Logger *slog.Logger
	// Trace is told what goes wrong, to be counted for instance.
	Trace Trace
	// TLS is for ZooKeepers that speak it, on the port that they call
	// secureClientPort. A ServerName that is empty becomes each server's host.
	// nil means plain TCP.
	TLS *tls.Config
}

// Trace is a set of functions that are told what goes wrong. Each may be nil.
// They are called by the package's goroutines and must not block.
type Trace struct {
	// BadNode is called once for each malformed state of a node, of a key of
	// Patroni, or of PATH/switchover, with its name and what is wrong with it, and
	// when ZooKeeper begins to refuse to show one (ErrRefused).
	BadNode func(name string, err error)
	// Refused is called when ZooKeeper begins to refuse what it is asked, by its
	// access control lists for instance (ErrRefused).
	Refused func(err error)
}

// place is where something is in ZooKeeper: the servers, HOST:PORT each, and
// the path with the chroot before it, without a slash at its end.
type place struct {
	servers []string
	path    string
}

// validate checks and fills the configuration, and says where Path is.
func (c *Config) validate() (place, error) {
	if c.SessionTimeout <= 0 {
		c.SessionTimeout = defaultSessionTimeout
	}
	if c.SessionTimeout < minSessionTimeout {
		return place{}, fmt.Errorf("ZooKeeper session timeout %s is under %s", c.SessionTimeout, minSessionTimeout)
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Trace.BadNode == nil {
		c.Trace.BadNode = func(string, error) {}
	}
	if c.Trace.Refused == nil {
		c.Trace.Refused = func(error) {}
	}
	if c.Auth != "" && !strings.Contains(c.Auth, ":") {
		return place{}, errors.New("ZooKeeper auth is not USER:PASSWORD")
	}
	servers, chroot, err := parseHosts(c.Hosts)
	if err != nil {
		return place{}, err
	}
	if !strings.HasPrefix(c.Path, "/") {
		return place{}, fmt.Errorf("ZooKeeper path %q does not begin with a slash", c.Path)
	}
	path := chroot + strings.TrimRight(c.Path, "/")
	if path != "" {
		if err := checkPath(path); err != nil {
			return place{}, err
		}
	}
	return place{servers, path}, nil
}

// parseHosts reads a connection string. The chroot has no slash at its end and
// is empty if there is none.
func parseHosts(hosts string) (servers []string, chroot string, err error) {
	list := hosts
	if i := strings.IndexByte(hosts, '/'); i >= 0 {
		list, chroot = hosts[:i], strings.TrimRight(hosts[i:], "/")
		if chroot != "" {
			if err := checkPath(chroot); err != nil {
				return nil, "", err
			}
		}
	}
	for server := range strings.SplitSeq(list, ",") {
		server = strings.TrimSpace(server)
		if server == "" {
			return nil, "", fmt.Errorf("ZooKeeper hosts %q: a host is empty", hosts)
		}
		host, port, err := splitHostPort(server)
		if err != nil {
			return nil, "", fmt.Errorf("ZooKeeper hosts %q: %w", hosts, err)
		}
		servers = append(servers, net.JoinHostPort(host, port))
	}
	return servers, chroot, nil
}

func splitHostPort(server string) (host, port string, err error) {
	host, port = server, defaultPort
	switch bare := strings.Trim(server, "[]"); {
	case net.ParseIP(bare) != nil:
		host = bare // An IPv6 address without a port, in brackets or not.
	case strings.Contains(server, ":"):
		if host, port, err = net.SplitHostPort(server); err != nil {
			return "", "", err
		}
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return "", "", fmt.Errorf("port %q is not between 1 and 65535", port)
	}
	if host == "" || strings.ContainsAny(host, " \t\r\n\x00") {
		return "", "", fmt.Errorf("malformed host %q", host)
	}
	return host, port, nil
}

// checkPath says whether path may name a znode, so that a typing error is
// reported at once and not by every request.
func checkPath(path string) error {
	for name := range strings.SplitSeq(path[1:], "/") {
		if err := checkName(name); err != nil {
			return fmt.Errorf("ZooKeeper path %q: %w", path, err)
		}
	}
	return nil
}

// checkName says whether name may name one znode.
func checkName(name string) error {
	switch {
	case name == "" || name == "." || name == "..":
		return fmt.Errorf("malformed znode name %q", name)
	case strings.ContainsFunc(name, func(r rune) bool {
		return r == '/' || r < ' ' || r >= 0x7f && r <= 0x9f || r >= 0xe000 && r <= 0xf8ff || r >= 0xfff0 && r <= 0xffff
	}):
		return fmt.Errorf("malformed znode name %q", name)
	}
	return nil
}
