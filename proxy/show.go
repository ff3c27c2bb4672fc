package proxy

import (
	"cmp"
	"fmt"
	"net"
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
	return nil, &clientError{Code: sqlstate.SyntaxError, Message: fmt.Sprintf("the admin database does not know %q", clip(sql)), Hint: "SHOW HELP lists what it knows."}
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
