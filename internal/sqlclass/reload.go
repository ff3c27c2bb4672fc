package sqlclass

import (
	"context"
	"slices"
)

// ownQuery notices changes to the functions that came with the server, which are
// no part of the fingerprint: nobody makes them in the course of work.
const ownQuery = `
SELECT pg_catalog.count(*)::text, pg_catalog.sum(pg_catalog.hashint8extended(xmin::text::bigint, oid::bigint))::text
  FROM pg_catalog.pg_proc WHERE oid < 16384`

// dependencies are the parts of the fingerprint on which the answer to a query
// depends. An answer whose parts are what they were is taken from the earlier
// catalogue. What is not listed here is always asked for.
var dependencies = map[string][]string{
	"relations":              {"2", "3", "5", "10", "12", "16"},
	"types":                  {"2", "3"},
	"functions":              {"1", "14"},
	"operators":              {"1", "4"},
	"expressions":            {"7", "8", "10", "11"},
	"rules":                  {"6"},
	"functions' expressions": {"1"},
	"references":             {"1", "2", "3", "4", "5", "6", "7", "10", "11", "12", "16"},
	"aggregates":             {"1"},
	"casts":                  {"1", "4", "5", "13", "15"},
	"triggers":               {"8", "9"},
}

// answers is what a catalogue was made of, so that the next one needs only what
// has changed.
type answers struct {
	version int
	parts   map[string]string // of the fingerprint
	rows    map[string][][]string
}

// Reload is [Load] where an earlier catalogue of the same database is known: only
// what has changed since is read again. earlier may be nil.
func Reload(ctx context.Context, q Querier, earlier *Catalogue) (*Catalogue, error) {
	l := newLoader(ctx, q)
	if earlier != nil {
		l.earlier = &earlier.answers
	}
	return l.load()
}

// readFingerprint reads the fingerprint, whole and in parts.
func (l *loader) readFingerprint() {
	rows := l.query("fingerprint", FingerprintQuery)
	l.cat.fingerprint = Fingerprint(rows)
	for _, row := range rows {
		part := ""
		for _, value := range row[1:] {
			part += value + " "
		}
		l.cat.answers.parts[row[0]] = part
	}
}

// known returns the earlier answer to a query, if it is still the answer.
func (l *loader) known(what string) ([][]string, bool) {
	parts, listed := dependencies[what]
	if !listed || l.earlier == nil {
		return nil, false
	}
	for _, part := range parts {
		if l.earlier.parts[part] != l.cat.answers.parts[part] {
			return nil, false
		}
	}
	rows, ok := l.earlier.rows[what]
	return rows, ok
}

// unchanged asks a small question, and returns the earlier answer to a large one
// if that to the small one is what it was.
func (l *loader) unchanged(what, sql, of string) ([][]string, bool) {
	small := l.query(what, sql)
	l.cat.answers.rows[what] = small
	if l.earlier == nil || !slices.EqualFunc(small, l.earlier.rows[what], slices.Equal) {
		return nil, false
	}
	rows, ok := l.earlier.rows[of]
	return rows, ok
}
