package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"
)

// A Cluster is a primary and its replicas, started by New. Its methods may be
// called from several goroutines, as long as no two of them change the same
// node.
type Cluster struct {
	opts  Options
	box   *sandbox
	nodes []*Node

	mu      sync.Mutex // guards the field below
	primary *Node

	closeOnce sync.Once
	closeErr  error
}

// startTimeout is how long New waits at most, on a busy machine.
const startTimeout = 5 * time.Minute

// New starts a cluster and returns when every replica has replayed what the
// primary wrote. ctx bounds the start, not the life of the cluster: the caller
// must Close it.
func New(ctx context.Context, opts Options) (*Cluster, error) {
	if err := opts.validate(); err != nil {
		return nil, fmt.Errorf("start a cluster: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	box, err := newSandbox("pg", opts.Durable, "QUIT")
	if err != nil {
		return nil, fmt.Errorf("start a cluster: %w", err)
	}
	c := &Cluster{opts: opts, box: box}
	if err := c.boot(ctx); err != nil {
		return nil, fmt.Errorf("start a cluster: %w", errors.Join(err, c.Close()))
	}
	return c, nil
}

func (c *Cluster) boot(ctx context.Context) error {
	if err := c.box.mkdir(c.socketDir()); err != nil {
		return err
	}
	for i := range c.opts.Replicas + 1 {
		n := &Node{Name: fmt.Sprintf("pg%d", i+1), Host: "127.0.0.1", c: c}
		n.dir, n.log = c.box.path(n.Name), c.box.path(n.Name+".log")
		c.nodes = append(c.nodes, n)
	}
	c.primary = c.nodes[0]
	if err := c.copyData(ctx); err != nil {
		return err
	}
	for _, n := range c.nodes {
		if err := n.configure(); err != nil {
			return err
		}
	}
	if err := c.startAll(ctx); err != nil {
		return err
	}
	return c.WaitCaughtUp(ctx)
}

// startAll starts all nodes at once, again with other ports if somebody else
// took one of them between our choice and the server's bind.
func (c *Cluster) startAll(ctx context.Context) error {
	for attempt := 1; ; attempt++ {
		ports, err := freePorts(len(c.nodes))
		if err != nil {
			return err
		}
		for i, n := range c.nodes {
			n.Port = ports[i]
		}
		for _, n := range c.nodes[1:] {
			n.follow(c.primary.Host, c.primary.Port)
			if err := c.box.writeFile(n.file("standby.signal"), ""); err != nil {
				return err
			}
		}
		err = c.each(c.nodes, func(n *Node) error { return n.startOnce(ctx) })
		if err == nil || attempt == 3 || !errors.Is(err, errPortTaken) {
			return err
		}
		if err := c.each(c.nodes, func(n *Node) error { return n.Stop(Immediate) }); err != nil {
			return err
		}
	}
}

// each calls do for several nodes at once and waits for all.
func (c *Cluster) each(nodes []*Node, do func(*Node) error) error {
	errs := make(chan error, len(nodes))
	for _, n := range nodes {
		// Ends with do; waited for below.
		go eachOne(n, do, errs)
	}
	var err error
	for range nodes {
		err = errors.Join(err, <-errs)
	}
	return err
}

func eachOne(n *Node, do func(*Node) error, errs chan<- error) { errs <- do(n) }

// Close ends all servers at once, without a checkpoint, and removes their
// files. It may be called more than once.
func (c *Cluster) Close() error {
	c.closeOnce.Do(func() {
		err := c.each(c.nodes, func(n *Node) error { return n.Stop(Immediate) })
		c.closeErr = errors.Join(err, c.box.close())
	})
	return c.closeErr
}

// Primary is the node that was last made the primary: the first one, until
// Node.Promote or Failover name another.
func (c *Cluster) Primary() *Node {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.primary
}

// Nodes are all nodes, running or not, in the order of their names. The slice
// is the caller's.
func (c *Cluster) Nodes() []*Node { return slices.Clone(c.nodes) }

// Replicas are all nodes but Primary, running or not. The slice is the
// caller's.
func (c *Cluster) Replicas() []*Node {
	primary := c.Primary()
	return slices.DeleteFunc(c.Nodes(), func(n *Node) bool { return n == primary })
}

// Addrs are the nodes' addresses, HOST:PORT, in the order of Nodes.
func (c *Cluster) Addrs() []string {
	addrs := make([]string, len(c.nodes))
	for i, n := range c.nodes {
		addrs[i] = n.Addr()
	}
	return addrs
}

func (c *Cluster) socketDir() string { return c.box.path("s") }

func (c *Cluster) setPrimary(n *Node) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.primary = n
}

// firstPort is above the ports that well-known programs use.
const firstPort = 15000

// freePorts finds ports on which nobody listens now, below those that the
// kernel gives to outgoing connections. They are drawn at random, so that
// clusters that start at the same time seldom meet.
func freePorts(n int) ([]int, error) {
	last := ephemeralStart()
	if last <= firstPort+1000 {
		last = 65536
	}
	var ports []int
	for range 1000 {
		if len(ports) == n {
			return ports, nil
		}
		port := firstPort + rand.IntN(last-firstPort)
		if slices.Contains(ports, port) {
			continue
		}
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			return nil, fmt.Errorf("look for a free port: %w", err)
		}
		ports = append(ports, port)
	}
	if len(ports) == n {
		return ports, nil
	}
	return nil, errors.New("look for a free port: none found")
}
