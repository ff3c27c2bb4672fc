package sqlclass

import "strings"

// expressionsQuery: what stored expressions refer to. The kinds are f for the
// body of a function in the SQL standard's form and for the defaults of its
// arguments, v for a view and for virtual generated columns, p for the row
// security policies of a table, d for the constraints of a domain, w for whatever
// may run in a write. A call of current_setting whose argument is a constant
// yields the constant's bytes instead; CURRENT_DATE and its relatives yield time,
// and what takes locks or writes yields unsafe. Only trees that call
// current_setting are searched by the large pattern, which is slow; of the others
// the fields are looked at one by one.
const expressionsQuery = expressionsHead + `
    SELECT 'p', polrelid::text, COALESCE(polqual::text, '') || ' ' || COALESCE(polwithcheck::text, '') FROM pg_catalog.pg_policy
    UNION ALL
    SELECT 'w', '', d.adbin::text FROM pg_catalog.pg_attrdef d JOIN pg_catalog.pg_class c ON c.oid = d.adrelid
     WHERE d.oid >= 16384 AND c.relpersistence <> 't'
    UNION ALL
    SELECT 'v', d.adrelid::text, d.adbin::text
      FROM pg_catalog.pg_attrdef d JOIN pg_catalog.pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
     WHERE d.oid >= 16384 AND a.attgenerated = 'v'
    UNION ALL
    SELECT 'w', '', k.conbin::text FROM pg_catalog.pg_constraint k LEFT JOIN pg_catalog.pg_class c ON c.oid = k.conrelid
     WHERE k.oid >= 16384 AND k.conbin IS NOT NULL AND c.relpersistence IS DISTINCT FROM 't'
    UNION ALL
    SELECT 'd', contypid::text, conbin::text FROM pg_catalog.pg_constraint WHERE oid >= 16384 AND conbin IS NOT NULL AND contypid <> 0
    UNION ALL
    SELECT 'w', '', tgqual::text FROM pg_catalog.pg_trigger WHERE oid >= 16384 AND tgqual IS NOT NULL` + expressionsTail

// rulesQuery is expressionsQuery for views and rules.
const rulesQuery = expressionsHead + `
    SELECT CASE WHEN r.ev_type = '1' AND c.relkind = 'v' THEN 'v' ELSE 'w' END, r.ev_class::text, r.ev_action::text || ' ' || r.ev_qual::text
      FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_class c ON c.oid = r.ev_class
     WHERE r.oid >= 16384 AND c.relpersistence <> 't'` + expressionsTail

// routineExpressionsQuery is expressionsQuery for functions.
const routineExpressionsQuery = expressionsHead + routineBodies + `
    SELECT 'f', oid::text, proargdefaults::text FROM pg_catalog.pg_proc WHERE oid >= 16384 AND proargdefaults IS NOT NULL` + expressionsTail

// The head and the tail of the queries for stored expressions.
const (
	expressionsHead = `
WITH tree(kind, owner, nodes) AS (`
	expressionsTail = `
)
SELECT DISTINCT kind, owner, found.field, found.value
  FROM tree, LATERAL (
    SELECT CASE WHEN m[1] IS NOT NULL THEN 'setting' WHEN m[2] IS NOT NULL THEN m[2] WHEN m[4] IS NOT NULL THEN 'time' ELSE 'unsafe' END, COALESCE(m[1], m[3], '0')
      FROM pg_catalog.regexp_matches(nodes, '` + settingPattern + `|` + referencePattern + `|` + timePattern + `|` + unsafePattern + `', 'g') m
     WHERE nodes ~ ':funcid (?:2077|3294) '
    UNION ALL
    SELECT pg_catalog.split_part(piece, ' ', 1), COALESCE(pg_catalog.substring(piece, '^[a-z]+ ([0-9]+)'), '0')
      FROM pg_catalog.unnest(pg_catalog.string_to_array(nodes, ' :')) piece
     WHERE nodes !~ ':funcid (?:2077|3294) '
       AND pg_catalog.split_part(piece, ' ', 1) IN ('funcid', 'aggfnoid', 'winfnoid', 'tsmhandler', 'opno', 'relid')
    UNION ALL
    SELECT 'unsafe', '0' WHERE nodes !~ ':funcid (?:2077|3294) ' AND nodes ~ '` + unsafePattern + `'
    UNION ALL
    SELECT 'time', '0' WHERE nodes !~ ':funcid (?:2077|3294) ' AND nodes ~ '` + timePattern + `'
  ) found(field, value)`
)

