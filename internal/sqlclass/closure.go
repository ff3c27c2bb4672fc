package sqlclass

import (
	"slices"
	"strings"
)

// unit is something that runs: a function, a view, an operator. Its flags are
// first its own and then, after spread, those of everything it refers to.
type unit struct {
	name     string
	volatile bool
	unsafe   bool // must not run on a replica
	dirty    bool // may change the session
	opaque   bool // nothing is known of what it does
	argument bool // takes arguments
	refs     []string
}

// add makes u known under the keys: "f:" and a function's name, "o:" and its OID,
// "r:" and a relation's name, "R:" and its OID, "p:" and an operator's OID, "P:"
// and its name.
func (l *loader) add(u *unit, keys ...string) {
	for _, key := range keys {
		l.units[key] = append(l.units[key], u)
	}
}

// cleanExtensions are the extensions whose C functions leave nothing behind in
// the session, apart from those in leavesState.
var cleanExtensions = []string{
	"plpgsql", "amcheck", "autoinc", "bloom", "btree_gin", "btree_gist", "citext", "cube", "dict_int", "dict_xsyn", "earthdistance",
	"fuzzystrmatch", "hstore", "insert_username", "intagg", "intarray", "lo", "ltree", "moddatetime", "pageinspect", "pg_buffercache",
	"pg_freespacemap", "pg_prewarm", "pg_stat_statements", "pg_trgm", "pg_visibility", "pg_walinspect", "pgcrypto", "pgrowlocks",
	"pgstattuple", "postgis", "postgis_raster", "seg", "tcn", "tsm_system_rows", "tsm_system_time", "unaccent", "uuid-ossp", "vector",
}

func leavesState(fn string) bool { return fn == "set_limit" }

// readRoutines reads the functions and operators, and searches the functions'
// bodies once all names are known.
func (l *loader) readRoutines() {
	rows := l.rows("functions", routinesQuery, 8)
	sources := make([]string, len(rows))
	for i, row := range rows {
		oid, fn, kind, volatility, arguments, language, extension := row[0], row[1], row[2], row[3], row[4], row[5], row[6]
		u := &unit{name: fn, volatile: volatility == "v", unsafe: denied(fn), argument: arguments != "0"}
		switch {
		case kind == "a": // what an aggregate does, its functions do
		case language == "sql", language == "plpgsql":
			sources[i] = row[7]
		case (language == "c" || language == "internal") && slices.Contains(cleanExtensions, extension) && !leavesState(fn):
		default:
			u.opaque = true
		}
		l.routines = append(l.routines, u)
		l.add(u, "f:"+fn, "o:"+oid)
	}
	l.readOperators()
	for i, source := range sources {
		l.search(l.routines[i], source)
	}
}

func (l *loader) readOperators() {
	for _, row := range l.rows("operators", operatorsQuery, 3) {
		u := &unit{name: row[1]}
		l.operators = append(l.operators, u)
		l.refer(u, "o:", row[2])
		l.add(u, "p:"+row[0], "P:"+row[1])
	}
}

// refer notes that u uses the function, operator or relation of that OID.
func (l *loader) refer(u *unit, prefix, oid string) {
	if fn, ok := l.builtins[oid]; ok && prefix == "o:" {
		f := l.cat.names[fn].function
		u.unsafe = u.unsafe || f&builtinUnsafe != 0
		u.dirty = u.dirty || f&bindsAny != 0
		return
	}
	u.refs = append(u.refs, prefix+oid)
}

func (l *loader) readAggregates() {
	for _, row := range l.rows("aggregates", aggregatesQuery, 2) {
		for _, u := range l.units["o:"+row[0]] {
			l.refer(u, "o:", row[1])
		}
	}
}

var referencePrefixes = map[string]string{"funcid": "o:", "aggfnoid": "o:", "winfnoid": "o:", "opno": "p:", "relid": "R:"}

func (l *loader) readExpressions() {
	sql := expressionsQuery
	if l.cat.version < 140000 {
		sql = strings.Replace(sql, expressionsRoutines, "", 1)
	}
	for _, row := range l.rows("expressions", sql, 4) {
		kind, owner, prefix, oid := row[0], row[1], referencePrefixes[row[2]], row[3]
		switch kind {
		case "w":
			if prefix != "R:" {
				l.refer(&l.writes, prefix, oid)
			}
			continue
		case "f":
			owner = "o:" + owner
		default:
			owner = "R:" + owner
		}
		for _, u := range l.units[owner] {
			l.refer(u, prefix, oid)
		}
	}
}

// spread carries the flags along the references until nothing changes.
func (l *loader) spread() {
	all := slices.Concat(l.routines, l.views, l.operators, []*unit{&l.writes})
	for changed := true; changed; {
		changed = false
		for _, u := range all {
			if u.unsafe && u.dirty {
				continue
			}
			for _, ref := range u.refs {
				for _, target := range l.units[ref] {
					unsafe := u.unsafe || target.unsafe || target.volatile
					dirty := u.dirty || target.dirty || target.opaque
					if unsafe != u.unsafe || dirty != u.dirty {
						u.unsafe, u.dirty, changed = unsafe, dirty, true
					}
				}
			}
		}
	}
}

func (l *loader) publishRoutines() {
	for _, u := range l.routines {
		n := l.cat.names[u.name]
		n.function |= hasUser
		if u.argument {
			n.function |= hasArguments
		}
		if u.dirty || u.opaque {
			n.function |= userUnclean | userUnsafe
		}
		if u.volatile || u.unsafe {
			n.function |= userUnsafe
		}
		l.cat.names[u.name] = n
	}
}

// publishOperators keeps the operators that are not safe. A C function of an
// extension is believed here: it runs in every comparison.
func (l *loader) publishOperators() {
	for _, u := range l.operators {
		if !u.unsafe && !l.scannedDirty(u) {
			continue
		}
		l.cat.operators[u.name] = struct{}{}
		l.cat.dirtyOperators = l.cat.dirtyOperators || u.dirty
		switch u.name {
		case "<>":
			l.cat.operators["!="] = struct{}{}
			l.cat.implicitOperator = true
		case "=", "<", ">", "<=", ">=", "~~", "!~~", "~~*", "!~~*", "~", "!~":
			l.cat.implicitOperator = true
		}
	}
}

// scannedDirty reports whether u is dirty for another reason than that it calls
// an opaque C function directly.
func (l *loader) scannedDirty(u *unit) bool {
	for _, ref := range u.refs {
		for _, target := range l.units[ref] {
			if target.dirty {
				return true
			}
		}
	}
	return false
}

// publishHidden judges what runs without being named.
func (l *loader) publishHidden() {
	for _, row := range l.rows("casts", hiddenQuery, 2) {
		u := unit{}
		l.refer(&u, "o:", row[1])
		for _, target := range l.units["o:"+row[1]] {
			u.unsafe = u.unsafe || target.volatile || target.unsafe || target.dirty
		}
		switch {
		case !u.unsafe:
		case row[0] == "cast":
			l.cat.userCasts = true
		default:
			l.cat.implicitOperator = true
		}
	}
}

func (l *loader) publishTriggers() {
	dirty := l.writes.dirty
	for _, row := range l.rows("triggers", triggersQuery, 1) {
		for _, u := range l.units["o:"+row[0]] {
			dirty = dirty || u.dirty || u.opaque
		}
	}
	l.cat.DirtyTriggers = dirty
}
