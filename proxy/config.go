package proxy

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/pgroute/pgroute/proxy/internal/client"
	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/pgprobe"
)

// Auth is how clients prove who they are.
type Auth uint8

const (
	// AuthSCRAM checks clients against the verifiers that the servers store,
	// and logs in to the servers with the key that a client's proof reveals.
	AuthSCRAM Auth = iota
	// AuthTrust believes clients. Servers are entered as the client's user
	// without a password.
	AuthTrust
)

// ParseAuth reads scram or trust.
func ParseAuth(s string) (Auth, error) {
	switch s {
	case "scram":
		return AuthSCRAM, nil
	case "trust":
		return AuthTrust, nil
	}
	return 0, fmt.Errorf("unknown auth %q: it is scram or trust", s)
}

// String returns what ParseAuth reads.
func (a Auth) String() string {
	if a == AuthTrust {
		return "trust"
	}
	return "scram"
}

// PoolMode is how clients share server connections.
type PoolMode uint8

const (
	// PoolAuto lends a connection for a transaction; what cannot be shared
	// keeps it.
	PoolAuto PoolMode = iota
	// PoolSession keeps one connection for a client's life.
	PoolSession
)

// ParsePoolMode reads auto or session.
func ParsePoolMode(s string) (PoolMode, error) {
	switch s {
	case "auto":
		return PoolAuto, nil
	case "session":
		return PoolSession, nil
	}
	return 0, fmt.Errorf("unknown pool_mode %q: it is auto or session", s)
}

// String returns what ParsePoolMode reads.
func (m PoolMode) String() string {
	if m == PoolSession {
		return "session"
	}
	return "auto"
}

// Policy is what a session begins with, and what it may change for itself by
// SET pgroute.NAME.
type Policy struct {
	// Consistency is what a read sees at least. The zero value is session.
	Consistency router.Level
	// Scope says whose writes a session's reads see.
	Scope router.Scope
	// Wait is how long a read waits for a replica. 0 means 100 ms, negative
	// not at all.
	Wait time.Duration
	// OnTimeout is what happens then.
	OnTimeout router.OnTimeout
	// MaxStaleness is for the level bounded. 0 means 1 s.
	MaxStaleness time.Duration
	// TransactionReads says where the reads of a transaction run that does not
	// say READ ONLY.
	TransactionReads TransactionReads
	// Shadow: where reads would run is decided and counted, and all of them
	// run on the primary.
	Shadow bool
	// LostWritesFail: after a change of the primary that has lost, or may have
	// lost, a write which was acknowledged to a client, the client's next
	// statement fails (PR002, PR003) instead of coming with a WARNING.
	LostWritesFail bool
}

// Rule gives some clients another policy and other pools. The first rule that
// matches counts.
type Rule struct {
	// User and Database must equal the client's; empty matches all.
	User, Database string
	Policy
	// PoolSize and LeaseWait are as in Config, of which zero means those.
	PoolSize  int
	LeaseWait time.Duration
	PoolLimits
}

