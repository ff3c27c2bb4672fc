package sqlclass

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
)

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
