// Package router decides where the statements of a PostgreSQL cluster run:
// writes on the primary, reads on replicas that have replayed everything the
// reader wrote or saw. It opens no sockets and reads no SQL.
//
// A [Router] follows a [Source] of servers, watches each through a [Prober],
// and publishes an immutable [Topology]. A [Chain] is what one client wrote
// and saw; a [Session] is what the clients of an application share. After each
// write a client takes a ticket ([Chain.Wrote]), before it can see that the
// write is done. A [Request] is one read: [Router.Begin] freezes what it must
// see, and [Router.Decide] says where it may run, or when to ask again. It
// never blocks, and on the common path it takes no lock and does not allocate;
// [Router.Pick] is the same for a caller that may block.
//
//	r, err := router.New(router.Config{Source: source, Prober: prober})
//	...
//	go r.Run(ctx)
//	var c router.Chain
//	c.Init(r, session, true)
//	// after a write, before telling anyone: c.Wrote()
//	d, err := r.Pick(ctx, r.NewRequest(router.LevelSession), &c)
//	// read on a backend of d.Node for which d.Node.Covers(d.Floor, …)
//	c.SawReplica(d.Node) // or c.SawPrimary()
//	d.Done()
//
// # Who needs what
//
//   - A service that uses PostgreSQL through package pgxdb needs [Static] or
//     package zookeeper for Config.Source, the words of Config (Level, OnTimeout,
//     Monotonic), and sessions: [NewSession], [WithSession], tokens
//     ([Router.Token], [Router.Accept], [Router.Inject], [Router.Extract]).
//   - Whoever routes reads to connections of another driver needs also
//     [Router.Primary], [Session.Borrow], [Router.Pick], [Chain.Wrote],
//     [Chain.SawReplica], [Chain.SawPrimary], [Node.Asked], [Node.Covers] and
//     [Router.WaitReading].
//   - Whoever writes a proxy, which may not block, needs in place of Pick
//     [Router.Begin], [Router.Decide] and [Router.Await], and the rest of Chain
//     and Node.
//   - Whoever brings servers of another kind, or a list of them from elsewhere,
//     implements [Prober] or [Source].
//   - Status pages and metrics read [Topology], [Node.Standing], [Stats] and
//     [Trace].
//
// # What is guaranteed
//
// A decision for a replica comes with a [Floor]; a backend for which
// [Node.Covers] accepts it shows at least what the request's level promises
// (docs/architecture.md, invariant I2). Three kinds of knowledge make that true:
//
//   - A ticket is the number of a position query that had not been sent when
//     the ticket was taken, so its answer lies behind everything acknowledged
//     before.
//   - A watermark is a replay position read on one connection. It dies with
//     that connection, and counts for a backend only if it was asked for after
//     the backend was dialled (see Node.Covers).
//   - LSNs are compared within an era only: one life of one primary. A floor of
//     an earlier era becomes the first position that was read in the current
//     one, before which everything lies that has survived.
//
// A replica may show a commit that the primary still hides, because it is not
// acknowledged yet. A read on the primary that comes after one on a replica waits
// until the primary shows what that may have shown, if the probes can tell
// ([Witness]); where they cannot, it goes on unproven (Stats.GuardUnproven).
//
// A write that was acknowledged, and that a change of the primary has lost or may
// have lost, is told to the chain that made it, once, by [Chain.Fate], if its
// writes are bracketed ([Chain.Writing], [Chain.Acknowledged]). Nothing is claimed
// of the writes of others. What became of a COMMIT whose answer was lost is found
// out by [Router.Inquire] and [Router.Resolve].
//
// # What is not
//
// Two servers may show two commits in different orders (long fork). The primary
// may check a write or a foreign key without the commit that a replica has
// already shown. Loss is told by [Chain.Fate] or, where chains are short,
// [Session.Fate]; who writes through Session.Wrote alone is not told. An answer
// that may stand for a lost write is marked ([Floor.Unproven]). Replicas are told
// apart by the timeline number that they follow, not by where it began.
package router
