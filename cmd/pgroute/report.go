package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/lsn"
	"github.com/pgroute/pgroute/router/pgprobe"
)

// report is what pgroute check found out.
type report struct {
	settings *settings
	nodes    []*nodeFacts
	primary  *nodeFacts // nil if there is not exactly one

	problems, warnings []finding
	// printed is the SQL that was printed: none of it twice.
	printed []string
}

// finding is one thing that is not as it should be.
type finding struct {
	node, text string
	sql        string // what helps; empty if SQL does not
}

func (r *report) problem(node, sql, format string, args ...any) {
	r.problems = append(r.problems, finding{node, fmt.Sprintf(format, args...), sql})
}

func (r *report) warn(node, sql, format string, args ...any) {
	r.warnings = append(r.warnings, finding{node, fmt.Sprintf(format, args...), sql})
}

// judge compares what the servers said with what pgroute needs.
func (r *report) judge() {
	if len(r.nodes) == 0 {
		r.problem("", "", "the source names no servers")
		return
	}
	var primaries []string
	for _, n := range r.nodes {
		if n.role() == "primary" {
			primaries = append(primaries, n.Name)
			if n.known {
				r.primary = n
			}
		}
	}
	switch {
	case len(primaries) == 0:
		r.problem("", "", "none of the servers that answer is a primary: writes would wait")
	case len(primaries) > 1:
		r.primary = nil
		r.problem("", "", "several servers are primaries: %s", strings.Join(primaries, ", "))
	}
	for _, n := range r.nodes {
		r.judgeAccess(n)
		if n.known {
			r.judgeServer(n)
		}
	}
	if p := r.primary; p != nil {
		for _, name := range p.closed {
			r.warn(p.Name, "GRANT CONNECT ON DATABASE "+quoteIdent(name)+" TO "+quoteIdent(p.user)+";",
				"the monitor's role may not connect to database %s: reads of its clients would go to the primary", name)
		}
		if len(r.nodes) == 1 {
			r.warn("", "", "there is no replica: every read goes to the primary")
		}
	}
}

// judgeAccess looks at what the monitor's role may do.
func (r *report) judgeAccess(n *nodeFacts) {
	if !n.reached {
		r.problem(n.Name, "", "the monitor's role cannot log in: %v", n.err)
		return
	}
	granted := n.facts["pg_monitor"] == "true"
	if !granted {
		r.problem(n.Name, "GRANT pg_monitor TO "+quoteIdent(n.user)+";", "the role %s is not a member of pg_monitor", n.user)
	}
	if n.err != nil && granted {
		r.problem(n.Name, "", "%v", n.err)
	}
	switch {
	case errors.Is(n.verifiers, pgprobe.ErrNoVerifierAccess):
		r.problem(n.Name, monitorSQL(n.user), "the role %s cannot look password verifiers up (needed by auth scram)", n.user)
	case n.verifiers != nil:
		r.problem(n.Name, "", "password verifiers cannot be looked up: %v", n.verifiers)
	}
	if n.facts["history"] != "true" {
		r.warn(n.Name, monitorSQL(n.user), "the role %s cannot read where timelines began: after a failover more is called lost than is", n.user)
	}
}

// judgeServer looks at the server itself.
func (r *report) judgeServer(n *nodeFacts) {
	st, p := &n.status, r.primary
	if st.Version < 130000 {
		r.problem(n.Name, "", "PostgreSQL %s is older than 13", n.facts["server_version"])
	}
	if max, err := strconv.Atoi(n.facts["max_connections"]); err == nil {
		switch s := r.settings; {
		case s.limits.MaxNodeConnections >= max:
			r.problem(n.Name, "", "max_node_connections %d is not less than max_connections %d", s.limits.MaxNodeConnections, max)
		case s.limits.MaxNodeConnections == 0 && s.poolSize >= max:
			r.problem(n.Name, "", "pool_size %d is not less than max_connections %d", s.poolSize, max)
		}
	}
	if n.facts["password_encryption"] == "md5" {
		r.warn(n.Name, "ALTER SYSTEM SET password_encryption = 'scram-sha-256';", "new passwords are stored as MD5, which auth scram cannot check")
	}
	if p == nil || n == p {
		return
	}
	if st.SystemID != p.status.SystemID {
		r.problem(n.Name, "", "it belongs to another cluster: system id %d, that of the primary is %d", st.SystemID, p.status.SystemID)
		return
	}
	switch {
	case st.Timeline == 0:
		r.problem(n.Name, "", "it does not stream: it has no WAL receiver")
	case st.Timeline != p.status.Timeline:
		r.problem(n.Name, "", "it follows timeline %d, the primary is on %d", st.Timeline, p.status.Timeline)
	}
	if lag := n.lag(p); r.settings.maxLag > 0 && lag > r.settings.maxLag {
		r.warn(n.Name, "", "it is %s behind, more than max_lag", byteText(lag))
	}
	if st.ReplayPaused {
		r.warn(n.Name, "SELECT pg_wal_replay_resume();", "its replay is paused: it will serve no read that must see new writes")
	}
	if st.ApplyDelay > 0 {
		r.warn(n.Name, "ALTER SYSTEM RESET recovery_min_apply_delay;", "it replays %v late by configuration (recovery_min_apply_delay)", st.ApplyDelay)
	}
	if n.facts["hot_standby_feedback"] == "off" {
		r.warn(n.Name, "ALTER SYSTEM SET hot_standby_feedback = on;", "hot_standby_feedback is off: long reads may be cancelled and run again on another server")
	}
}

