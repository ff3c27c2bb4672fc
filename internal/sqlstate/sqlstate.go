// Package sqlstate names the SQLSTATEs that the project sends, or decides by.
//
// The names follow PostgreSQL's errcodes.txt. A constant is written down here
// once, so that the packages which send a code and those which look for it
// cannot differ; a test holds that no code has two names. What a code means to
// routing (whether a read may be run again, say) is decided where it is used,
// not here.
package sqlstate

// Class 01: warnings.
const (
	// Warning carries notices without a code of their own, such as the one for
	// a bad hint.
	Warning = "01000"
)

// Class 08: the connection.
const (
	SQLClientUnableToEstablish = "08001"
	ConnectionFailure          = "08006"
	// TransactionResolutionUnknown says that a COMMIT was sent and its outcome
	// could not be learned.
	TransactionResolutionUnknown = "08007"
	ProtocolViolation            = "08P01"
)

// Class 0A: not supported; on a standby also what recovery forbids.
const (
	FeatureNotSupported = "0A000"
)

// Class 22: bad values.
const (
	// InvalidParameterValue is also the code for a malformed, foreign or
	// future token.
	InvalidParameterValue = "22023"
)

// Class 25: the state of the transaction.
const (
	ReadOnlySQLTransaction = "25006"
	InFailedTransaction    = "25P02"
	// IdleInTransactionTimeout ends a client that does nothing in a transaction.
	IdleInTransactionTimeout = "25P03"
)

// Classes 26, 34, 3D and 3F: names that lead nowhere.
const (
	InvalidStatementName = "26000"
	InvalidCursorName    = "34000"
	InvalidCatalogName   = "3D000"
	InvalidSchemaName    = "3F000"
)

// Class 28: authentication.
const (
	InvalidAuthorization = "28000"
	InvalidPassword      = "28P01"
)

// Class 40: the transaction was rolled back; from a standby always a conflict
// with recovery.
const (
	SerializationFailure = "40001"
	DeadlockDetected     = "40P01"
)

// Class 42: syntax, rights and names. On a replica an undefined object may be
// one that it has not replayed yet.
const (
	InsufficientPrivilege      = "42501"
	SyntaxError                = "42601"
	UndefinedColumn            = "42703"
	UndefinedObject            = "42704"
	UndefinedFunction          = "42883"
	UndefinedTable             = "42P01"
	DuplicatePreparedStatement = "42P05"
)

// Classes 53 and 54: resources and limits.
const (
	TooManyConnections   = "53300"
	ProgramLimitExceeded = "54000"
)

// Class 55: the wrong state for the operation.
const (
	ObjectNotInPrerequisiteState = "55000"
)

// Class 57: an operator, or a server that starts or stops.
const (
	QueryCanceled = "57014"
	AdminShutdown = "57P01"
	CrashShutdown = "57P02"
	// CannotConnectNow is what PostgreSQL answers while it starts or stops,
	// and our answer when there is no primary.
	CannotConnectNow = "57P03"
	DatabaseDropped  = "57P04"
	// IdleSessionTimeout ends a client that does nothing outside of one.
	IdleSessionTimeout = "57P05"
)

// Classes 58 and XX: trouble inside the server.
const (
	UndefinedFile = "58P01"
	InternalError = "XX000"
)

// Class PR is ours; PostgreSQL has no such class.
const (
	// FloorNotReached says that no replica reached the session's floor in time.
	FloorNotReached = "PR001"
	// WriteLost says that a write which had been acknowledged is gone.
	WriteLost = "PR002"
	// WriteMayBeLost says that a write which had been acknowledged may be gone.
	WriteMayBeLost = "PR003"
)
