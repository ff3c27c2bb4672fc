package proxy

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/pgroute/pgroute/internal/catalogue"
	"github.com/pgroute/pgroute/internal/sqlclass"
	"github.com/pgroute/pgroute/proxy/internal/client"
	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/pgprobe"
)

// Catalogue is what one database says about the functions, views and operators
// that a statement may use. It does not change.
type Catalogue struct{ cat *sqlclass.Catalogue }

// LoadCatalogue reads the catalogue of a database from the server at addr.
func LoadCatalogue(ctx context.Context, monitor *pgprobe.Prober, addr router.Addr, database string) (*Catalogue, error) {
	cat, err := sqlclass.Load(ctx, catalogue.Querier(monitor, addr, database))
	if err != nil {
		return nil, fmt.Errorf("load the catalogue of %s: %w", database, err)
	}
	return &Catalogue{cat}, nil
}

// Explanation says what a Server would do with a text by itself, on a client
// that has set nothing and is in no transaction.
type Explanation struct {
	// Statements is how many there are in the text.
	Statements int
	// Class is read, write, transaction, setting, prepared for PREPARE and
	// EXECUTE, or local for what pgroute answers itself.
	Class string
	// Reason says why the text is not a read, "read" if it is one. Object is
	// what decided that, as it stands in the text; it may be empty.
	Reason, Object string
	// Binds is what the text does to the session, in words.
	Binds []string
	// Hint is what the text's comment asks for, in the words of the comment.
	Hint string
	// Warnings are what the client would be warned of, or what the answer here
	// depends on.
	Warnings []string
	// Route says where the text runs, in words.
	Route string
}

// Explain classifies a text and says how a client with that policy would be
// served. cat may be nil when the catalogue is not known; then less can be
// proven to be a read.
func Explain(sql string, cat *Catalogue, policy Policy) Explanation {
	var known *sqlclass.Catalogue
	if cat != nil {
		known = cat.cat
	}
	policy.fill(Policy{Wait: defaultWait, MaxStaleness: time.Second})
	p := policy.client()
	var r sqlclass.Result
	sqlclass.Classify([]byte(sql), known, sqlclass.Options{StandardConformingStrings: true, SearchPathDefault: true}, &r)
	e := Explanation{Statements: r.Statements, Reason: r.Reason.String(), Object: string(r.Object), Binds: binds(&r)}
	e.hint(&r.Hint, &p)
	if cat == nil && (r.Reason == sqlclass.ReasonNoCatalogue || r.Binds&sqlclass.BindsPin != 0) {
		e.Warnings = append(e.Warnings, "the database's catalogue is not known, so the worst is assumed of functions, views and triggers")
	}
	e.route(&r, &p)
	return e
}

const defaultWait = 100 * time.Millisecond

func (e *Explanation) hint(h *sqlclass.Hint, p *client.Policy) {
	var words []string
	take := func(name, value string) {
		if value == "" {
			return
		}
		if bad := p.Set(name, value); bad != nil {
			e.Warnings = append(e.Warnings, fmt.Sprintf("the hint %s=%s is ignored: %s", name, value, bad.Detail))
			return
		}
		words = append(words, name+"="+value)
	}
	take("consistency", h.Level)
	take("on_timeout", h.OnTimeout)
	take("wait", string(h.Wait))
	take("max_staleness", string(h.MaxStaleness))
	if h.Bad != nil {
		e.Warnings = append(e.Warnings, fmt.Sprintf("the hint %q is not understood and ignored", h.Bad))
	}
	e.Hint = strings.Join(words, " ")
}

// binds puts what a text does to the session in words.
func binds(r *sqlclass.Result) []string {
	var list []string
	if r.Binds&sqlclass.BindsListen != 0 && r.Statements == 1 {
		return []string{"a channel of the listener that all clients share"}
	}
	for _, b := range []struct {
		bit  sqlclass.Binds
		word string
	}{
		{sqlclass.BindsSetting, "a setting, which follows the client"},
		{sqlclass.BindsPin, "pins the client to its server connection: " + r.PinReason},
		{sqlclass.BindsTaint, "the server connection is cleaned before anybody else gets it"},
		{sqlclass.BindsDiscardAll, "resets the session"},
		{sqlclass.BindsDeallocate, "forgets a prepared statement"},
		{sqlclass.BindsPrepare, "a prepared statement, which follows the client"},
		{sqlclass.BindsDDL, "the catalogue is read again afterwards"},
		{sqlclass.BindsTemporary, "temporary relations come or go, for this client alone"},
	} {
		if r.Binds&b.bit != 0 {
			list = append(list, b.word)
		}
	}
	return list
}

