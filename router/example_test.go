package router_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/pgroute/pgroute/lsn"
	"github.com/pgroute/pgroute/router"
)

// town is what the examples run on: a router over three servers in memory, the
// primary p and the replicas r1 and r2. A program has package pgprobe for the
// servers, and package zookeeper or Static for their list.
type town struct {
	*router.Router
	servers *cluster
	cancel  context.CancelFunc
	ended   chan error
}

// newTown returns a town when its router knows all servers.
func newTown(ctx context.Context, cfg router.Config) *town {
	servers := newCluster("r1", "r2")
	source := newSource(router.Candidates{Nodes: servers.nodes})
	source.begin()
	cfg.Source, cfg.Prober = source, servers
	cfg.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	r, err := router.New(cfg)
	if err != nil {
		panic(err)
	}
	t := &town{Router: r, servers: servers, ended: make(chan error, 1)}
	ctx, t.cancel = context.WithCancel(ctx)
	go func() { t.ended <- r.Run(ctx) }()
	err = r.WaitTopology(ctx, func(t *router.Topology) bool { return t.Primary != nil && t.Replicas() == 2 })
	if err != nil {
		panic(err)
	}
	return t
}

// write writes on the primary, up to l. Replicas do not have it yet.
func (t *town) write(l lsn.LSN) { t.servers.servers["p"].insert(l) }

// replay lets a replica replay up to l.
func (t *town) replay(name string, l lsn.LSN) { t.servers.servers[name].replay(l) }

// takeOver ends the primary, and a replica that has received everything up to l
// takes over.
func (t *town) takeOver(name string, l lsn.LSN) {
	t.servers.servers["p"].kill(true)
	t.servers.servers[name].promote(func(st *router.Status) {
		st.InRecovery, st.Timeline, st.Begin, st.BeginKnown = false, 2, l, true
		st.History = []lsn.Switch{{Timeline: 1, End: l}}
		st.Insert, st.Flush, st.Recovered = l+100, l+100, l
	})
}

// close ends the router.
func (t *town) close() {
	t.cancel()
	if err := <-t.ended; err != nil {
		panic(err)
	}
}

// A service writes, and then reads from a replica that has replayed the write.
func Example() {
	ctx := context.Background()
	t := newTown(ctx, router.Config{})
	defer t.close()
	r := t.Router

	session := router.NewSession()
	var client router.Chain
	client.Init(r, session, true)

	t.write(2000)  // On the primary: INSERT …, COMMIT.
	client.Wrote() // Before anybody is told that it is done.
	t.replay("r2", 2000)

	read := r.NewRequest(router.LevelSession)
	read.Wait = time.Minute
	d, err := r.Pick(ctx, read, &client)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer d.Done()
	fmt.Println("read on", d.Node.Name)
	client.SawReplica(d.Node)
	// Output: read on r2
}

// The levels, from the cheapest to the strongest. Both replicas are late.
func ExampleRouter_Pick() {
	ctx := context.Background()
	t := newTown(ctx, router.Config{Wait: -1, OnTimeout: router.OnTimeoutPrimary})
	defer t.close()
	session := router.NewSession()
	t.write(2000)
	session.Wrote(t.Router)

	for _, level := range []router.Level{router.LevelEventual, router.LevelSession, router.LevelStrong, router.LevelPrimary} {
		client := session.Borrow(t.Router)
		d, err := t.Pick(ctx, t.NewRequest(level), client)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%-8s  on a %s\n", level, d.Role)
		d.Done()
		session.Return(client)
	}
	// Output:
	// eventual  on a replica
	// session   on a primary
	// strong    on a primary
	// primary   on a primary
}

// ready is a Waiter: it only posts a message.
type ready chan uint64

func (r ready) Wake(seq uint64, _ error) {
	select {
	case r <- seq:
	default:
	}
}

// An event loop must not block: it asks, does other things, and asks again when
// it is woken or when the deadline is over.
func ExampleRouter_Decide() {
	ctx := context.Background()
	t := newTown(ctx, router.Config{})
	defer t.close()
	var client router.Chain
	client.Init(t.Router, nil, true)
	t.write(2000)
	client.Wrote()

	read := t.NewRequest(router.LevelSession)
	read.Wait, read.Seq = time.Minute, 1
	woken := make(ready, 1)
	t.Begin(read, &client, time.Now())
	d, done := t.Decide(read, &client, time.Now(), woken)
	fmt.Println("at once:", done)

	t.replay("r1", 2000)
	for !done {
		timer := time.NewTimer(time.Until(read.Deadline()))
		select {
		case <-woken:
		case <-timer.C:
		}
		timer.Stop()
		d, done = t.Decide(read, &client, time.Now(), woken)
	}
	fmt.Println(d.Node.Name, d.Reason)
	d.Done()
	// Output:
	// at once: false
	// r1 waited
}

