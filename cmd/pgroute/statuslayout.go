package main

import (
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/pgroute/pgroute/router/zookeeper"
)

// printLayout prints what ZooKeeper has about the servers.
func printLayout(t io.Writer, l *zookeeper.Layout) {
	fmt.Fprintln(t, "\nREGISTERED\tADDRESS\tWEIGHT\tZONE\tKEPT BY\tSTATE")
	for _, name := range slices.Sorted(maps.Keys(l.Nodes)) {
		n := l.Nodes[name]
		by, state := "hand", "ok"
		if n.Ephemeral {
			by = "an agent"
		}
		if n.Problem != "" {
			fmt.Fprintln(t, strings.Join([]string{safe(name), "-", "-", "-", by, safe(n.Problem)}, "\t"))
			continue
		}
		if name == l.Primary {
			state = "named as the primary"
		}
		fmt.Fprintln(t, strings.Join([]string{safe(name), safe(net.JoinHostPort(n.Host, strconv.Itoa(n.Port))), strconv.Itoa(max(n.Weight, 1)),
			safe(orDash(n.Zone)), by, state}, "\t"))
	}
	if len(l.Nodes) == 0 {
		fmt.Fprintln(t, "no server is registered")
	}
	switch _, known := l.Nodes[l.Primary]; {
	case l.Primary == "":
		fmt.Fprintln(t, "nobody is named as the primary: writes wait")
	case !known:
		fmt.Fprintf(t, "%s is named as the primary, and is not registered: writes wait\n", safe(l.Primary))
	}
	if c := l.Claim; c.Name != "" {
		fmt.Fprintf(t, "the last claim to be the primary is that of %s, on timeline %d\n", safe(c.Name), c.Timeline)
	}
	if l.Configured {
		fmt.Fprintln(t, "there is a configuration for all proxies")
	}
}
