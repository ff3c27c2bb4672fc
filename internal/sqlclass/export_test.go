package sqlclass

import (
	"maps"
	"reflect"
)

// The queries, for the tests' own Querier.
const (
	VersionQuery     = versionQuery
	BuiltinsQuery    = builtinsQuery
	RoutinesQuery    = routinesQuery
	AggregatesQuery  = aggregatesQuery
	OperatorsQuery   = operatorsQuery
	HiddenQuery      = hiddenQuery
	TriggersQuery    = triggersQuery
	TypesQuery       = typesQuery
	RelationsQuery   = relationsQuery
	ExpressionsQuery = expressionsQuery
	ReferencesQuery  = referencesQuery
	OwnQuery         = ownQuery
)

// SameCatalogue reports whether two catalogues say the same, and were made of the
// same.
func SameCatalogue(a, b *Catalogue) bool {
	for what, rows := range a.answers.rows {
		if len(rows) != len(b.answers.rows[what]) {
			return false
		}
	}
	x, y := *a, *b
	x.answers, y.answers = answers{}, answers{}
	return reflect.DeepEqual(x, y) && maps.Equal(a.answers.parts, b.answers.parts)
}

// Tokens cuts a text as the classifier does. It returns nil if the text is not
// understood.
func Tokens(sql []byte, standardStrings bool) [][]byte {
	s := &scanner{}
	s.init(sql, standardStrings, nil)
	tokens := [][]byte{}
	for ; s.cur.kind != kindEnd; s.advance() {
		tokens = append(tokens, s.text(&s.cur))
	}
	if s.bad {
		return nil
	}
	return tokens
}