// route says where the text runs; Machine.asRead decides the same.
func (e *Explanation) route(r *sqlclass.Result, p *client.Policy) {
	const pinning = sqlclass.BindsPin | sqlclass.BindsTaint
	switch {
	case r.Statements == 0:
		e.Class, e.Route = "read", "anywhere: there is nothing to run"
	case r.Binds&sqlclass.BindsLocal != 0:
		e.Class, e.Route = "local", "no server: pgroute answers it"
		if r.Statements > 1 {
			e.Route = "no server: an error (0A000), because pgroute's own statements must be sent alone"
		}
	case r.Binds&sqlclass.BindsListen != 0 && r.Statements == 1:
		e.Class = "local"
		e.Route = "no server: the shared listener; in pool mode session, and for a name that only the server can judge, the primary"
	case r.Tx == sqlclass.TxBeginReadOnly && r.Isolation != sqlclass.Serializable:
		e.Class, e.Route = "transaction", "the transaction may run on a replica; where is decided at its first statement"
		if p.Level == router.LevelPrimary {
			e.Route = "the primary: the level is primary"
		}
	case r.Tx == sqlclass.TxBeginReadOnly:
		e.Class, e.Route = "transaction", "the primary: a replica has no serializable transactions"
	case r.Tx == sqlclass.TxBegin && p.UntilWrite && r.Isolation <= sqlclass.ReadCommitted && p.Level != router.LevelPrimary && !p.Shadow:
		e.Class, e.Route = "transaction", "the primary from its first write on; what it reads before runs on replicas, if it is READ COMMITTED (transaction_reads until-write)"
	case r.Tx == sqlclass.TxBegin:
		e.Class, e.Route = "transaction", "the primary, and with it the whole transaction: it does not say READ ONLY"
	case r.Tx != sqlclass.TxNone:
		e.Class, e.Route = "transaction", "where the transaction runs; the primary if there is none"
	case r.Binds&sqlclass.BindsPrepare != 0 && r.Binds&pinning == 0:
		e.Class, e.Route = "prepared", "the primary; EXECUTE runs on any server, as what it prepares would"
	case r.Binds&sqlclass.BindsExecute != 0 && r.Inner.Access == sqlclass.AccessRead:
		e.Class, e.Route = "prepared", "where what the client has prepared by that name would run"
	case r.Access == sqlclass.AccessRead && !r.Mixed && r.Binds&^sqlclass.BindsSetting == 0:
		e.Class, e.Route = "read", readRoute(p)
	case r.Setting.Kind != sqlclass.SettingNone && r.Binds&pinning == 0 && r.Statements == 1:
		e.Class, e.Route = "setting", "the primary answers it, and the setting follows the client to every server"
		switch r.Setting.Kind {
		case sqlclass.SettingShow:
			e.Route = "the primary"
		case sqlclass.SettingSetLocal:
			e.Route = "where the transaction runs; it ends with the transaction"
		}
	default:
		e.Class, e.Route = "write", "the primary: it is not proven to be a read ("+e.because()+")"
		if r.Access == sqlclass.AccessRead {
			e.Class, e.Route = "read", "the primary: it leaves something in the session that other servers do not have"
		}
	}
}

func (e *Explanation) because() string {
	if e.Object == "" {
		return e.Reason
	}
	return e.Reason + " " + e.Object
}

// readRoute says where a read runs.
func readRoute(p *client.Policy) string {
	if p.Shadow {
		would := *p
		would.Shadow = false
		return "the primary: shadow mode only counts where it would run, " + readRoute(&would)
	}
	var floor string
	switch p.Level {
	case router.LevelPrimary:
		return "the primary: the level is primary"
	case router.LevelEventual:
		return "any healthy replica within max_lag; the primary if there is none (level eventual)"
	case router.LevelStrong:
		floor = "a replica that has replayed everything acknowledged anywhere before the read (level strong)"
	case router.LevelBounded:
		floor = fmt.Sprintf("a replica that shows at least the state of %v ago (level bounded)", p.MaxStaleness)
	default:
		floor = "a replica that has replayed all that the session wrote or saw (level session)"
	}
	if p.Wait == 0 {
		floor += "; without waiting for one: "
	} else {
		floor += fmt.Sprintf("; after a wait of %v: ", p.Wait)
	}
	switch p.OnTimeout {
	case router.OnTimeoutError:
		return floor + "an error (PR001)"
	case router.OnTimeoutStale:
		return floor + "the nearest replica, with a WARNING"
	}
	return floor + "the primary"
}
