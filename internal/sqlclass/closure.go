package sqlclass

import "slices"

// unit is something that runs: a function, an operator, a view, a type when its
// values are read or made. Its flags are first its own and then, after spread,
// those of everything it refers to.
//
// What a view, a policy or a function's body refers to by OID is bound when it is
// made. So it does not depend on anybody's search_path; and on the role it depends
// only in which policies apply (all of them count) and in what privileges refuse.
type unit struct {
	name     string
	array    string // of a type: the name of its array type
	reason   Reason // of a relation or a type: why it is not a read, if it is not safe
	volatile bool
	unsafe   bool // must not run on a replica
	dirty    bool // may change the session
	opaque   bool // nothing is known of what it does
	library  bool // opaque because it is in C, in an extension that is not in cleanExtensions
	changes  bool // may change the catalogue
	unproven bool // uses a type whose functions are such a library's
	time     bool // may tell when the transaction began
	argument bool // takes arguments
	refs     []string
	weak     []string // see spread
}

// safe reports whether a relation or a type may be used on a replica.
func (u *unit) safe() bool { return !u.unsafe && !u.dirty && !u.unproven }

// add makes u known under the keys: "f:" and a function's name, "o:" and its OID,
// "r:" and a relation's name, "R:" and its OID, "p:" and an operator's OID, "P:"
// and its name, "t:" and a type's name, "T:" and its OID.
func (l *loader) add(u *unit, keys ...string) {
	for _, key := range keys {
		l.units[key] = append(l.units[key], u)
	}
}

// cleanExtensions are the extensions whose C functions leave nothing behind in
// the session, apart from those in leavesState.
var cleanExtensions = []string{
	"plpgsql", "amcheck", "autoinc", "bloom", "btree_gin", "btree_gist", "citext", "cube", "dict_int", "dict_xsyn", "earthdistance",
	"fuzzystrmatch", "hstore", "insert_username", "intagg", "intarray", "isn", "lo", "ltree", "moddatetime", "pageinspect", "pg_buffercache",
	"pg_freespacemap", "pg_prewarm", "pg_stat_statements", "pg_trgm", "pg_visibility", "pg_walinspect", "pgcrypto", "pgrowlocks",
	"pgstattuple", "postgis", "postgis_raster", "seg", "tcn", "tsm_system_rows", "tsm_system_time", "unaccent", "uuid-ossp", "vector",
}

func leavesState(fn string) bool { return fn == "set_limit" || fn == "isn_weak" }

// constructor reports whether a function of the server is one of those that every
// range type gets.
func constructor(internal string) bool {
	switch internal {
	case "range_constructor2", "range_constructor3", "multirange_constructor0", "multirange_constructor1", "multirange_constructor2":
		return true
	}
	return false
}

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
		case language == "internal" && constructor(row[7]):
		case (language == "c" || language == "internal") && slices.Contains(cleanExtensions, extension) && !leavesState(fn):
		default:
			u.opaque = true
			u.library = language == "c" || language == "internal"
		}
		l.routines = append(l.routines, u)
		l.add(u, "f:"+fn, "o:"+oid)
	}
	l.readOperators()
	for i, source := range sources {
		l.search(l.routines[i], []byte(source), 1)
	}
}

func (l *loader) readOperators() {
	for _, row := range l.rows("operators", operatorsQuery, 3) {
		u := &unit{name: row[1]}
		l.operators = append(l.operators, u)
		l.referWeakly(u, "o:", row[2])
		l.add(u, "p:"+row[0], "P:"+row[1])
	}
}

// spread carries the flags along the references until nothing changes. A weak
// reference is one to what runs in every comparison and with every value, often
// from the C library of some extension: that such a library leaves the session
// alone is believed, and whether it is safe is left to who asks.
func (l *loader) spread() {
	all := []*unit{&l.writes}
	seen := map[*unit]bool{&l.writes: true}
	for _, units := range l.units {
		for _, u := range units {
			if !seen[u] {
				seen[u] = true
				all = append(all, u)
			}
		}
	}
	for changed := true; changed; {
		changed = false
		for _, u := range all {
			changed = l.gather(u) || changed
		}
	}
}

// gather takes over the flags of what u refers to, and reports whether they were
// news.
func (l *loader) gather(u *unit) bool {
	unsafe, dirty, changes, unproven, time := u.unsafe, u.dirty, u.changes, u.unproven, u.time
	if unsafe && dirty && changes && unproven && time {
		return false
	}
	for _, ref := range u.refs {
		for _, target := range l.units[ref] {
			unsafe = unsafe || target.unsafe || target.volatile
			dirty = dirty || target.dirty || target.opaque
			changes = changes || target.changes
			unproven = unproven || target.unproven
			time = time || target.time
		}
	}
	for _, ref := range u.weak {
		for _, target := range l.units[ref] {
			unsafe = unsafe || target.unsafe || target.volatile
			dirty = dirty || target.dirty || target.opaque && !target.library
			changes = changes || target.changes
			unproven = unproven || target.unproven || target.library
			time = time || target.time
		}
	}
	if unsafe == u.unsafe && dirty == u.dirty && changes == u.changes && unproven == u.unproven && time == u.time {
		return false
	}
	u.unsafe, u.dirty, u.changes, u.unproven, u.time = unsafe, dirty, changes, unproven, time
	return true
}