// A read that would rather fail than wait or burden the primary.
func ExampleRouteError() {
	ctx := context.Background()
	t := newTown(ctx, router.Config{Wait: -1, OnTimeout: router.OnTimeoutError})
	defer t.close()
	session := router.NewSession()
	t.write(2000)
	session.Wrote(t.Router)

	client := session.Borrow(t.Router)
	defer session.Return(client)
	_, err := t.Pick(ctx, t.NewRequest(router.LevelSession), client)
	var refused *router.RouteError
	if errors.As(err, &refused) {
		fmt.Println(refused.SQLState(), refused.Message)
	}
	// Output: PR001 no replica reached the session's floor in time
}

// One service hands what it wrote to another, which may be written in another
// language and stand behind a proxy.
func ExampleRouter_Token() {
	ctx := context.Background()
	t := newTown(ctx, router.Config{Wait: time.Minute})
	defer t.close()

	giver := router.NewSession()
	t.write(2000)
	giver.Wrote(t.Router)
	token, err := t.Token(ctx, giver)
	if err != nil {
		fmt.Println(err)
		return
	}

	taker := router.NewSession()
	if err := t.Accept(ctx, taker, token); err != nil {
		fmt.Println(err)
		return
	}
	t.replay("r1", 2000)
	client := taker.Borrow(t.Router)
	defer taker.Return(client)
	d, err := t.Pick(ctx, t.NewRequest(router.LevelSession), client)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer d.Done()
	fmt.Println("the taker reads on", d.Node.Name)
	// Output: the taker reads on r1
}

// A token is hostile input: what no server of this cluster can have issued is
// refused, not waited for.
func ExampleRouter_Accept() {
	ctx := context.Background()
	t := newTown(ctx, router.Config{})
	defer t.close()
	foreign := lsn.EncodeToken(lsn.Position{SystemID: 4711, Timeline: 1, LSN: 500, Incarnation: 100})
	for _, token := range []string{"pgr1_x", foreign} {
		err := t.Accept(ctx, router.NewSession(), token)
		var refused *router.TokenError
		if errors.As(err, &refused) {
			fmt.Println(refused.SQLState(), errors.Is(err, lsn.ErrToken), errors.Is(err, router.ErrForeignToken))
		}
	}
	// Output:
	// 22023 true false
	// 22023 false true
}

// A message carries what its sender wrote: whoever handles it sees that.
func ExampleRouter_Inject() {
	ctx := context.Background()
	t := newTown(ctx, router.Config{Wait: time.Minute})
	defer t.close()
	headers := map[string]string{}

	// The sender.
	sending := router.WithSession(ctx, router.NewSession())
	t.write(2000)
	router.SessionFrom(sending).Wrote(t.Router)
	if err := t.Inject(sending, func(key, value string) { headers[key] = value }); err != nil {
		fmt.Println(err)
		return
	}

	// The receiver.
	handling, err := t.Extract(ctx, func(key string) string { return headers[key] })
	if err != nil {
		fmt.Println(err)
		return
	}
	t.replay("r2", 2000)
	session := router.SessionFrom(handling)
	client := session.Borrow(t.Router)
	defer session.Return(client)
	d, err := t.Pick(handling, t.NewRequest(router.LevelSession), client)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer d.Done()
	fmt.Println("handled with a read on", d.Node.Name)
	// Output: handled with a read on r2
}

// A request of an end user gets a session of its own, which its handlers find in
// the context.
func ExampleWithSession() {
	ctx := context.Background()
	t := newTown(ctx, router.Config{})
	defer t.close()

	ctx = router.WithSession(ctx, router.NewSession())
	before := router.SessionFrom(ctx).Ticket()
	router.SessionFrom(ctx).Wrote(t.Router) // What package pgxdb does after a write.
	fmt.Println("something was written:", router.SessionFrom(ctx).Ticket() != before)
	// Output: something was written: true
}

// A backend that was just dialled is younger than the last reading of the
// replica's position: it may be another life of the server. Then one waits for
// the next reading.
func ExampleNode_Covers() {
	ctx := context.Background()
	t := newTown(ctx, router.Config{Wait: time.Minute})
	defer t.close()
	var client router.Chain
	client.Init(t.Router, nil, true)
	d, err := t.Pick(ctx, t.NewRequest(router.LevelSession), &client)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer d.Done()

	dialed := d.Node.Asked() // Right after the backend was dialled.
	for !d.Node.Covers(d.Floor, dialed, 0) {
		if err := t.WaitReading(ctx, d.Node, dialed); err != nil {
			fmt.Println(err)
			return
		}
	}
	fmt.Println("the read may be sent")
	// Output: the read may be sent
}

