package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/pgroute/pgroute/router/zookeeper"
)

const statusHelp = `pgroute status asks a running proxy what it knows, at the address of its --admin,
and prints it. It exits with 0 if the proxy is ready, with 1 if it is not or
does not answer, and with 2 if it was asked for something that does not exist.

  pgroute status --admin 127.0.0.1:9187
  pgroute status --config pgroute.yaml      finds the address in the file
  pgroute status --zookeeper HOSTS --path ZNODE      lists the running proxies, too,
                                                     and what ZooKeeper knows of the servers

UP is yes for the primary that takes writes and for what counts as a replica,
LAG the WAL that a replica is not yet known to have replayed, READS what has run
there since the proxy began. Without an address only the running proxies are
listed, and it exits with 0 if there is one.

Flags:
  --json
        print it as JSON, as /status.json of --admin has it
  --config FILE
        the file of the proxy
  --admin ADDR
        where the proxy serves its pages
  and those of pgroute proxy that say where ZooKeeper is
`

// statusTimeout bounds each question.
const statusTimeout = 10 * time.Second

// maxStatus bounds the answer that is believed (I8).
const maxStatus = 16 << 20

// fleet is what pgroute status prints: a proxy, if one was asked, and those
// that ZooKeeper knows, if it was asked.
type fleet struct {
	*proxyStatus
	Proxies map[string]zookeeper.Proxy `json:"proxies,omitempty"`
	Layout  *zookeeper.Layout          `json:"layout,omitempty"`
}

// runStatus is pgroute status.
func runStatus(args []string, std stdio) error {
	var asJSON bool
	a, err := parseArguments("status", args, func(fs *flag.FlagSet) { fs.BoolVar(&asJSON, "json", false, "") })
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(std.out, statusHelp)
		return err
	}
	switch {
	case err != nil:
		return err
	case len(a.rest) > 0:
		return usagef("status: unexpected argument %q", a.rest[0])
	}
	s, err := loadAll(a, std)
	if err != nil {
		return err
	}
	if s.admin == "" && !s.ownLayout() {
		return usagef("status: no proxy: give the --admin ADDR of one that runs, or its --config FILE, or --zookeeper HOSTS with --path ZNODE")
	}
	var f fleet
	if s.admin != "" {
		if f.proxyStatus, err = askProxy(s.admin); err != nil {
			return err
		}
	}
	if s.ownLayout() {
		if err = s.lookUp(&f, std); err != nil {
			return err
		}
	}
	if asJSON {
		e := json.NewEncoder(std.out)
		e.SetIndent("", "  ")
		err = e.Encode(f)
	} else {
		err = f.print(std.out, s.ownLayout())
	}
	if err != nil {
		return fmt.Errorf("print the status: %w", err)
	}
	if f.proxyStatus != nil && !f.Ready || f.proxyStatus == nil && len(f.Proxies) == 0 {
		return errReported
	}
	return nil
}

// askProxy asks a proxy at its --admin.
func askProxy(admin string) (*proxyStatus, error) {
	ctx, cancel := context.WithTimeout(context.Background(), statusTimeout)
	defer cancel()
	addr := reachable(admin)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/status.json", nil)
	if err != nil {
		return nil, &usageError{err}
	}
	// A proxy of HTTP has no business between us and the address.
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return nil, fmt.Errorf("ask the proxy: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("ask the proxy: %s answers %s: it is no pgroute, or an older one", addr, resp.Status)
	}
	st := new(proxyStatus)
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxStatus)).Decode(st); err != nil {
		return nil, fmt.Errorf("ask the proxy: what %s answers is no status: %w", addr, err)
	}
	return st, nil
}

