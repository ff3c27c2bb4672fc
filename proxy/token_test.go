package proxy_test

import (
	"testing"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/lsn"
	"github.com/pgroute/pgroute/proxy"
	"github.com/pgroute/pgroute/proxy/internal/wire"
	"github.com/pgroute/pgroute/router"
)

// TestTokenFromBehindAFailover: a client has written on another proxy, which
// knows the new primary. Here nobody has heard of that yet, and the old primary
// still answers. The token waits until the new one is known, and then holds.
func TestTokenFromBehindAFailover(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Trust: true, Replicas: 1})
	was, next := c.Nodes()[0], c.Nodes()[1]
	named := func(primary *cluster.Node) (*served, *naming) {
		n := &naming{primary: make(chan string, 1)}
		for _, node := range c.Nodes() {
			n.nodes = append(n.nodes, router.Candidate{Addr: router.Addr{Name: node.Name, Host: node.Host, Port: node.Port}})
		}
		n.primary <- primary.Name
		return start(t, proxy.Config{Source: n, Auth: proxy.AuthTrust}), n
	}
	late, src := named(was)
	p := late.enter(t)
	p.get(t, "create table behind_t (a int)")
	if err := c.WaitCaughtUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := next.Promote(t.Context()); err != nil {
		t.Fatal(err)
	}
	early, _ := named(next)
	writer := early.enter(t)
	writer.get(t, "insert into behind_t values (1)")
	token := writer.get(t, "show pgroute.token")
	pos, err := lsn.ParseToken(token)
	if err != nil || pos.Timeline != 2 {
		t.Fatalf("the token is %v, %v", pos, err)
	}
	taken := late.Router().Stats().Tickets
	if err := p.send(wire.AppendQuery(nil, "set pgroute.token = '"+token+"'"), nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error { // it has made the servers say who they are
		if n := late.Router().Topology().Node(next.Name); n.Role() != router.RolePrimary {
			return errString("the promoted server is known as a " + n.Role().String())
		}
		return nil
	})
	// The old primary has told its position, and the loop has heard of it.
	eventually(t, func() error {
		if late.Router().Stats().Tickets == taken {
			return errString("no ticket is taken")
		}
		return nil
	})
	for range 2 {
		if _, err := late.Router().WaitTicket(t.Context(), late.Router().Ticket()); err != nil {
			t.Fatal(err)
		}
	}
	late.enter(t).get(t, "show pgroute.wait")
	src.primary <- next.Name
	if out, err := p.answer(); err != nil || sqlState(out) != "" {
		t.Fatalf("set pgroute.token: %v, %v", out, err)
	}
	if n := p.get(t, "select count(*) from behind_t"); n != "1" {
		t.Errorf("%s rows, want the one that the token stands for", n)
	}
	// A timeline that no server knows is refused when they have said so.
	pos.Timeline = 9
	if out, err := p.ask("set pgroute.token = '" + lsn.EncodeToken(pos) + "'"); err != nil || sqlState(out) != "22023" {
		t.Errorf("a timeline that nobody knows: %v, %v", out, err)
	}
}