// The topology changes as servers come and go; a program can wait for what it
// needs.
func ExampleRouter_WaitTopology() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	t := newTown(ctx, router.Config{HealthInterval: 10 * time.Millisecond})
	defer t.close()
	t.servers.servers["p"].kill(true)
	if err := t.WaitTopology(ctx, func(now *router.Topology) bool { return now.Primary == nil }); err != nil {
		fmt.Println(err)
		return
	}
	_, _, err := t.Primary()
	var refused *router.RouteError
	if errors.As(err, &refused) {
		fmt.Println(refused.SQLState(), refused.NoPrimary())
	}
	// Output: 57P03 true
}

// A fixed list of servers; which of them is the primary is found by asking.
func ExampleStatic() {
	_, err := router.Static("db1:5432", "db2:5432", "[2001:db8::3]:5432")
	fmt.Println(err)
	_, err = router.Static("db1")
	fmt.Println(err != nil)
	// Output:
	// <nil>
	// true
}

// fleet is a Source over whatever knows the servers.
type fleet struct{ changes <-chan []string }

func (f fleet) Watch(ctx context.Context, publish func(router.Candidates)) error {
	for {
		select {
		case names := <-f.changes:
			c := router.Candidates{Confirmed: time.Now()}
			for _, name := range names {
				c.Nodes = append(c.Nodes, router.Candidate{Addr: router.Addr{Name: name, Host: name, Port: 5432}})
			}
			publish(c)
		case <-ctx.Done():
			return nil
		}
	}
}

// A Source of one's own publishes everything that it knows at each change.
func ExampleSource() {
	changes := make(chan []string, 1)
	changes <- []string{"db1", "db2"}
	var source router.Source = fleet{changes}
	ctx, cancel := context.WithCancel(context.Background())
	err := source.Watch(ctx, func(c router.Candidates) {
		fmt.Println(len(c.Nodes), "servers, the first is", c.Nodes[0].Name)
		cancel()
	})
	fmt.Println(err)
	// Output:
	// 2 servers, the first is db1
	// <nil>
}

func ExampleParseLevel() {
	level, err := router.ParseLevel("strong")
	fmt.Println(level, err)
	_, err = router.ParseLevel("strongish")
	fmt.Println(err)
	// Output:
	// strong <nil>
	// unknown consistency level "strongish"
}

// What a router has counted, for metrics.
func ExampleRouter_Stats() {
	ctx := context.Background()
	t := newTown(ctx, router.Config{Wait: -1})
	defer t.close()
	session := router.NewSession()
	t.write(2000)
	session.Wrote(t.Router)
	client := session.Borrow(t.Router)
	defer session.Return(client)
	d, err := t.Pick(ctx, t.NewRequest(router.LevelSession), client)
	if err != nil {
		fmt.Println(err)
		return
	}
	d.Done()
	stats := t.Stats()
	fmt.Println("reads on the primary because no replica was there:", stats.Fallbacks[router.ReasonNotCovered])
	waited := stats.FloorWait
	for i, n := range waited.Counts {
		if n > 0 && i < len(waited.Bounds) {
			fmt.Println(n, "reads waited for up to", waited.Bounds[i])
		}
	}
	fmt.Println("and together for", waited.Sum)
	// Output:
	// reads on the primary because no replica was there: 1
	// and together for 0s
}

// A client writes, the primary fails, and the replica that takes over has not
// received the write. The client is told, once.
func ExampleChain_Fate() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	t := newTown(ctx, router.Config{HealthInterval: 10 * time.Millisecond})
	defer t.close()
	var client router.Chain
	client.Init(t.Router, router.NewSession(), true)

	t.write(2000) // Somebody else's.
	if _, err := t.WaitTicket(ctx, t.Ticket()); err != nil {
		fmt.Println(err)
		return
	}
	client.Writing(t.Topology().Era(), 0) // Before INSERT …, COMMIT.
	t.write(2500)
	client.Wrote()
	client.Acknowledged(true)

	t.takeOver("r1", 1800)
	err := t.WaitTopology(ctx, func(now *router.Topology) bool { return now.Primary != nil && now.Primary.Name == "r1" })
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, fate := range []router.Fate{client.Fate(), client.Fate()} {
		if fate != router.FateKept {
			fmt.Println("the last write is", fate)
		}
	}
	// Output: the last write is lost
}
