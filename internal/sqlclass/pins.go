package sqlclass

// Pins is a set of kinds of what binds a client to its backend: what there is
// to look for when it may have gone, and what a read elsewhere would miss.
type Pins uint16

// The kinds of pins.
const (
	// PinTemporary: tables, functions and the like of the temporary schema.
	PinTemporary Pins = 1 << iota
	// PinAdvisory: advisory locks of the session.
	PinAdvisory
	// PinListen: LISTEN.
	PinListen
	// PinCursor: cursors WITH HOLD.
	PinCursor
	// PinPrepared: statements prepared by SQL.
	PinPrepared
	// PinIdentity: the client has asked which process serves it.
	PinIdentity
	// PinSequence: the client asks for currval or lastval outside of the
	// transaction that made them.
	PinSequence
	// PinLoad: LOAD.
	PinLoad
	// PinAuthorization: SET SESSION AUTHORIZATION.
	PinAuthorization
	// PinState: session state that nobody tracks; see BindsTaint.
	PinState
	// PinOther: anything else.
	PinOther

	// PinKinds is how many kinds there are.
	PinKinds = iota
)

const (
	// PinsCheckable are the kinds that a server can be asked about.
	PinsCheckable = PinTemporary | PinAdvisory | PinListen | PinCursor | PinPrepared
	// PinsApart are the kinds on which the answer to a read cannot depend, if it
	// is one that [Classify] takes for a read. PinIdentity is not among them:
	// whoever knows the process wants to find in it what the client runs.
	PinsApart = PinAdvisory | PinListen | PinCursor | PinPrepared | PinSequence
)

// pinKinds are the words for the kinds, as labels of metrics, and the reasons
// in Result.PinReason that stand for one, empty where many do.
var pinKinds = [PinKinds]struct{ name, reason string }{
	{"temporary", "temporary table"},
	{"advisory_lock", "advisory lock"},
	{"listen", "LISTEN"},
	{"hold_cursor", "cursor WITH HOLD"},
	{"prepared", "PREPARE"},
	{"backend_pid", "pg_backend_pid()"},
	{"sequence", "currval"},
	{"load", "LOAD"},
	{"session_authorization", "SET SESSION AUTHORIZATION"},
	{"session_state", ""},
	{"other", ""},
}

// PinName is the word for the kind with this number, as a label of metrics.
func PinName(kind int) string { return pinKinds[kind].name }

// PinReason is the reason for the kind with this number, empty if there are
// many.
func PinReason(kind int) string { return pinKinds[kind].reason }

// pinKind sorts the reasons why a text pins.
func pinKind(why string) Pins {
	for i := range pinKinds {
		if pinKinds[i].reason == why {
			return 1 << i
		}
	}
	return PinOther
}
