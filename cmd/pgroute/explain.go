package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/pgroute/pgroute/proxy"
)

const explainHelp = `pgroute explain tells where a statement would run, and why.

  pgroute explain "SELECT count(*) FROM booking"
  pgroute explain --node db1:5432 --monitor DSN --database booking "SELECT total(7)"

With servers it asks the database's own catalogue which functions and views are
safe on a replica; without, it assumes the worst. SQL may be - for standard input.

  --database NAME
        the database whose catalogue decides (default: the monitor's)
`

// maxStatement bounds what explain reads (I7).
const maxStatement = 16 << 20

// runExplain is pgroute explain.
func runExplain(args []string, std stdio) error {
	var database string
	a, err := parseArguments("explain", args, func(fs *flag.FlagSet) { fs.StringVar(&database, "database", "", "") })
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(std.out, explainHelp+"\n")
		printConfigFlag(std.out)
		printKeys(std.out)
		return err
	}
	if err != nil {
		return err
	}
	if len(a.rest) != 1 {
		return usagef("explain: give one statement, in quotes; %d words were given", len(a.rest))
	}
	sql := a.rest[0]
	if sql == "-" {
		text, err := io.ReadAll(io.LimitReader(os.Stdin, maxStatement))
		if err != nil {
			return fmt.Errorf("read the statement: %w", err)
		}
		sql = string(text)
	}
	s, err := loadAll(a, std)
	if err != nil {
		return err
	}
	cat, where, err := catalogue(s, database)
	if err != nil {
		return err
	}
	printExplanation(std.out, proxy.Explain(sql, cat, s.policy), where)
	return nil
}

// catalogue reads the catalogue if servers are given. where says whose it is.
func catalogue(s *settings, database string) (cat *proxy.Catalogue, where string, err error) {
	if len(s.nodes) == 0 && s.zookeeper == "" {
		if database != "" {
			return nil, "", usagef("explain: --database needs servers: --node or --zookeeper, and --monitor")
		}
		return nil, "not known: without --node and --monitor the worst is assumed", nil
	}
	log := newLogging(s, io.Discard)
	src, err := s.source(log.Logger)
	if err != nil {
		return nil, "", err
	}
	monitor, err := s.prober(log.Logger)
	if err != nil {
		return nil, "", err
	}
	defer monitor.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	nodes, err := candidates(ctx, src)
	if err != nil {
		return nil, "", err
	}
	var failed error
	for i := range nodes {
		cat, err := proxy.LoadCatalogue(ctx, monitor, nodes[i].Addr, database)
		if err == nil {
			return cat, fmt.Sprintf("of %s on %s", cmp.Or(database, "the monitor's database"), nodes[i].Name), nil
		}
		failed = errors.Join(failed, err)
	}
	if failed == nil {
		failed = errors.New("there are no servers")
	}
	return nil, "", fmt.Errorf("read the catalogue: %w", failed)
}

func printExplanation(w io.Writer, e proxy.Explanation, where string) {
	line := func(name, text string) {
		if text != "" {
			fmt.Fprintf(w, "%-10s %s\n", name, text)
		}
	}
	line("class", e.Class)
	line("route", e.Route)
	line("reason", strings.TrimSpace(e.Reason+" "+e.Object))
	for _, b := range e.Binds {
		line("binds", b)
	}
	line("hint", e.Hint)
	if e.Statements != 1 {
		line("statements", fmt.Sprint(e.Statements))
	}
	line("catalogue", where)
	for _, warning := range e.Warnings {
		line("warning", warning)
	}
}
