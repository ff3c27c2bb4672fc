package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"sync"
	"time"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/proxy"
	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/pgprobe"
)

const checkHelp = `pgroute check asks every server what pgroute needs of it, and prints the SQL that
helps where something is missing. It exits with 0 if all is well and 1 if not.

  pgroute check --node db1:5432 --node db2:5432 --monitor DSN
  pgroute check --sql      prints the SQL that makes the monitor's role

It takes the flags of pgroute proxy.
`

// checkTimeout bounds all that is asked of one server.
const checkTimeout = 10 * time.Second

// runCheck is pgroute check.
func runCheck(args []string, std stdio) error {
	var sql bool
	a, err := parseArguments("check", args, func(fs *flag.FlagSet) { fs.BoolVar(&sql, "sql", false, "") })
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(std.out, checkHelp+"\n")
		printConfigFlag(std.out)
		printKeys(std.out)
		return err
	}
	switch {
	case err != nil:
		return err
	case len(a.rest) > 0:
		return usagef("check: unexpected argument %q", a.rest[0])
	case sql:
		fmt.Fprint(std.out, cluster.MonitorSQL)
		return nil
	}
	s, err := loadAll(a, std)
	if err != nil {
		return err
	}
	log := newLogging(s, std.err)
	src, err := s.source(log.Logger)
	if err != nil {
		return err
	}
	monitor, err := s.prober(log.Logger)
	if err != nil {
		return err
	}
	defer monitor.Close()
	nodes, err := candidates(context.Background(), src)
	if err != nil {
		return err
	}
	r := &report{settings: s, nodes: askNodes(monitor, nodes, s.auth == proxy.AuthSCRAM)}
	r.judge()
	r.print(std.out)
	if len(r.problems) > 0 {
		return errReported
	}
	return nil
}

// nodeFacts is what one server said.
type nodeFacts struct {
	router.Addr
	// err is why nothing, or nothing more, is known.
	err error
	// reached is true once the monitor's role could log in.
	reached bool
	// user is the monitor's role as the server calls it.
	user string
	// known is true if status was answered.
	known  bool
	status router.Status
	// verifiers is nil if the role may look verifiers up, or was not asked.
	verifiers error
	facts     map[string]string
	// closed are the databases that the role may not connect to.
	closed []string
}

// askNodes asks all servers at once.
func askNodes(monitor *pgprobe.Prober, nodes []router.Candidate, verifiers bool) []*nodeFacts {
	list := make([]*nodeFacts, len(nodes))
	var wg sync.WaitGroup
	for i := range nodes {
		list[i] = &nodeFacts{Addr: nodes[i].Addr}
		// Ends within checkTimeout; waited for below.
		wg.Go(func() { list[i].ask(monitor, verifiers) })
	}
	wg.Wait()
	return list
}

// role is what the server says it is.
func (n *nodeFacts) role() string {
	switch n.facts["recovery"] {
	case "true":
		return "replica"
	case "false":
		return "primary"
	}
	return "-"
}

// factsSQL asks for rows of a name and a value.
const factsSQL = `SELECT s.name, s.setting || coalesce(' ' || s.unit, '') FROM pg_catalog.pg_settings AS s
 WHERE s.name IN ('server_version', 'wal_block_size', 'hot_standby_feedback', 'max_standby_streaming_delay', 'max_connections',
  'synchronous_commit', 'password_encryption', 'wal_level', 'recovery_min_apply_delay')
UNION ALL SELECT 'user', current_user
UNION ALL SELECT 'recovery', pg_catalog.pg_is_in_recovery()::text
UNION ALL SELECT 'pg_monitor', pg_catalog.pg_has_role('pg_monitor', 'USAGE')::text
UNION ALL SELECT 'history', (pg_catalog.has_function_privilege('pg_catalog.pg_read_file(text,bigint,bigint,boolean)', 'EXECUTE')
  OR EXISTS (SELECT FROM pg_catalog.pg_proc AS f JOIN pg_catalog.pg_namespace AS n ON n.oid = f.pronamespace
  WHERE n.nspname = 'pgroute' AND f.proname = 'timeline_history' AND pg_catalog.has_schema_privilege(n.oid, 'USAGE')
   AND pg_catalog.has_function_privilege(f.oid, 'EXECUTE')))::text
UNION ALL SELECT 'closed', d.datname FROM pg_catalog.pg_database AS d
 WHERE d.datallowconn AND NOT d.datistemplate AND NOT pg_catalog.has_database_privilege(d.oid, 'CONNECT')`

// ask asks one server; what fails is noted.
func (n *nodeFacts) ask(monitor *pgprobe.Prober, verifiers bool) {
	ctx, cancel := context.WithTimeout(context.Background(), checkTimeout)
	defer cancel()
	rows, err := monitor.Query(ctx, n.Addr, "", factsSQL)
	if err != nil {
		n.err = err
		return
	}
	n.reached, n.facts = true, make(map[string]string)
	for _, row := range rows {
		if len(row) != 2 || row[0] == nil || row[1] == nil {
			continue
		}
		if *row[0] == "closed" {
			n.closed = append(n.closed, *row[1])
			continue
		}
		n.facts[*row[0]] = *row[1]
	}
	n.user = n.facts["user"]
	if verifiers {
		_, _, n.verifiers = monitor.Verifier(ctx, n.Addr, n.user)
	}
	probe, err := monitor.Connect(ctx, n.Addr)
	if err != nil {
		n.err = err
		return
	}
	defer probe.Close()
	if n.status, err = probe.Identify(ctx); err != nil {
		n.err = fmt.Errorf("ask %s who it is: %w", n.Name, err)
		return
	}
	n.known = true
}
