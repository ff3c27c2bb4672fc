package sqlclass

// Reason says why a text is not a read.
type Reason uint8

// The reasons, a closed set.
const (
	ReasonRead             Reason = iota // it is a read
	ReasonCommand                        // a command that is not a query
	ReasonTransaction                    // transaction control
	ReasonSetting                        // SET, RESET, SHOW
	ReasonLocking                        // FOR UPDATE and relatives
	ReasonWritingCTE                     // INSERT, UPDATE, DELETE or MERGE inside a query
	ReasonSelectInto                     // SELECT INTO
	ReasonVolatileFunction               // a volatile function
	ReasonUnknownFunction                // a function that the catalogue does not know or cannot vouch for
	ReasonDenied                         // a function that a replica would accept although it must not run there
	ReasonView                           // a view that runs what is not proven a read
	ReasonRowSecurity                    // a table whose row security runs what is not proven a read
	ReasonUserType                       // a user-defined type that is not proven safe, or a table with a column of one
	ReasonUserOperator                   // a user-defined operator that is not safe
	ReasonUserCast                       // a cast between the server's own types that is not safe exists
	ReasonSequence                       // a sequence read as a relation
	ReasonForeignTable                   // a foreign table
	ReasonUnlogged                       // an unlogged table
	ReasonServerState                    // a server's own state, such as pg_stat_activity
	ReasonTemporary                      // a temporary relation
	ReasonTooLong                        // nested too deeply, or too long
	ReasonNoCatalogue                    // the catalogue is not known yet
	ReasonSyntax                         // the scanner does not understand the text
	reasonCount
)

var reasonNames = [reasonCount]string{
	ReasonRead: "read", ReasonCommand: "command", ReasonTransaction: "transaction control", ReasonSetting: "setting",
	ReasonLocking: "locking clause", ReasonWritingCTE: "writing CTE", ReasonSelectInto: "SELECT INTO",
	ReasonVolatileFunction: "volatile function", ReasonUnknownFunction: "unknown function", ReasonDenied: "function on the deny list",
	ReasonView: "view", ReasonRowSecurity: "row security", ReasonUserType: "user-defined type",
	ReasonUserOperator: "user-defined operator", ReasonUserCast: "user-defined cast", ReasonSequence: "sequence",
	ReasonForeignTable: "foreign table", ReasonUnlogged: "unlogged table", ReasonServerState: "server state",
	ReasonTemporary: "temporary relation", ReasonTooLong: "too long", ReasonNoCatalogue: "no catalogue", ReasonSyntax: "syntax",
}

// String returns the words that explain and logs use.
func (r Reason) String() string {
	if r < reasonCount {
		return reasonNames[r]
	}
	return "unknown"
}
