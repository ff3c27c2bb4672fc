package sqlclass

// The queries work on PostgreSQL 13 to 19, need no privilege beyond what
// everybody has in pg_catalog, and take no lock on anything but the system
// catalogues: expressions are searched as node trees, since printing them would
// lock the relations they name. Objects with an OID below 16384 came with the
// server (FirstNormalObjectId in access/transam.h).

// FingerprintQuery is cheap, and its result changes whenever what a [Catalogue]
// holds may have changed. Temporary relations do not change it. The last part
// notices columns that become of a user-defined type without a rewrite of their
// table, which may leave pg_class alone.
const FingerprintQuery = `
WITH changes(what, row_id, row_version) AS (
    SELECT 1, oid, xmin FROM pg_catalog.pg_proc WHERE oid >= 16384
    UNION ALL
    SELECT 2, oid, xmin FROM pg_catalog.pg_class
     WHERE oid >= 16384 AND relpersistence <> 't' AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c')
    UNION ALL
    SELECT 3, oid, xmin FROM pg_catalog.pg_type WHERE oid >= 16384 AND typtype IN ('b', 'd', 'r', 'm', 'e') AND typelem = 0
    UNION ALL
    SELECT 4, oid, xmin FROM pg_catalog.pg_operator WHERE oid >= 16384
    UNION ALL
    SELECT 5, oid, xmin FROM pg_catalog.pg_cast WHERE oid >= 16384
    UNION ALL
    SELECT 6, r.oid, r.xmin FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_class c ON c.oid = r.ev_class
     WHERE r.oid >= 16384 AND c.relpersistence <> 't'
    UNION ALL
    SELECT 7, oid, xmin FROM pg_catalog.pg_policy
    UNION ALL
    SELECT 8, oid, xmin FROM pg_catalog.pg_trigger WHERE NOT tgisinternal
    UNION ALL
    SELECT 9, oid, xmin FROM pg_catalog.pg_event_trigger
    UNION ALL
    SELECT 10, d.oid, d.xmin FROM pg_catalog.pg_attrdef d JOIN pg_catalog.pg_class c ON c.oid = d.adrelid WHERE c.relpersistence <> 't'
    UNION ALL
    SELECT 11, k.oid, k.xmin FROM pg_catalog.pg_constraint k LEFT JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
     WHERE k.oid >= 16384 AND k.contype = 'c' AND c.relpersistence IS DISTINCT FROM 't'
    UNION ALL
    SELECT 12, inhrelid, xmin FROM pg_catalog.pg_inherits
    UNION ALL
    SELECT 13, oid, xmin FROM pg_catalog.pg_amproc WHERE oid >= 16384
    UNION ALL
    SELECT 14, oid, xmin FROM pg_catalog.pg_extension
    UNION ALL
    SELECT 15, oid, xmin FROM pg_catalog.pg_amop WHERE oid >= 16384
    UNION ALL
    SELECT 16, d.objid, d.xmin FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class c ON c.oid = d.objid
     WHERE d.refclassid = 'pg_catalog.pg_type'::pg_catalog.regclass AND d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
       AND d.deptype = 'n' AND c.relpersistence <> 't'
)
SELECT what::text, pg_catalog.count(*)::text,
       pg_catalog.sum(pg_catalog.hashint8extended(row_version::text::bigint, row_id::bigint))::text
  FROM changes GROUP BY what ORDER BY what`

const versionQuery = `SELECT pg_catalog.current_setting('server_version_num')`

// builtinsQuery: name, whether any of that name is volatile, the largest number
// of arguments, the OIDs.
const builtinsQuery = `
SELECT proname::text, pg_catalog.bool_or(provolatile = 'v')::text, pg_catalog.max(pronargs)::text,
       pg_catalog.string_agg(oid::text, ' ')
  FROM pg_catalog.pg_proc WHERE oid < 16384 GROUP BY proname`

// routinesQuery: the functions that users and extensions made. A setting of the
// function under which CREATE TABLE may make a temporary table, or literals may
// end elsewhere, is made to look like something in its body that is not clean.
const routinesQuery = `
SELECT p.oid::text, p.proname::text, p.prokind::text, p.provolatile::text, p.pronargs::text, l.lanname::text,
       COALESCE(e.extname::text, ''), CASE WHEN l.lanname IN ('sql', 'plpgsql', 'internal') THEN p.prosrc ELSE '' END ||
       CASE WHEN l.lanname IN ('sql', 'plpgsql') AND
              (p.proconfig::text ~* 'pg_temp' AND p.prosrc ~* 'create' OR p.proconfig::text ~* 'standard_conforming_strings|backslash_quote')
            THEN E'\n;pg_temp' ELSE '' END
  FROM pg_catalog.pg_proc p
  JOIN pg_catalog.pg_language l ON l.oid = p.prolang
  LEFT JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = p.oid
       AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.deptype = 'e'
  LEFT JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
 WHERE p.oid >= 16384`

