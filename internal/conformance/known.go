package main

// The reasons why a test that passes directly need not pass through pgroute.
const (
	// ownPID: a client's cancel key, and the process id in it, are pgroute's
	// own. A client has no server process of its own, unless it is pinned.
	ownPID = "it takes the process id in its cancel key for that of its server"
	// survives: the end of a server connection is an ERROR, and the client's
	// connection goes on.
	survives = "it wants its connection to end when its server's ends"
	// hidden: a statement that a client closes stays prepared for others.
	hidden = "it looks for its own prepared statements in pg_prepared_statements"
	// newer: pgroute speaks version 3.2 of the protocol to clients.
	newer = "it expects a server before 18 to know nothing of protocol 3.2"
	// horizon: see docs/compatibility.md.
	horizon = "its plans depend on VACUUM, which any snapshot elsewhere holds up, that of pgroute's reading of the catalogue too"
	// reschema: two-phase commit refuses the transaction in which a session gets
	// its temporary schema; one that a server connection has from earlier is empty.
	reschema = "it wants a session that has never had a temporary schema"
	// reused: see docs/compatibility.md.
	reused = "it counts the server's sessions: who connects anew may get a server connection that is there already"
)

// known are the tests that pass directly and need not pass through pgroute, as
// "suite test", with the reason.
var known = map[string]string{
	"regress create_index": horizon,
	"regress stats":        reused,
	"regress temp":         reschema,

	"pgx pgconn.TestConnCheckConn":                                                                 ownPID,
	"pgx pgconn.TestConnPing":                                                                      ownPID,
	"pgx pgconn.TestConnectProtocolVersion32":                                                      newer,
	"pgx pgxpool.TestConnDestroyedWhenBeginFailsFatally":                                           survives,
	"pgx pgxpool.TestPoolAcquireChecksIdleConns":                                                   ownPID,
	"pgx stdlib.TestCheckIdleConn":                                                                 ownPID,
	"pgx stdlib.TestConnMultiplePrepareAndDeallocate":                                              hidden,
	"pgx stdlib.TestConnMultiplePrepareAndDeallocate/cache_describe":                               hidden,
	"pgx stdlib.TestConnMultiplePrepareAndDeallocate/cache_statement":                              hidden,
	"pgx stdlib.TestConnMultiplePrepareAndDeallocate/describe_exec":                                hidden,
	"pgx stdlib.TestConnMultiplePrepareAndDeallocate/exec":                                         hidden,
	"pgx stdlib.TestConnMultiplePrepareAndDeallocate/simple_protocol":                              hidden,
	"pgx v5.TestBeginTxFatalErrorKillsConn":                                                        survives,
	"pgx v5.TestFatalRxError":                                                                      ownPID,
	"pgx v5.TestFatalTxError":                                                                      survives,
	"pgx v5.TestPrepareHandlesTimeoutBetweenParseAndDescribe":                                      hidden,
	"pgx v5.TestPrepareWithDigestedNameHandlesTimeoutBetweenParseAndDescribe":                      hidden,
	"psycopg2 tests.test_async.AsyncTests.test_notify":                                             ownPID,
	"psycopg2 tests.test_connection.TestConnectionInfo.test_backend_pid":                           ownPID,
	"psycopg2 tests.test_notify.NotifiesTests.test_many_notifies":                                  ownPID,
	"psycopg2 tests.test_notify.NotifiesTests.test_notifies_received_on_execute":                   ownPID,
	"psycopg2 tests.test_notify.NotifiesTests.test_notifies_received_on_poll":                      ownPID,
	"psycopg2 tests.test_notify.NotifiesTests.test_notify_attributes":                              ownPID,
	"psycopg2 tests.test_notify.NotifiesTests.test_notify_payload":                                 ownPID,
	"psycopg2 tests.test_connection.ConnectionTests.test_cleanup_on_badconn_close":                 survives,
	"psycopg3 tests.pq.test_pgconn.test_notify":                                                    ownPID,
	"psycopg3 tests.pq.test_pgconn.test_reset":                                                     survives,
	"psycopg3 tests.pq.test_pgconn.test_reset_async":                                               survives,
	"psycopg3 tests.test_concurrency.test_identify_closure":                                        survives,
	"psycopg3 tests.test_concurrency_async.test_identify_closure":                                  survives,
	"psycopg3 tests.test_connection.test_broken":                                                   survives,
	"psycopg3 tests.test_connection.test_broken_connection":                                        survives,
	"psycopg3 tests.test_connection.test_context_inerror_rollback_no_clobber":                      survives,
	"psycopg3 tests.test_connection.test_notify_handlers":                                          ownPID,
	"psycopg3 tests.test_connection_async.test_broken":                                             survives,
	"psycopg3 tests.test_connection_async.test_broken_connection":                                  survives,
	"psycopg3 tests.test_connection_async.test_context_inerror_rollback_no_clobber":                survives,
	"psycopg3 tests.test_connection_async.test_notify_handlers":                                    ownPID,
	"psycopg3 tests.test_pipeline.test_auto_prepare":                                               hidden,
	"psycopg3 tests.test_pipeline.test_prepared":                                                   hidden,
	"psycopg3 tests.test_pipeline_async.test_auto_prepare":                                         hidden,
	"psycopg3 tests.test_pipeline_async.test_prepared":                                             hidden,
	"psycopg3 tests.test_prepared.test_dont_prepare":                                               hidden,
	"psycopg3 tests.test_prepared.test_evict_lru_deallocate":                                       hidden,
	"psycopg3 tests.test_prepared_async.test_dont_prepare":                                         hidden,
	"psycopg3 tests.test_prepared_async.test_evict_lru_deallocate":                                 hidden,
	"psycopg3 tests.test_transaction.test_context_inerror_rollback_no_clobber[pipeline=off]":       survives,
	"psycopg3 tests.test_transaction_async.test_context_inerror_rollback_no_clobber[pipeline=off]": survives,
	"DBD::Pg 02attribs.t 37":                                                                       hidden,
}