// lag is how far a replica has not replayed, 0 if that is not known.
func (n *nodeFacts) lag(p *nodeFacts) int64 {
	if n.status.Replay == 0 || n.status.Replay >= p.status.Insert {
		return 0
	}
	return int64(p.status.Insert - n.status.Replay)
}

// monitorSQL is the SQL that gives a role all that the monitor needs.
func monitorSQL(user string) string {
	sql := cluster.MonitorSQL
	if user != cluster.MonitorUser {
		sql = strings.ReplaceAll(sql, "rolname = '"+cluster.MonitorUser+"'", "rolname = '"+strings.ReplaceAll(user, "'", "''")+"'")
		sql = strings.ReplaceAll(sql, cluster.MonitorUser, quoteIdent(user))
	}
	return strings.TrimSpace(sql)
}

func quoteIdent(s string) string {
	plain := func(r rune) bool { return r == '_' || 'a' <= r && r <= 'z' || '0' <= r && r <= '9' }
	if s != "" && (s[0] < '0' || s[0] > '9') && !strings.ContainsFunc(s, func(r rune) bool { return !plain(r) }) {
		return s
	}
	return `"` + strings.ReplaceAll(s, `"`, `""`) + `"`
}

// print prints the tables, and then what is wrong.
func (r *report) print(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "NODE\tREACHED\tROLE\tTIMELINE\tSYSTEM ID\tVERSION\tLAG\tPG_MONITOR\tVERIFIERS\tBLOCK")
	for _, n := range r.nodes {
		fmt.Fprintln(t, strings.Join(r.row(n), "\t"))
	}
	_ = t.Flush() // w takes everything, or has left
	fmt.Fprintln(w)
	t.Init(w, 0, 0, 2, ' ', 0)
	names := []string{"max_connections", "synchronous_commit", "hot_standby_feedback", "max_standby_streaming_delay"}
	fmt.Fprintln(t, "NODE\t"+strings.Join(names, "\t"))
	for _, n := range r.nodes {
		row := []string{n.Name}
		for _, name := range names {
			row = append(row, orDash(n.facts[name]))
		}
		fmt.Fprintln(t, strings.Join(row, "\t"))
	}
	_ = t.Flush() // w takes everything, or has left
	r.printFindings(w, "problem", r.problems)
	r.printFindings(w, "warning", r.warnings)
	switch {
	case len(r.problems) > 0:
		fmt.Fprintf(w, "\n%d of %d servers are ready for pgroute.\n", len(r.nodes)-r.unready(), len(r.nodes))
	default:
		fmt.Fprintln(w, "\nAll is ready for pgroute.")
	}
}

func (r *report) row(n *nodeFacts) []string {
	row := []string{n.Name, yesNo(n.reached), n.role(), "-", "-", orDash(n.facts["server_version"]), "-", "-", "-", orDash(n.facts["wal_block_size"])}
	if n.known {
		st := &n.status
		row[3], row[4] = strconv.FormatUint(uint64(st.Timeline), 10), strconv.FormatUint(st.SystemID, 10)
		if p := r.primary; p != nil && st.InRecovery && st.SystemID == p.status.SystemID && st.Replay != lsn.LSN(0) {
			row[6] = byteText(n.lag(p))
		}
	}
	if n.reached {
		row[7] = yesNo(n.facts["pg_monitor"] == "true")
		row[8] = yesNo(n.verifiers == nil)
	}
	return row
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// unready counts the servers with a problem of their own.
func (r *report) unready() int {
	var names []string
	for _, f := range r.problems {
		if f.node != "" && !slices.Contains(names, f.node) {
			names = append(names, f.node)
		}
	}
	return len(names)
}

// printFindings prints findings, those with the same text and SQL once.
func (r *report) printFindings(w io.Writer, kind string, list []finding) {
	for i, f := range list {
		same := func(o finding) bool { return o.text == f.text && o.sql == f.sql }
		if slices.IndexFunc(list, same) != i {
			continue
		}
		var names []string
		for _, o := range list {
			if same(o) && o.node != "" {
				names = append(names, o.node)
			}
		}
		where := ""
		if len(names) > 0 {
			where = strings.Join(names, ", ") + ": "
		}
		fmt.Fprintf(w, "\n%s: %s%s\n", kind, where, oneLine(f.text))
		switch {
		case f.sql == "":
		case slices.Contains(r.printed, f.sql):
			fmt.Fprintln(w, "    -- the same SQL as above")
		default:
			r.printed = append(r.printed, f.sql)
			for line := range strings.Lines(f.sql) {
				fmt.Fprintf(w, "    %s", line)
			}
			fmt.Fprintln(w)
		}
	}
}
