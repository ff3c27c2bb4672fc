-- What pgroute needs in PostgreSQL: a role that may look, not touch.
-- Run it as a superuser in the database that --monitor names. It may be run
-- again. Afterwards give the role a password:  \password pgroute_monitor

DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'pgroute_monitor') THEN
    CREATE ROLE pgroute_monitor LOGIN;
  END IF;
END
$$;
GRANT pg_monitor TO pgroute_monitor;

CREATE SCHEMA IF NOT EXISTS pgroute;
GRANT USAGE ON SCHEMA pgroute TO pgroute_monitor;

-- The SCRAM verifier of a role that may log in now, for --auth scram.
CREATE OR REPLACE FUNCTION pgroute.verifier(name text) RETURNS text
  LANGUAGE sql STABLE STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
  SELECT a.rolpassword FROM pg_catalog.pg_authid AS a
   WHERE a.rolname = $1 AND a.rolcanlogin
     AND (a.rolvaliduntil IS NULL OR a.rolvaliduntil > pg_catalog.now())
$$;

-- Where the timelines before this one ended; null for the first timeline.
CREATE OR REPLACE FUNCTION pgroute.timeline_history(tli int) RETURNS text
  LANGUAGE sql VOLATILE STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
  SELECT pg_catalog.pg_read_file('pg_wal/' || pg_catalog.lpad(pg_catalog.upper(pg_catalog.to_hex($1)), 8, '0') || '.history',
                                 0, 1048576, true)
$$;

REVOKE ALL ON FUNCTION pgroute.verifier(text), pgroute.timeline_history(int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pgroute.verifier(text), pgroute.timeline_history(int) TO pgroute_monitor;
