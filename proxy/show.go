package proxy

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pgroute/pgroute/internal/sqlstate"
	"github.com/pgroute/pgroute/router"
)

// table is the answer to a SHOW of the admin database.
type table struct {
	columns []string
	kinds   []valueKind
	rows    [][]any // string, int64, bool, or nil for NULL
}

// valueKind is the type of a column.
type valueKind uint8

const (
	kindText valueKind = iota
	kindInt
	kindBool
)

// newTable makes a table of columns that are named NAME, NAME:int or
// NAME:bool.
func newTable(columns ...string) *table {
	t := new(table)
	for _, c := range columns {
		name, kind, _ := strings.Cut(c, ":")
		k := kindText
		switch kind {
		case "int":
			k = kindInt
		case "bool":
			k = kindBool
		}
		t.columns, t.kinds = append(t.columns, name), append(t.kinds, k)
	}
	return t
}

func (t *table) add(values ...any) {
	for i, v := range values {
		switch n := v.(type) {
		case int:
			values[i] = int64(n)
		case uint64:
			values[i] = int64(n)
		}
	}
	t.rows = append(t.rows, values)
}

// shows are the words of SHOW, in the order of SHOW HELP.
var shows = []struct {
	word, help string
	table      func(*Server) *table
}{
	{"NODES", "the servers, their roles and how far replicas have replayed", (*Server).showNodes},
	{"READS", "how many reads ran where, and why", (*Server).showReads},
	{"SHADOW", "in shadow mode: where reads would have run, and why", (*Server).showShadow},
	{"POOLS", "clients and server connections by database and user", (*Server).showPools},
	{"CLIENTS", "the clients", (*Server).showClients},
	{"SERVERS", "the connections to servers", (*Server).showServers},
	{"STATS", "counters by database", (*Server).showStats},
	{"DATABASES", "the databases that clients have used", (*Server).showDatabases},
	{"CONFIG", "the settings", (*Server).showConfig},
	{"VERSION", "the version of pgroute", (*Server).showVersion},
}

// show answers one statement, which was trimmed.
func (s *Server) show(sql string) (*table, error) {
	words := strings.Fields(strings.ToUpper(sql))
	if len(words) == 2 && words[0] == "SHOW" {
		if words[1] == "HELP" {
			return showHelp(), nil
		}
		for i := range shows {
			if shows[i].word == words[1] {
				return shows[i].table(s), nil
			}
		}
	}
	return nil, &Error{Code: sqlstate.SyntaxError, Message: fmt.Sprintf("the admin database does not know %q", clip(sql)), Hint: "SHOW HELP lists what it knows."}
}

// clip shortens a statement for an error message.
func clip(sql string) string {
	if r := []rune(sql); len(r) > 60 {
		return string(r[:60]) + "…"
	}
	return sql
}

func showHelp() *table {
	t := newTable("command", "answer")
	for i := range shows {
		t.add("SHOW "+shows[i].word, shows[i].help)
	}
	t.add("SHOW HELP", "this")
	return t
}

func (s *Server) showNodes() *table {
	t := newTable("name", "host", "port:int", "role", "leader:bool", "eligible:bool", "healthy:bool", "paused:bool", "apply_delay_ms:int",
		"watermark", "lag_bytes:int", "running:int", "system_id", "incarnation:int",
		"state", "breaker", "ejected", "no_reads", "zone", "weight:int", "effective_weight")
	st := s.Stats()
	for i := range st.Nodes {
		n := &st.Nodes[i]
		var mark, lag any
		if n.Watermark != 0 {
			mark, lag = n.Watermark.String(), n.LagBytes
		}
		t.add(n.Name, n.Host, n.Port, n.Role, n.Leads, n.Eligible, n.Healthy, n.Paused, n.ApplyDelay.Milliseconds(),
			mark, lag, n.Outstanding, strconv.FormatUint(n.SystemID, 10), n.Incarnation,
			n.State, n.Breaker, orNull(n.Ejected), orNull(n.NoReads), orNull(n.Zone), n.Weight, strconv.FormatFloat(n.Effective, 'f', 2, 64))
	}
	return t
}

// orNull makes an empty text NULL.
func orNull(v string) any {
	if v == "" {
		return nil
	}
	return v
}

func (s *Server) showReads() *table {
	t := newTable("node", "role", "reason", "reads:int")
	for _, r := range s.Stats().Reads {
		t.add(r.Node, r.Role, r.Reason, r.Count)
	}
	return t
}

func (s *Server) showShadow() *table {
	t := newTable("role", "reason", "reads:int", "percent:int")
	counts := s.Stats().Shadow
	var all uint64
	for _, c := range counts {
		all += c.Count
	}
	for _, c := range counts {
		t.add(c.Role, c.Reason, c.Count, c.Count*100/all)
	}
	return t
}

func (s *Server) showStats() *table {
	t := newTable("database", "total_query_count:int", "total_writes:int", "total_reads:int", "total_replica_reads:int")
	st := s.Stats()
	var reads, replica uint64
	for _, r := range st.Reads {
		reads += r.Count
		if r.Role == router.RoleReplica.String() {
			replica += r.Count
		}
	}
	// Loops count for all databases together.
	t.add("*", reads+st.Writes, st.Writes, reads, replica)
	return t
}

