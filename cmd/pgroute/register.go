package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pgroute/pgroute/router/zookeeper"
)

const registerHelp = `pgroute register runs beside a PostgreSQL server and keeps PATH/nodes/NAME in
ZooKeeper while the server answers. SIGTERM takes the znode back and ends it
with exit code 0; after a crash of the agent ZooKeeper takes it back a session
timeout later. Proxies use no server whose znode has gone, however well it is:
without the primary's, writes wait. Whoever ends an agent starts it again soon.

  pgroute register --zookeeper zk1,zk2,zk3 --path /pgroute/booking --name pg1 --node db1:5432

It prints "pgroute: registered NAME" once the znode is there.

Flags:
  --name NAME
        the node's name; required
  --node HOST:PORT
        where the server is, for the agent and for the proxies; required
  --weight N
        the node's share of reads relative to others (default 1)
  --zone ZONE
        where it is, passed on to the proxies
  --tag NAME=VALUE
        passed on to the proxies; repeatable. noloadbalance=true keeps reads away
  --interval DURATION
        how often the server is asked (default 1s)
  --down-after DURATION
        after how long without an answer the znode goes (default 5s)
  --publish-primary
        write PATH/primary, too: see below; needs --monitor
`

const publishHelp = `
Without --monitor the server answers if it takes connections; with it, if that
role can log in and the server says who it is.

With --publish-primary the agent writes its own name into PATH/primary when its
server says that it is a primary, and takes it away when the server says that it
is not one any more. It leaves a name alone
  - that is another node's in PATH/nodes: it never takes it from a live one,
  - if another server published itself on the same or a higher timeline, or for
    another cluster: a server that was left behind stays behind,
  - if nobody knows the timeline of the one that is named.
PATH/claim remembers who published last, and on which timeline. It promotes
nobody: that is for whoever runs the cluster. An absent name may be taken; to
keep all writes waiting, stop the agents first.
`

// registerKeys are the keys of the configuration that the agent has.
var registerKeys = []string{"zookeeper", "path", "zookeeper_auth", "zookeeper_timeout", "zookeeper_tls", "zookeeper_tls_ca",
	"zookeeper_tls_cert", "zookeeper_tls_key", "monitor", "log_format", "log_level"}

// parseRegister makes an agent of its flags.
func parseRegister(args []string, std stdio) (*agent, error) {
	fs := flag.NewFlagSet("register", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	s := &settings{}
	all := keys()
	for _, name := range registerKeys {
		k := find(all, name)
		if k.def != "" {
			if err := k.set(s, k.def); err != nil {
				return nil, fmt.Errorf("the default of %s: %w", name, err)
			}
		}
		fs.Func(k.flag(), "", func(text string) error { return k.set(s, text) })
	}
	a := &agent{interval: time.Second, downAfter: 5 * time.Second, std: std}
	duration := func(d *time.Duration) func(string) error {
		return func(text string) (err error) {
			if *d, err = parseDuration(text); err == nil && *d <= 0 {
				err = fmt.Errorf("%q is not more than 0", text)
			}
			return err
		}
	}
	fs.StringVar(&a.addr.Name, "name", "", "")
	fs.Func("node", "", func(text string) (err error) { a.addr.Host, a.addr.Port, err = splitNode(text); return err })
	fs.Func("weight", "", func(text string) (err error) { a.node.Weight, err = parseCount(text, 1); return err })
	fs.StringVar(&a.node.Zone, "zone", "", "")
	fs.Func("tag", "", func(text string) error {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			return fmt.Errorf("%q is not NAME=VALUE", text)
		}
		if a.node.Tags == nil {
			a.node.Tags = make(map[string]string)
		}
		a.node.Tags[name] = value
		return nil
	})
	fs.Func("interval", "", duration(&a.interval))
	fs.Func("down-after", "", duration(&a.downAfter))
	fs.BoolVar(&a.publishes, "publish-primary", false, "")
	if err := parseFlags(fs, args); err != nil {
		return nil, err
	}
	switch {
	case fs.NArg() > 0:
		return nil, usagef("register: unexpected argument %q", fs.Arg(0))
	case s.zookeeper == "":
		return nil, usagef("register: --zookeeper HOSTS is missing")
	case s.path == "":
		return nil, usagef("register: --path ZNODE is missing")
	case a.addr.Name == "":
		return nil, usagef("register: --name NAME is missing")
	case a.addr.Host == "":
		return nil, usagef("register: --node HOST:PORT is missing")
	case a.publishes && s.monitor == "":
		return nil, usagef("register: --publish-primary needs --monitor, the role that asks the server who it is")
	}
	a.node.Host, a.node.Port = a.addr.Host, a.addr.Port
	a.log = newLogging(s, std.err)
	var err error
	if a.zk, err = s.ownConfig(a.log.Logger); err != nil {
		return nil, err
	}
	if a.registrar, err = zookeeper.NewRegistrar(a.zk); err != nil {
		return nil, &usageError{err}
	}
	// Whether a node of that name and address can be is known before any is.
	if err := a.registrar.Node(a.addr.Name, a.node); err != nil {
		return nil, &usageError{err}
	}
	a.registrar.RemoveNode(a.addr.Name)
	if s.monitor != "" {
		if a.monitor, err = s.prober(a.log.Logger); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// splitNode reads HOST:PORT as the router does.
func splitNode(text string) (host string, port int, err error) {
	if _, err := parseNode(text); err != nil {
		return "", 0, err
	}
	host, digits, err := net.SplitHostPort(text)
	if err != nil {
		return "", 0, err
	}
	port, err = strconv.Atoi(digits)
	return host, port, err
}

// runRegister is pgroute register.
func runRegister(args []string, std stdio) error {
	a, err := parseRegister(args, std)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(std.out, registerHelp)
		for _, k := range keys() {
			if slices.Contains(registerKeys, k.name) {
				printKey(std.out, &k)
			}
		}
		fmt.Fprint(std.out, publishHelp)
	}
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	return a.run(ctx)
}