const (
	// settingPattern is current_setting, with one or two arguments, of a text constant.
	settingPattern = `:funcid (?:2077|3294) [^{}]*:args \({CONST :consttype 25 [^{}]*:constvalue \d+ \[ ([-0-9 ]+) \]`
	// referencePattern: of the fields with the OID of an operator only opno is
	// needed, since those of sorting and grouping are in pg_depend.
	referencePattern = `:(funcid|aggfnoid|winfnoid|tsmhandler|opno|relid) (\d+)`
	// timePattern is CURRENT_DATE and its relatives (SQLValueFunctionOp in primnodes.h).
	timePattern = `({SQLVALUEFUNCTION :op [0-8] )`
	// unsafePattern is FOR UPDATE and its relatives, a writing WITH, a sequence.
	unsafePattern = `(?:{ROWMARKCLAUSE|:hasModifyingCTE true|:hasForUpdate true|{NEXTVALUEEXPR)`
)

// routineBodies is left out before PostgreSQL 14.
const routineBodies = `
    SELECT 'f', oid::text, prosqlbody::text FROM pg_catalog.pg_proc WHERE oid >= 16384 AND prosqlbody IS NOT NULL
    UNION ALL`

// referencesQuery: what runs where a type or a relation is used, beside what its
// expressions call by name: kind and OID of the user, kind and OID of what is
// used. R is a relation, T a type, o a function, p an operator. The dependencies
// that the server records for stored expressions name all user-defined objects in
// them, also those of coercions, sorting and grouping.
const referencesQuery = `
WITH stored(classid, objid, kind, owner) AS (
    SELECT 'pg_catalog.pg_rewrite'::pg_catalog.regclass, r.oid, 'R', r.ev_class
      FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_class c ON c.oid = r.ev_class
     WHERE r.oid >= 16384 AND r.ev_type = '1' AND c.relkind = 'v'
    UNION ALL
    SELECT 'pg_catalog.pg_policy'::pg_catalog.regclass, oid, 'R', polrelid FROM pg_catalog.pg_policy
    UNION ALL
    SELECT 'pg_catalog.pg_constraint'::pg_catalog.regclass, oid, 'T', contypid FROM pg_catalog.pg_constraint WHERE oid >= 16384 AND contypid <> 0
    UNION ALL
    SELECT 'pg_catalog.pg_attrdef'::pg_catalog.regclass, d.oid, 'R', d.adrelid
      FROM pg_catalog.pg_attrdef d JOIN pg_catalog.pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
     WHERE d.oid >= 16384 AND a.attgenerated = 'v'
), casts AS (
    SELECT castsource AS type, castfunc FROM pg_catalog.pg_cast WHERE oid >= 16384 AND castfunc <> 0 AND castsource >= 16384
    UNION
    SELECT casttarget, castfunc FROM pg_catalog.pg_cast WHERE oid >= 16384 AND castfunc <> 0 AND casttarget >= 16384
), reference(kind, owner, refkind, refowner) AS (
    SELECT s.kind, s.owner, CASE d.refclassid
             WHEN 'pg_catalog.pg_type'::pg_catalog.regclass THEN 'T' WHEN 'pg_catalog.pg_proc'::pg_catalog.regclass THEN 'o'
             WHEN 'pg_catalog.pg_operator'::pg_catalog.regclass THEN 'p' ELSE 'R' END, d.refobjid
      FROM stored s JOIN pg_catalog.pg_depend d ON d.classid = s.classid AND d.objid = s.objid
     WHERE d.refobjid >= 16384 AND d.refobjid <> s.owner
       AND d.refclassid IN ('pg_catalog.pg_type'::pg_catalog.regclass, 'pg_catalog.pg_proc'::pg_catalog.regclass,
           'pg_catalog.pg_operator'::pg_catalog.regclass, 'pg_catalog.pg_class'::pg_catalog.regclass)
    UNION ALL
    SELECT CASE classid WHEN 'pg_catalog.pg_proc'::pg_catalog.regclass THEN 'o' ELSE 'T' END, objid,
           CASE refclassid WHEN 'pg_catalog.pg_type'::pg_catalog.regclass THEN 'T' ELSE 'R' END, refobjid
      FROM pg_catalog.pg_depend
     WHERE refobjid >= 16384 AND (refclassid = 'pg_catalog.pg_type'::pg_catalog.regclass
           AND classid IN ('pg_catalog.pg_proc'::pg_catalog.regclass, 'pg_catalog.pg_type'::pg_catalog.regclass)
        OR refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND classid = 'pg_catalog.pg_type'::pg_catalog.regclass)
    UNION ALL
    SELECT CASE c.relkind WHEN 'c' THEN 'T' ELSE 'R' END, CASE c.relkind WHEN 'c' THEN c.reltype ELSE c.oid END, 'T', a.atttypid
      FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
     WHERE a.atttypid >= 16384 AND a.attnum > 0 AND NOT a.attisdropped
       AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'c') AND c.relpersistence <> 't'
    UNION ALL
    SELECT 'T', t.oid, 'o', f.oid
      FROM pg_catalog.pg_type t, LATERAL (VALUES (t.typinput::pg_catalog.oid), (t.typoutput::pg_catalog.oid), (t.typreceive::pg_catalog.oid),
           (t.typsend::pg_catalog.oid), (t.typmodin::pg_catalog.oid), (t.typmodout::pg_catalog.oid)) f(oid)
     WHERE t.oid >= 16384 AND f.oid >= 16384
    UNION ALL
    SELECT 'T', r.rngtypid, 'o', f.oid
      FROM pg_catalog.pg_range r, LATERAL (VALUES (r.rngcanonical::pg_catalog.oid), (r.rngsubdiff::pg_catalog.oid)) f(oid)
     WHERE r.rngtypid >= 16384 AND f.oid <> 0
    UNION ALL
    SELECT 'T', type, 'o', castfunc FROM casts
    UNION ALL
    SELECT 'R', t.typrelid, 'o', k.castfunc FROM casts k JOIN pg_catalog.pg_type t ON t.oid = k.type WHERE t.typrelid <> 0
)
SELECT DISTINCT kind, owner::text, refkind, refowner::text FROM reference`

