package sqlclass

import (
	"context"
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
)

// Catalogue is what one database's system catalogue says about names. It is
// immutable, and may be used by many goroutines.
type Catalogue struct {
	// DirtyTriggers is true if a trigger, rule, default or constraint runs
	// something that is not proven clean, so that any write may change the
	// session.
	DirtyTriggers bool

	names            map[string]name
	operators        map[string]struct{} // user-defined ones that are not safe
	dirtyOperators   bool                // one of those is not clean either
	implicitOperator bool                // one of those is behind a keyword, such as = behind IN
	userCasts        bool                // some cast is not safe
	dirtyHidden      bool                // something that runs without being named is not clean
	changingTriggers bool                // a trigger may change the catalogue
	beyondASCII      bool                // something special has a name beyond ASCII
	fingerprint      uint64
	version          int
	answers          answers
}

// Querier runs one statement and returns its rows as text. The queries of this
// package return no NULLs. Any user may run them, over any connection to the
// database.
type Querier interface {
	Query(ctx context.Context, sql string) ([][]string, error)
}

// Fingerprint condenses the rows of [FingerprintQuery].
func Fingerprint(rows [][]string) uint64 {
	h := fnv.New64a()
	for _, row := range rows {
		for _, value := range row {
			_, _ = h.Write([]byte(value))
			_, _ = h.Write([]byte{0})
		}
	}
	return h.Sum64()
}

// Fingerprint is the fingerprint read just before the catalogue: as long as the
// query still yields it, the catalogue is current.
func (c *Catalogue) Fingerprint() uint64 { return c.fingerprint }

// ServerVersion is the server_version_num of the server that was asked.
func (c *Catalogue) ServerVersion() int { return c.version }

// Load reads the catalogue of the database that q is connected to.
func Load(ctx context.Context, q Querier) (*Catalogue, error) { return Reload(ctx, q, nil) }

func (l *loader) load() (*Catalogue, error) {
	l.readFingerprint()
	l.readVersion()
	l.readBuiltins()
	l.readRelations()
	l.readTypes()
	l.readRoutines()
	l.readExpressions()
	l.readReferences()
	l.readAggregates()
	if l.err != nil {
		return nil, l.err
	}
	l.spread()
	l.publishRoutines()
	l.publishRelations()
	l.publishTypes()
	l.publishOperators()
	l.publishHidden()
	l.publishTriggers()
	if l.err != nil {
		return nil, l.err
	}
	return l.cat, nil
}

// loader reads the catalogue step by step; after the first error the steps do
// nothing.
type loader struct {
	ctx context.Context // of the one Load that this loader lives for
	q   Querier
	err error
	cat *Catalogue

	earlier   *answers          // what an earlier catalogue was made of, or nil
	builtins  map[string]string // OID to name
	routines  []*unit
	relations []*unit
	types     []*unit
	operators []*unit
	writes    unit // whatever may run in a write
	units     map[string][]*unit
}

func newLoader(ctx context.Context, q Querier) *loader {
	return &loader{
		ctx: ctx,
		q:   q,
		cat: &Catalogue{names: make(map[string]name), operators: make(map[string]struct{}),
			answers: answers{parts: make(map[string]string), rows: make(map[string][][]string)}},
		builtins: make(map[string]string),
		units:    make(map[string][]*unit),
	}
}

func (l *loader) query(what, sql string) [][]string {
	if l.err != nil {
		return nil
	}
	rows, err := l.q.Query(l.ctx, sql)
	if err != nil {
		l.err = fmt.Errorf("read %s from the catalogue: %w", what, err)
	}
	return rows
}

// rows runs a query whose rows must have so many columns.
func (l *loader) rows(what, sql string, columns int) [][]string {
	rows, known := l.known(what)
	if !known {
		rows = l.query(what, sql)
	}
	l.cat.answers.rows[what] = rows
	return l.check(what, rows, columns)
}

// check returns the rows if they have so many columns.
func (l *loader) check(what string, rows [][]string, columns int) [][]string {
	for _, row := range rows {
		if len(row) != columns {
			l.err = fmt.Errorf("read %s from the catalogue: %d columns instead of %d", what, len(row), columns)
			return nil
		}
	}
	return rows
}

func (l *loader) readVersion() {
	for _, row := range l.rows("the version", versionQuery, 1) {
		v, err := strconv.Atoi(row[0])
		if err != nil {
			l.err = fmt.Errorf("read the version from the catalogue: %w", err)
		}
		l.cat.version = v
	}
	if l.earlier != nil && l.earlier.version != l.cat.version {
		l.earlier = nil // the queries are others
	}
	l.cat.answers.version = l.cat.version
}

func (l *loader) readBuiltins() {
	const what = "the server's functions"
	rows, known := l.unchanged("the server's version of them", ownQuery, what)
	if known {
		l.cat.answers.rows[what] = rows
	} else {
		rows = l.rows(what, builtinsQuery, 4)
	}
	for _, row := range rows {
		n := l.cat.names[row[0]]
		n.function, n.functionReason = builtin(row[0], row[1] == "true")
		if row[2] != "0" {
			n.function |= hasArguments
		}
		l.cat.names[row[0]] = n
		for oid := range strings.FieldsSeq(row[3]) {
			l.builtins[oid] = row[0]
		}
	}
}

// relationReasons are the letters of relationsQuery, for relations that are not
// safe.
var relationReasons = map[string]Reason{
	"v": ReasonView, "f": ReasonForeignTable, "S": ReasonSequence,
	"u": ReasonUnlogged, "R": ReasonRowSecurity, "t": ReasonUserType,
}

func (l *loader) readRelations() {
	for _, row := range l.rows("relations", relationsQuery, 3) {
		oid, relation, letter := row[0], row[1], row[2]
		u := &unit{name: relation}
		switch letter {
		case "i", "c":
			u.unsafe = l.system(relation, letter)
		case "f", "S", "u":
			u.unsafe = true
		}
		if letter == "i" { // known by its OID alone: see nameInformation
			l.add(u, "R:"+oid)
			continue
		}
		l.add(u, "r:"+relation, "R:"+oid)
		if letter != "c" {
			u.reason = relationReasons[letter]
			l.relations = append(l.relations, u)
		}
	}
}

// system notes what is known of a view that came with the server, and reports
// whether it has to be read on the primary.
func (l *loader) system(relation, letter string) bool {
	n := l.cat.names[relation]
	switch {
	case letter == "i":
		n.flags |= nameInformation
	case replicatedRelation(relation):
		return false
	case observedRelation(relation):
		n.relation = ReasonServerState
		n.flags |= nameObserves
	default:
		n.relation = ReasonView
		n.flags |= nameObserves
	}
	l.special(relation, n)
	return true
}

func (l *loader) readTypes() {
	for _, row := range l.rows("types", typesQuery, 4) {
		u := &unit{name: row[1], array: row[3], reason: ReasonUserType}
		l.types = append(l.types, u)
		l.add(u, "t:"+u.name, "T:"+row[0])
		if u.array != "" {
			l.add(u, "t:"+u.array, "T:"+row[2])
		}
	}
}

// special notes a name about which a statement has to be careful.
func (l *loader) special(key string, n name) {
	l.cat.names[key] = n
	if !ascii([]byte(key)) {
		l.cat.beyondASCII = true
	}
}
