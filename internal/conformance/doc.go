// Command conformance runs suites that others wrote, directly against a
// PostgreSQL cluster and through pgroute in front of an equal one, and prints
// both outcomes side by side with every difference:
//
//   - PostgreSQL's own regression suite, its isolation suite and its program
//     libpq_pipeline;
//   - the tests of the drivers pgx, lib/pq, psycopg2, psycopg3 and DBD::Pg;
//   - programs of this folder for node-postgres and for PostgreSQL's JDBC
//     driver.
//
// What it runs is fetched and compiled into build/conformance by
// scripts/conformance.sh. It ends with status 1 if a test that passes directly
// does not pass through pgroute, unless the list in known.go names it.
package main
