/*
 * Preloaded into isolationtester. The tester finds out who waits for whom by
 * the process ids of its connections' servers, and takes these from the cancel
 * keys. The key that pgroute gives is pgroute's own. This asks the server
 * instead, and sets something that pgroute cannot carry to another server, so
 * that the connection keeps the one that answered.
 */
#include <stdlib.h>

#include "libpq-fe.h"

int
PQbackendPID(const PGconn *conn)
{
	PGresult   *res = PQexec((PGconn *) conn,
							 "SELECT pg_catalog.pg_backend_pid(), pg_catalog.set_config('conformance.pinned', 'yes', false)");
	int			pid = 0;

	if (PQresultStatus(res) == PGRES_TUPLES_OK)
		pid = atoi(PQgetvalue(res, 0, 0));
	PQclear(res);
	return pid;
}
