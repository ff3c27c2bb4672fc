package sqlclass

// Access says whether a text may run on a replica.
type Access uint8

const (
	// AccessWrite is everything that is not provably a read. It is the zero
	// value, so that whatever is forgotten goes to the primary.
	AccessWrite Access = iota
	// AccessRead is a text whose every statement (transaction control aside) is
	// provably a read that a replica answers as the primary would.
	AccessRead
)

// String returns "read" or "write".
func (a Access) String() string {
	if a == AccessRead {
		return "read"
	}
	return "write"
}

// Tx is the effect of a single statement on the transaction.
type Tx uint8

// The effects on the transaction.
const (
	TxNone           Tx = iota
	TxBegin             // BEGIN, START TRANSACTION
	TxBeginReadOnly     // the same with READ ONLY
	TxCommit            // COMMIT, END
	TxCommitChain       // COMMIT AND CHAIN
	TxRollback          // ROLLBACK, ABORT
	TxRollbackChain     // ROLLBACK AND CHAIN
	TxSavepoint         // SAVEPOINT
	TxRelease           // RELEASE
	TxRollbackTo        // ROLLBACK TO
	TxSetTransaction    // SET TRANSACTION, and SET of the parameters behind it
	TxPrepare           // PREPARE TRANSACTION
	TxCommitPrepared    // COMMIT PREPARED, ROLLBACK PREPARED
)

var txNames = [...]string{
	TxNone: "none", TxBegin: "begin", TxBeginReadOnly: "begin read only", TxCommit: "commit",
	TxCommitChain: "commit and chain", TxRollback: "rollback", TxRollbackChain: "rollback and chain",
	TxSavepoint: "savepoint", TxRelease: "release", TxRollbackTo: "rollback to",
	TxSetTransaction: "set transaction", TxPrepare: "prepare transaction", TxCommitPrepared: "commit prepared",
}

// String names the effect in lower-case SQL words.
func (t Tx) String() string {
	if int(t) < len(txNames) {
		return txNames[t]
	}
	return "unknown"
}

// Binds is the set of things that a text does to the session.
type Binds uint16

const (
	// BindsSetting: SET or RESET of a setting that can follow the client; see
	// Result.Setting.
	BindsSetting Binds = 1 << iota
	// BindsPin: something that binds the client to its backend and cannot
	// follow it elsewhere; see Result.PinReason.
	BindsPin
	// BindsTaint: the text may change session state that nobody tracks, so the
	// backend must be cleaned before another client gets it.
	BindsTaint
	// BindsDiscardAll: DISCARD ALL.
	BindsDiscardAll
	// BindsDeallocate: DEALLOCATE; see Result.Name and Result.DeallocateAll.
	BindsDeallocate
	// BindsLocal: a statement about pgroute.* settings, which the proxy answers
	// itself.
	BindsLocal
	// BindsDDL: the text may change the catalogue.
	BindsDDL
	// BindsPrepare: a single PREPARE of a statement that can follow the client;
	// see Result.Name and Result.Inner.
	BindsPrepare
	// BindsExecute: the text refers to a prepared statement by its name; see
	// Result.Name and Result.Inner.
	BindsExecute
	// BindsStatements: the text reads the list of prepared statements.
	BindsStatements
	// BindsEndsPin: what pins the client may be gone after the text.
	BindsEndsPin
	// BindsListen: the text has a LISTEN or UNLISTEN; see Listens.
	BindsListen
)

// Isolation is the level that BEGIN or SET TRANSACTION asks for.
type Isolation uint8

// The isolation levels. READ UNCOMMITTED counts as ReadCommitted, as it does in
// PostgreSQL.
const (
	IsolationDefault Isolation = iota
	ReadCommitted
	RepeatableRead
	Serializable
)

// SettingKind says what a SET, RESET or SHOW statement does.
type SettingKind uint8

// The kinds of statements about settings.
const (
	SettingNone SettingKind = iota
	SettingSet
	SettingSetLocal
	SettingReset // also SET … TO DEFAULT
	SettingResetAll
	SettingShow
)

// Setting describes a single SET, RESET or SHOW statement.
type Setting struct {
	Kind SettingKind
	// Local is true for SET LOCAL … TO DEFAULT, whose Kind is SettingReset but
	// whose effect ends with the transaction.
	Local bool
	// Untrackable is true when Value cannot be replayed as SET name = value;
	// the statement then pins.
	Untrackable bool
	// Multi is true for SET SESSION CHARACTERISTICS AS TRANSACTION, whose
	// modes are in Result.Isolation, ReadOnly and ReadWrite and, as written, in
	// Value. Name is then empty.
	Multi bool
	// Name is folded to lower case and unquoted: TIME ZONE is "timezone", NAMES
	// "client_encoding", ROLE "role", SCHEMA "search_path", SESSION
	// AUTHORIZATION "session_authorization". It is valid until the Result is
	// used again.
	Name []byte
	// Value is the source text of the value list, exactly as written. It
	// consists only of literals, words, numbers and commas, so that
	// SET name = value may be sent with it. It is a slice of the text.
	Value []byte
}