func (s *Server) showDatabases() *table {
	t := newTable("name", "host", "port:int", "database", "pool_size:int", "min_pool_size:int", "reserve_pool_size:int", "server_lifetime:int",
		"pool_mode", "max_connections:int", "current_connections:int", "max_client_connections:int", "current_client_connections:int",
		"paused:int", "disabled:int", "catalogue:bool")
	st := s.Stats()
	cfg := s.cfg.Load()
	var host, port any
	for i := range st.Nodes {
		if n := &st.Nodes[i]; n.Leads {
			host, port = n.Host, int64(n.Port)
		}
	}
	for _, d := range st.Databases {
		size, _, p := cfg.pool("", d.Name)
		_, _, clients := s.guests.count("", d.Name)
		t.add(d.Name, host, port, d.Name, cmp.Or(size, defaultPoolSize), max(p.MinSize, 0), max(p.ReserveSize, 0),
			int(max(cmp.Or(p.Lifetime, time.Hour), 0)/time.Second), cfg.PoolMode.String(),
			cfg.MaxDatabaseConnections, s.connections(d.Name), cfg.MaxDatabaseClients, clients, 0, 0, d.Catalogue)
	}
	t.add(adminDatabase, nil, nil, adminDatabase, 0, 0, 0, 0, "statement", 0, 0, 0, 0, 0, 0, false)
	return t
}

func (s *Server) showConfig() *table {
	t := newTable("key", "value", "default", "changeable", "origin")
	c := s.cfg.Load()
	r := s.router.Config()
	var listen []string
	for _, a := range s.Addrs() {
		listen = append(listen, addrText(a))
	}
	add := func(key, value, def string, reloads bool) {
		changeable := "no"
		if reloads {
			changeable = "yes"
		}
		t.add(key, value, def, changeable, c.Origins[key])
	}
	add("auth", c.Auth.String(), "scram", false)
	add("consistency", c.Consistency.String(), "session", true)
	add("fallback_budget", strconv.Itoa(r.FallbackBudget), "32", false)
	add("listen", strings.Join(listen, ","), "127.0.0.1:6432", false)
	add("loops", strconv.Itoa(max(c.Loops, 1)), "1", false)
	add("max_lag", strconv.FormatInt(r.MaxLag, 10), strconv.Itoa(16<<20), false)
	add("max_staleness", c.MaxStaleness.String(), time.Second.String(), true)
	add("monotonic", r.Monotonic.String(), "connection", false)
	add("on_timeout", c.OnTimeout.String(), "primary", true)
	add("pool_mode", c.PoolMode.String(), "auto", false)
	for _, n := range []struct {
		key   string
		value int
	}{
		{"max_server_connections", c.MaxServerConnections}, {"max_node_connections", c.MaxNodeConnections},
		{"max_db_connections", c.MaxDatabaseConnections}, {"max_user_connections", c.MaxUserConnections},
		{"max_client_conn", c.MaxClients}, {"max_db_client_conn", c.MaxDatabaseClients}, {"max_user_client_conn", c.MaxUserClients},
		{"min_pool_size", c.MinSize}, {"reserve_pool_size", c.ReserveSize}, {"queue_limit", c.QueueLimit},
	} {
		add(n.key, strconv.Itoa(max(n.value, 0)), "0", true)
	}
	for _, d := range []struct {
		key        string
		value, def time.Duration
	}{
		{"reserve_pool_timeout", c.ReserveTimeout, 5 * time.Second}, {"query_wait_timeout", c.LeaseWait, 30 * time.Second},
		{"server_lifetime", c.Lifetime, time.Hour}, {"server_idle_timeout", c.IdleTimeout, 10 * time.Minute},
		{"query_timeout", c.QueryTimeout, 0}, {"idle_transaction_timeout", c.IdleTransactionTimeout, 0},
		{"client_idle_timeout", c.ClientIdleTimeout, 0},
	} {
		add(d.key, max(cmp.Or(d.value, d.def), 0).String(), d.def.String(), true)
	}
	add("pool_size", strconv.Itoa(cmp.Or(c.PoolSize, defaultPoolSize)), strconv.Itoa(defaultPoolSize), true)
	add("position", r.Position.String(), "insert", false)
	add("rules", strconv.Itoa(len(c.Rules)), "0", true)
	add("scope", c.Scope.String(), "application", true)
	p := s.router.Preferences()
	add("slow_start", p.SlowStart.String(), (10 * time.Second).String(), true)
	add("zone", p.Zone, "", true)
	add("transaction_reads", c.TransactionReads.String(), "primary", true)
	add("wait", max(c.Wait, 0).String(), (100 * time.Millisecond).String(), true)
	slices.SortFunc(t.rows, func(a, b []any) int { return cmp.Compare(a[0].(string), b[0].(string)) })
	return t
}

// connections is how many server connections there are for a database.
func (s *Server) connections(database string) int {
	select {
	case <-s.ready:
		return s.group.Connections(database)
	default:
		return 0
	}
}

func addrText(a net.Addr) string {
	if a.Network() == "unix" {
		return "unix:" + a.String()
	}
	return a.String()
}

func (s *Server) showVersion() *table {
	t := newTable("version")
	t.add("pgroute " + Version())
	return t
}
