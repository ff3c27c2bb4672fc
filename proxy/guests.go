package proxy

import (
	"strconv"
	"sync"

	"github.com/pgroute/pgroute/internal/sqlstate"
	"github.com/pgroute/pgroute/proxy/internal/reactor"
)

// guests counts the clients, from their startup packet to their end.
type guests struct {
	mu        sync.Mutex // guards the fields below
	total     int
	users     map[string]int
	databases map[string]int
}

// guest is one client that is counted. Its goroutine owns it, and its loop
// later.
type guest struct {
	all            *guests
	user, database string
	named          bool
}

func (g *guests) init() {
	g.users, g.databases = make(map[string]int), make(map[string]int)
}

// enter counts a client whose name nobody has checked yet. It returns nil and
// why if there are too many.
func (g *guests) enter(most int) (*guest, *clientError) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.total >= most {
		return nil, tooManyClients("max_client_conn", most, "")
	}
	g.total++
	return &guest{all: g}, nil
}

// name counts a client for its user and database.
func (x *guest) name(user, database string, l *Limits) *clientError {
	g := x.all
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case l.MaxUserClients > 0 && g.users[user] >= l.MaxUserClients:
		return tooManyClients("max_user_client_conn", l.MaxUserClients, " of user "+strconv.Quote(user))
	case l.MaxDatabaseClients > 0 && g.databases[database] >= l.MaxDatabaseClients:
		return tooManyClients("max_db_client_conn", l.MaxDatabaseClients, " of database "+strconv.Quote(database))
	}
	g.users[user]++
	g.databases[database]++
	x.user, x.database, x.named = user, database, true
	return nil
}

// leave forgets the client. It is called once.
func (x *guest) leave() {
	g := x.all
	g.mu.Lock()
	defer g.mu.Unlock()
	g.total--
	if !x.named {
		return
	}
	for _, n := range []struct {
		counts map[string]int
		name   string
	}{{g.users, x.user}, {g.databases, x.database}} {
		if n.counts[n.name]--; n.counts[n.name] == 0 {
			delete(n.counts, n.name)
		}
	}
}

// count returns how many clients there are: all, by user and by database.
func (g *guests) count(user, database string) (all, ofUser, ofDatabase int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.total, g.users[user], g.databases[database]
}

func tooManyClients(key string, most int, of string) *clientError {
	return &clientError{Code: sqlstate.TooManyConnections, Message: "sorry, too many clients already",
		Detail: "pgroute serves as many clients" + of + " as " + key + " allows: " + strconv.Itoa(most) + ".",
		Hint:   "Raise " + key + ", or have clients share connections in a pool of their own."}
}

// maxClients is how many clients there may be.
func (c *Config) maxClients() int {
	if c.MaxClients > 0 {
		return c.MaxClients
	}
	return max(reactor.Descriptors()/4*3, 1)
}