// Hint is what comments of the form /* pgroute: … */ ask for. Empty fields were
// not given.
type Hint struct {
	// Level is one of the constants eventual, bounded, session, strong, primary.
	Level string
	// OnTimeout is one of the constants primary, error, stale.
	OnTimeout string
	// MaxStaleness and Wait are durations as written, such as 250ms; slices of
	// the text.
	MaxStaleness []byte
	Wait         []byte
	// Bad is the first word of a hint that is not understood; the client gets a
	// WARNING. A slice of the text.
	Bad []byte
}

// Given reports whether any hint, good or bad, was present.
func (h *Hint) Given() bool {
	return h.Level != "" || h.OnTimeout != "" || h.MaxStaleness != nil || h.Wait != nil || h.Bad != nil
}

// Inner is the verdict on a part of a statement, taken by itself. Its zero value
// is a write.
type Inner struct {
	Access    Access
	Harmless  bool
	Reason    Reason
	Binds     Binds
	Pins      Pins
	PinReason string
}

// Result is the verdict on one text. The caller owns it and uses it again;
// slices in it point into the text or into the Result and are valid until either
// is used again. A copy of a Result shares the slices of the original.
type Result struct {
	// Statements is the number of statements that are not empty.
	Statements int
	// Access is AccessRead only if every statement that is not transaction
	// control is provably a read. A text without any statement is a read;
	// transaction control alone is not.
	Access Access
	// Tx is the effect of a single statement. Of several it is TxNone, and Mixed
	// is true if one has an effect.
	Tx Tx
	// Mixed is true for several statements of which at least one is transaction
	// control or changes session state.
	Mixed bool
	// Harmless is true if the text provably writes nothing, wherever it has to
	// run: reads without transaction control, SHOW, SET, EXPLAIN without
	// ANALYZE, and queries that go to the primary only because they ask for a
	// server's own state.
	Harmless bool
	// CopyIn is true if COPY … FROM STDIN could start.
	CopyIn bool
	// CallsProc is true for CALL and DO, which may commit inside.
	CallsProc bool
	// Cursor is true if a statement opens a cursor for what is provably a read:
	// what it will show is decided then, and not when it is fetched.
	Cursor bool
	// DeallocateAll is true for DEALLOCATE ALL.
	DeallocateAll bool
	// TransactionTime is true if the text may ask when the transaction began,
	// as now() does, so that its answer depends on where BEGIN has run.
	TransactionTime bool
	// ReadOnly and ReadWrite are the access mode that a BEGIN or SET
	// TRANSACTION gives, if it gives one.
	ReadOnly  bool
	ReadWrite bool
	// Isolation is the level that a BEGIN or SET TRANSACTION gives.
	Isolation Isolation
	// Reason says why the text is not a read.
	Reason Reason
	// Binds is what the text does to the session.
	Binds Binds
	// PinReason is a constant that says why BindsPin is set.
	PinReason string
	// Pins are the kinds of all that pins.
	Pins Pins
	// Object is the identifier that decided Reason, as written; a slice of the
	// text.
	Object []byte
	// Name is the statement's name in PREPARE, EXECUTE and DEALLOCATE, folded
	// and unquoted.
	Name []byte
	// Savepoint is the name in SAVEPOINT, RELEASE and ROLLBACK TO, folded and
	// unquoted, if the statement is nothing but that for certain and the name is
	// plain ASCII; otherwise it is empty.
	Savepoint []byte
	// Inner is, of a single PREPARE, the verdict on what it prepares; of a single
	// EXECUTE or EXPLAIN EXECUTE, that on its arguments.
	Inner Inner
	// Setting describes a single SET, RESET or SHOW.
	Setting Setting
	// Hint is what comments before or inside the first statement ask for.
	Hint Hint

	// name holds what Name and Setting.Name point to when folding changed it. A
	// setting's name may have several parts.
	name [maxSettingName]byte
}

const maxSettingName = 192

// Reset clears everything, so that nothing of an earlier text is left.
func (r *Result) Reset() { *r = Result{} }

// Options is what the session's settings tell about the text.
type Options struct {
	// StandardConformingStrings is the setting of that name. If it is false,
	// backslashes escape in plain string literals.
	StandardConformingStrings bool
	// SearchPathDefault is true while the session has not changed search_path.
	// If it is false, calls of user-defined functions by a bare name are not
	// reads, and names of information_schema are recognised by themselves.
	SearchPathDefault bool
	// UnsafeEncoding is true if the bytes of client_encoding's characters may
	// look like ASCII; see [UnsafeEncoding]. Texts that are not plain ASCII are
	// then not scanned.
	UnsafeEncoding bool
}