// aggregatesQuery: the functions that aggregates consist of.
const aggregatesQuery = `
SELECT DISTINCT a.aggfnoid::pg_catalog.oid::text, f.oid::text
  FROM pg_catalog.pg_aggregate a
  JOIN pg_catalog.pg_proc f ON f.oid IN (a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggserialfn, a.aggdeserialfn,
       a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn)
 WHERE a.aggfnoid::pg_catalog.oid >= 16384`

// operatorsQuery: user-defined operators and their functions.
const operatorsQuery = `
SELECT oid::text, oprname::text, oprcode::pg_catalog.oid::text FROM pg_catalog.pg_operator WHERE oid >= 16384`

// hiddenQuery: functions that run without being named: behind the casts between
// the server's own types, and behind the sorting and hashing of operator classes.
// A cast from or to a user-defined type counts where that type does.
const hiddenQuery = `
SELECT 'cast', castfunc::text FROM pg_catalog.pg_cast
 WHERE oid >= 16384 AND castfunc <> 0 AND castsource < 16384 AND casttarget < 16384
UNION
SELECT 'class', amproc::pg_catalog.oid::text FROM pg_catalog.pg_amproc WHERE oid >= 16384
UNION
SELECT 'class', o.oprcode::pg_catalog.oid::text FROM pg_catalog.pg_amop a JOIN pg_catalog.pg_operator o ON o.oid = a.amopopr
 WHERE a.oid >= 16384 AND o.oid >= 16384`

// triggersQuery: the functions of triggers and event triggers.
const triggersQuery = `
SELECT tgfoid::text FROM pg_catalog.pg_trigger WHERE NOT tgisinternal
UNION
SELECT evtfoid::text FROM pg_catalog.pg_event_trigger WHERE evtenabled <> 'D'`

// typesQuery: the user-defined types, with their arrays. The row type of a table
// has the table's name, and is read with the table.
const typesQuery = `
SELECT t.oid::text, t.typname::text, t.typarray::text, COALESCE(a.typname::text, '')
  FROM pg_catalog.pg_type t
  LEFT JOIN pg_catalog.pg_class c ON c.oid = t.typrelid
  LEFT JOIN pg_catalog.pg_type a ON a.oid = t.typarray
 WHERE t.oid >= 16384 AND t.typtype IN ('b', 'd', 'r', 'm', 'e', 'c') AND (t.typtype <> 'c' OR c.relkind = 'c')
   AND NOT EXISTS (SELECT FROM pg_catalog.pg_type e WHERE e.typarray = t.oid)`

// relationsQuery: OID, name and the letter of what is special about a relation;
// t stands for a column of a user-defined type, a virtual generated column, or a
// cast from or to the row type.
const relationsQuery = `
WITH RECURSIVE casted AS (
    SELECT castsource AS oid FROM pg_catalog.pg_cast WHERE oid >= 16384 AND castsource >= 16384
    UNION ALL
    SELECT casttarget FROM pg_catalog.pg_cast WHERE oid >= 16384 AND casttarget >= 16384
), relation AS (
    SELECT c.oid, c.relname, CASE
             WHEN c.oid < 16384 THEN CASE n.nspname WHEN 'information_schema' THEN 'i' ELSE 'c' END
             WHEN c.relkind IN ('v', 'f', 'S') THEN c.relkind::text
             WHEN c.relpersistence = 'u' THEN 'u'
             WHEN c.relrowsecurity THEN 'R'
             WHEN c.reltype IN (SELECT oid FROM casted) THEN 't'
             WHEN EXISTS (SELECT FROM pg_catalog.pg_attribute a
                           WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                             AND (a.attgenerated = 'v' OR a.atttypid >= 16384))
                  THEN 't'
             ELSE '' END AS letter
      FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE CASE WHEN c.oid < 16384 THEN c.relkind = 'v'
                ELSE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.relpersistence <> 't' END
), upward(oid, letter) AS (
    SELECT oid, letter FROM relation WHERE letter IN ('f', 'u')
    UNION
    SELECT i.inhparent, u.letter FROM upward u JOIN pg_catalog.pg_inherits i ON i.inhrelid = u.oid
)
SELECT oid::text, relname::text, letter FROM relation WHERE letter <> ''
UNION
SELECT r.oid::text, r.relname::text, u.letter FROM upward u JOIN relation r ON r.oid = u.oid`
