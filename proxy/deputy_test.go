package proxy_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/proxy"
	"github.com/pgroute/pgroute/router"
)

// clusterOf is a source that names nobody, after a while or at once, and says
// whose servers it means.
type clusterOf struct {
	router.Candidates
	primary string
	resign  chan struct{}
}

func (c *clusterOf) Watch(ctx context.Context, publish func(router.Candidates)) error {
	named := c.Candidates
	named.NamesPrimary, named.Primary, named.Confirmed = true, c.primary, time.Now()
	publish(named)
	select {
	case <-c.resign:
		named.Primary = ""
		publish(named)
		<-ctx.Done()
	case <-ctx.Done():
	}
	return nil
}

// A replica of another cluster decides about no login, whoever comes first: not
// after there was a primary, and not before if the source knows the cluster.
func TestForeignReplicaDecidesNoLogin(t *testing.T) {
	t.Parallel()
	mine := cluster.Start(t, cluster.Options{Replicas: 1, UniqueSystemID: true})
	other := cluster.Start(t, cluster.Options{Replicas: 1})
	if err := mine.Primary().Exec(t.Context(), "create role newcomer login password 'new'"); err != nil {
		t.Fatal(err)
	}
	if err := mine.WaitCaughtUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	text, err := mine.Primary().QueryString(t.Context(), "select system_identifier::text from pg_control_system()")
	if err != nil {
		t.Fatal(err)
	}
	system, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	candidate := func(name string, n *cluster.Node) router.Candidate {
		return router.Candidate{Addr: router.Addr{Name: name, Host: n.Host, Port: n.Port}}
	}
	nodes := []router.Candidate{candidate("a", other.Replicas()[0]), candidate("b", mine.Replicas()[0])}
	leader := candidate("c", mine.Primary())
	for _, x := range []struct {
		name string
		src  *clusterOf
	}{
		{"after a primary", &clusterOf{router.Candidates{Nodes: append(nodes[:2:2], leader)}, "c", make(chan struct{})}},
		{"from the start", &clusterOf{router.Candidates{Nodes: nodes, SystemID: system}, "", make(chan struct{})}},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, proxy.Config{Source: x.src})
			until := func(ok func(*router.Topology) bool) {
				t.Helper()
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				if err := s.Router().WaitTopology(ctx, ok); err != nil {
					t.Fatal(err)
				}
			}
			if x.src.primary != "" {
				s.led(t)
				close(x.src.resign)
			}
			until(func(top *router.Topology) bool { return top.Primary == nil && len(top.Nodes) >= 2 })
			eventually(t, func() error {
				for _, name := range []string{"a", "b"} {
					if n := s.Router().Topology().Node(name); n.Role() != router.RoleReplica {
						return fmt.Errorf("%s: %s", name, n.Role())
					}
				}
				return nil
			})
			conn, err := pgx.Connect(t.Context(), fmt.Sprintf("postgres://newcomer:new@%s/%s?sslmode=disable", s.addr(), cluster.AppDatabase))
			if err != nil {
				t.Fatal(err)
			}
			conn.Close(context.Background())
		})
	}
}
