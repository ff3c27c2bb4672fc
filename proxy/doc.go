// Package proxy serves PostgreSQL's protocol: writes go to the primary, reads
// to replicas that have already replayed what the reader wrote or saw. The
// command pgroute is made of it; a program that has a sidecar of its own, or a
// test, uses it so:
//
//	source, err := router.Static("db1:5432", "db2:5432")
//	monitor, err := pgprobe.New(pgprobe.Config{DSN: "postgres://monitor:secret@x/postgres"})
//	server, err := proxy.New(proxy.Config{Source: source, Monitor: monitor})
//	...
//	err = server.Run(ctx, 10*time.Second) // until ctx is done, and 10 s for what runs then
//
// # What is guaranteed
//
// What a client could do on a direct connection it can do through a Server. A read
// is served as its consistency level says (docs/consistency.md), and what is not
// provably a read is a write (docs/architecture.md, Classification). [New] listens
// and starts nothing; [Server.Run] returns after everything that it started has
// ended. [Server.Stats] and [Server.Pools] may be called at any time, from any
// goroutine.
//
// # What it does not do
//
// A Server does not know where the topology comes from ([router.Source]) nor how it
// is configured: files, flags, metrics and HTTP are the command's. It serves on
// Linux; elsewhere it compiles and does not start. [Explain] says what it would do with
// a text, without serving it.
package proxy