// lookUp asks ZooKeeper for the proxies and the servers that it knows.
func (s *settings) lookUp(f *fleet, std stdio) error {
	ctx, cancel := context.WithTimeout(context.Background(), statusTimeout)
	defer cancel()
	cfg, err := s.ownConfig(newLogging(s, std.err).Logger)
	if err != nil {
		return err
	}
	reg, err := zookeeper.NewRegistry(ctx, cfg)
	if err != nil {
		return err
	}
	defer reg.Close()
	if f.Proxies, err = reg.Proxies(ctx); err != nil {
		return err
	}
	l, err := reg.Layout(ctx)
	f.Layout = &l
	return err
}

// print prints it for people.
func (f *fleet) print(w io.Writer, listed bool) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if f.proxyStatus != nil {
		f.printProxy(t)
	}
	if listed {
		if f.proxyStatus != nil {
			fmt.Fprintln(t)
		}
		fmt.Fprintln(t, "PROXY\tLISTEN\tADMIN\tVERSION\tPEER\tUP SINCE")
		for _, id := range slices.Sorted(maps.Keys(f.Proxies)) {
			p := f.Proxies[id]
			fmt.Fprintln(t, strings.Join([]string{safe(id), safe(strings.Join(p.Listen, ",")), safe(orDash(p.Admin)), safe(p.Version),
				strconv.Itoa(p.PeerID), since(p.Started)}, "\t"))
		}
		if len(f.Proxies) == 0 {
			fmt.Fprintln(t, "none is registered")
		}
		printLayout(t, f.Layout)
	}
	return t.Flush()
}

func (st *proxyStatus) printProxy(t io.Writer) {
	fmt.Fprintf(t, "pgroute %s on %s, up since %s: %s\n", safe(st.Version), safe(strings.Join(st.Listen, ",")), since(st.Started), safe(st.State))
	switch {
	case st.Primary == "":
		fmt.Fprintf(t, "no primary: %s\n", safe(st.NoPrimary))
	case st.Leadership:
		fmt.Fprintf(t, "%s takes writes on timeline %d\n", safe(st.Primary), st.Timeline)
	default:
		fmt.Fprintf(t, "%s is the primary on timeline %d, but writes wait: it is not proven that it leads\n", safe(st.Primary), st.Timeline)
	}
	if st.Manager != "" {
		fmt.Fprintln(t, safe(st.Manager))
	}
	fmt.Fprintf(t, "%d clients, %d of them wait for a server connection\n", st.Clients, st.Waiting)
	if st.ConfigRefused > 0 {
		fmt.Fprintf(t, "%d configurations were refused: the log says why\n", st.ConfigRefused)
	}
	if n := st.SourceErrors; len(n) > 0 {
		var words []string
		for _, what := range slices.Sorted(maps.Keys(n)) {
			if n[what] > 0 {
				words = append(words, fmt.Sprintf("%d %s", n[what], safe(what)))
			}
		}
		if len(words) > 0 {
			fmt.Fprintf(t, "told about the servers and not believed: %s; the log says why\n", strings.Join(words, ", "))
		}
	}
	if age := st.SourceAge; age != nil {
		fmt.Fprintf(t, "the source of servers spoke for the present %.1f s ago\n", *age)
	}
	fmt.Fprintln(t, "\nNODE\tADDRESS\tROLE\tTIMELINE\tLAG\tUP\tREADS\tSTATE")
	for i := range st.Nodes {
		n := &st.Nodes[i]
		timeline, lag, up := "-", "-", "no"
		if n.Timeline != 0 {
			timeline = strconv.FormatUint(uint64(n.Timeline), 10)
		}
		if n.LagBytes != nil {
			lag = byteText(*n.LagBytes)
		}
		if n.Up {
			up = "yes"
		}
		fmt.Fprintf(t, "%s\t%s:%d\t%s\t%s\t%s\t%s\t%d\t%s\n", safe(n.Name), safe(n.Host), n.Port, safe(n.Role), timeline, lag, up, n.Reads, safe(n.State))
	}
	if len(st.Nodes) == 0 {
		fmt.Fprintln(t, "no servers are known")
	}
}

// safe is a text of somebody else's for a table in a terminal: on one line, and
// without what a terminal would obey.
func safe(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, s)
}

func since(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format(time.DateTime)
}