// Config says how a Server works. All fields but Source and Monitor may be
// left zero.
type Config struct {
	// Listen are the addresses where clients are served: HOST:PORT, or
	// unix:DIR for a socket in DIR named as PostgreSQL names it. None means
	// 127.0.0.1:6432.
	Listen []string
	// Source names the servers. It is required.
	Source router.Source
	// Monitor asks the servers. It is required. The Server does not close it.
	Monitor *pgprobe.Prober

	// Auth is how clients prove who they are. The zero value is AuthSCRAM.
	Auth Auth
	// TLS is how clients speak TLS, ServerTLS how the servers are spoken to.
	// The monitor has a mode of its own.
	TLS       ClientTLS
	ServerTLS ServerTLS
	// Policy is what every session begins with, but for those that a rule gives
	// another one: the first of Rules that matches counts.
	Policy
	Rules []Rule

	// PoolMode is how clients share server connections. The zero value is
	// PoolAuto.
	PoolMode PoolMode
	// PoolSize bounds the connections for each node, user and database. 0
	// means 20; negative is an error.
	PoolSize int
	PoolLimits
	Limits
	// Loops is the number of event loops. 0 means 1; negative is an error.
	Loops int

	// FallbackBudget, MaxLag, Monotonic, Position, TicketPace, PositionPace and
	// SwitchoverLead are those of router.Config, with the same defaults.
	FallbackBudget           int
	MaxLag                   int64
	Monotonic                router.Monotonic
	Position                 router.PositionKind
	TicketPace, PositionPace time.Duration
	SwitchoverLead           time.Duration
	// Preferences are those of router.Config. A reload takes them over.
	Preferences router.Preferences

	// PrimaryWait is how long statements wait while there is no primary, and
	// logins; for these a replica does after 5 s. 0 means 30 s; negative is an
	// error.
	PrimaryWait time.Duration
	// LeaseWait is how long statements wait for a server connection. 0 means
	// 30 s; negative means for ever.
	LeaseWait time.Duration

	// PeerID is the number of this proxy in the cancel keys that it gives out,
	// 0 to 1023, and Peers are the proxies with other numbers: a cancel request
	// that reaches the wrong one, because a load balancer stands in front of
	// them, is passed on to the one that the key names.
	PeerID int
	Peers  []Peer

	// Settings is what SHOW CONFIG answers: this configuration in the words in
	// which it was written, which a Server does not know. nil means no rows. A
	// reload takes it over.
	Settings []Setting

	// Logger gets what an operator should know. nil means slog.Default().
	Logger *slog.Logger
}

// validate checks c and fills in what is left out. It is the one place that
// does so.
func (c *Config) validate() error {
	switch {
	case c.Source == nil:
		return errors.New("proxy: no source of servers")
	case c.Monitor == nil:
		return errors.New("proxy: no monitor")
	case c.PoolSize < 0:
		return errors.New("proxy: pool_size is negative")
	case c.Loops < 0:
		return errors.New("proxy: loops is negative")
	case c.PrimaryWait < 0:
		return errors.New("proxy: a wait is negative")
	}
	if err := errors.Join(checkPeers(c.PeerID, c.Peers), c.Limits.validate()); err != nil {
		return err
	}
	if err := checkPool(c.PoolSize, c.MinSize, ""); err != nil {
		return err
	}
	if len(c.Listen) == 0 {
		c.Listen = []string{"127.0.0.1:6432"}
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	setDefault(&c.PrimaryWait, 30*time.Second)
	c.Policy.fill(Policy{Wait: 100 * time.Millisecond, MaxStaleness: time.Second})
	for i := range c.Rules {
		r := &c.Rules[i]
		r.fill(c.Policy)
		r.inherit(&c.PoolLimits)
		setDefault(&r.PoolSize, c.PoolSize)
		setDefault(&r.LeaseWait, c.LeaseWait)
		if r.PoolSize < 0 {
			return errors.New("proxy: pool_size of a rule is negative")
		}
		if err := checkPool(r.PoolSize, r.MinSize, " of a rule"); err != nil {
			return err
		}
	}
	return nil
}

// defaultPoolSize is what a pool_size of 0 means.
const defaultPoolSize = 20

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// rule returns the rule that counts for a client, nil if there is none.
func (c *Config) rule(user, database string) *Rule {
	for i := range c.Rules {
		if r := &c.Rules[i]; (r.User == "" || r.User == user) && (r.Database == "" || r.Database == database) {
			return r
		}
	}
	return nil
}

// fill replaces the zero durations of p.
func (p *Policy) fill(d Policy) {
	if p.Wait == 0 {
		p.Wait = d.Wait
	}
	if p.MaxStaleness == 0 {
		p.MaxStaleness = d.MaxStaleness
	}
}

// policy returns what a client begins with.
func (c *Config) policy(user, database string) client.Policy {
	p := &c.Policy
	if r := c.rule(user, database); r != nil {
		p = &r.Policy
	}
	return p.client()
}
