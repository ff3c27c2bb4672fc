package proxy

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/pgroute/pgroute/proxy/internal/auth"
	"github.com/pgroute/pgroute/proxy/internal/reactor"
	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/pgprobe"
)

const (
	// replicaAfter is how long a login waits for a primary before a replica has
	// to do, which may know less: a user or a database that was just made is not
	// there yet.
	replicaAfter = 5 * time.Second
	// askAgain is the least time until a server is asked again that could not be
	// asked, askLater the most: some of the reasons end by time alone.
	askAgain = 50 * time.Millisecond
	askLater = time.Second
)

// patience is how long one login waits for a server that can be asked about it:
// as long as a statement waits for a primary, and not for a client that has
// left meanwhile.
type patience struct {
	router *router.Router
	conn   net.Conn
	until  time.Time
}

func (s *Server) patience(conn net.Conn) patience {
	return patience{router: s.router, conn: conn, until: time.Now().Add(s.cfg.Load().PrimaryWait)}
}

// again waits until it is worth asking again after nobody could be asked in
// seen. It reports false if there is no time left for that.
func (p *patience) again(ctx context.Context, seen *router.Topology) bool {
	pace := askLater
	if seen.Primary != nil {
		pace = askAgain // it may start or stop, or nobody has noticed yet that it is gone
	}
	left := time.Until(p.until)
	if left <= 0 || reactor.Left(p.conn) {
		return false
	}
	t := time.NewTimer(min(pace, left))
	defer t.Stop()
	select {
	case <-t.C:
	case <-seen.Changed():
	case <-ctx.Done():
		return false
	}
	return true
}

// preferPrimary waits a while for a primary.
func (s *Server) preferPrimary(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, min(replicaAfter, s.cfg.Load().PrimaryWait))
	defer cancel()
	_ = s.router.WaitTopology(ctx, func(t *router.Topology) bool { return t.Primary != nil })
}

// patientLookup is a Lookup for one login.
type patientLookup struct {
	*auth.Cache
	patience patience
}

// Verifier implements auth.Lookup.
func (l *patientLookup) Verifier(ctx context.Context, user string) (string, error) {
	for {
		seen := l.patience.router.Topology()
		secret, err := l.Cache.Verifier(ctx, user)
		if err == nil || seen.Primary != nil && lasting(err) || !l.patience.again(ctx, seen) {
			return secret, err
		}
	}
}

// lasting reports whether a lookup has failed by what time alone does not mend:
// the monitor's role may not log in, or not look up. To wait for that would only
// keep it from whoever sets pgroute up.
func lasting(err error) bool {
	if errors.Is(err, pgprobe.ErrNoVerifierAccess) {
		return true
	}
	var e interface{ SQLState() string }
	if !errors.As(err, &e) || len(e.SQLState()) != 5 {
		return false
	}
	switch e.SQLState()[:2] {
	case "28", "3D", "42":
		return true
	}
	return false
}
