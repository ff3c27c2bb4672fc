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
)