// refer notes that u uses the function, operator or relation of that OID.
func (l *loader) refer(u *unit, prefix, oid string) {
	if fn, ok := l.builtins[oid]; ok && prefix == "o:" {
		f := l.cat.names[fn].function
		u.unsafe = u.unsafe || f&builtinUnsafe != 0
		u.dirty = u.dirty || f&bindsAny != 0
		u.time = u.time || f&tellsTime != 0
		return
	}
	u.refs = append(u.refs, prefix+oid)
}

// referWeakly is refer for what runs in the course of using an operator or a type.
func (l *loader) referWeakly(u *unit, prefix, oid string) {
	if _, ok := l.builtins[oid]; ok && prefix == "o:" {
		l.refer(u, prefix, oid)
		return
	}
	u.weak = append(u.weak, prefix+oid)
}

func (l *loader) readAggregates() {
	for _, row := range l.rows("aggregates", aggregatesQuery, 2) {
		for _, u := range l.units["o:"+row[0]] {
			l.refer(u, "o:", row[1])
		}
	}
}

var referencePrefixes = map[string]string{
	"funcid": "o:", "aggfnoid": "o:", "winfnoid": "o:", "tsmhandler": "o:", "opno": "p:", "relid": "R:",
}

func (l *loader) readExpressions() {
	l.readTrees("expressions", expressionsQuery)
	l.readTrees("rules", rulesQuery)
	sql := routineExpressionsQuery
	if l.cat.version < 140000 {
		sql = strings.Replace(sql, routineBodies, "", 1)
	}
	l.readTrees("functions' expressions", sql)
}

// readTrees notes what stored expressions refer to.
func (l *loader) readTrees(what, sql string) {
	for _, row := range l.rows(what, sql, 4) {
		kind, owner := row[0], row[1]
		switch kind {
		case "w":
			if row[2] != "relid" {
				l.express(&l.writes, row[2], row[3])
			}
			continue
		case "f":
			owner = "o:" + owner
		case "d":
			owner = "T:" + owner
		default:
			owner = "R:" + owner
		}
		for _, u := range l.units[owner] {
			l.express(u, row[2], row[3])
		}
	}
}

// express notes what an expression in u refers to.
func (l *loader) express(u *unit, field, value string) {
	switch prefix, ok := referencePrefixes[field]; {
	case ok:
		l.refer(u, prefix, value)
	case field == "setting" && clientSetting(constant(value)):
	case field == "time":
		u.time = true
	default:
		u.unsafe = true
	}
}

// readReferences reads what types consist of, and what uses them.
func (l *loader) readReferences() {
	for _, row := range l.rows("references", referencesQuery, 4) {
		owner, prefix, oid := row[0]+":"+row[1], row[2]+":", row[3]
		if row[0] == "T" && l.units[owner] == nil {
			l.add(&unit{}, owner) // the row type of a relation
		}
		for _, u := range l.units[owner] {
			if row[0] == "R" && prefix != "T:" {
				l.refer(u, prefix, oid)
			} else {
				l.referWeakly(u, prefix, oid)
			}
		}
	}
}
