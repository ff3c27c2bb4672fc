package router

import (
	"fmt"
	"slices"
)

// Level says how much a read must see. The zero value is LevelSession, the
// default. Levels are names, not numbers to be compared.
type Level uint8

// The levels. From the cheapest to the strongest they are eventual, bounded,
// session, strong, primary.
const (
	// LevelSession: at least all that this session wrote, and never less than
	// this connection saw before.
	LevelSession Level = iota
	// LevelEventual: any healthy replica whose lag is within Config.MaxLag.
	LevelEventual
	// LevelBounded: the state of Request.MaxStaleness ago: every transaction
	// that was acknowledged anywhere that long before the read began.
	LevelBounded
	// LevelStrong: every transaction that was acknowledged anywhere before the
	// read began.
	LevelStrong
	// LevelPrimary: the primary itself.
	LevelPrimary
)

var levelNames = []string{"session", "eventual", "bounded", "strong", "primary"}

// String returns the word that ParseLevel reads.
func (l Level) String() string { return nameOf(levelNames, int(l)) }

// ParseLevel reads a level by its name.
func ParseLevel(s string) (Level, error) {
	i, err := parseName("consistency level", levelNames, s)
	return Level(i), err
}

// Scope says who shares a floor. The zero value is ScopeApplication, the
// default.
type Scope uint8

// The scopes.
const (
	// ScopeApplication: all clients with one Session share its floor.
	ScopeApplication Scope = iota
	// ScopeConnection: a client sees its own writes only.
	ScopeConnection
)

var scopeNames = []string{"application", "connection"}

// String returns the word that ParseScope reads.
func (s Scope) String() string { return nameOf(scopeNames, int(s)) }

// ParseScope reads a scope by its name.
func ParseScope(s string) (Scope, error) {
	i, err := parseName("scope", scopeNames, s)
	return Scope(i), err
}

// OnTimeout says what happens to a read for which no replica is there in time.
// The zero value is OnTimeoutPrimary, the default.
type OnTimeout uint8

// The policies.
const (
	// OnTimeoutPrimary: the primary serves it, within Config.FallbackBudget.
	OnTimeoutPrimary OnTimeout = iota
	// OnTimeoutError: the read fails with PR001.
	OnTimeoutError
	// OnTimeoutStale: the nearest replica serves it, with a WARNING.
	OnTimeoutStale
)

var onTimeoutNames = []string{"primary", "error", "stale"}

// String returns the word that ParseOnTimeout reads.
func (o OnTimeout) String() string { return nameOf(onTimeoutNames, int(o)) }

// ParseOnTimeout reads a policy by its name.
func ParseOnTimeout(s string) (OnTimeout, error) {
	i, err := parseName("on_timeout policy", onTimeoutNames, s)
	return OnTimeout(i), err
}

// Monotonic says for whom reads never go backwards. The zero value is
// MonotonicConnection, the default.
type Monotonic uint8

// The choices.
const (
	// MonotonicConnection: for each client by itself.
	MonotonicConnection Monotonic = iota
	// MonotonicSession: across all clients of a Session. Every read then
	// raises the session's floor.
	MonotonicSession
	// MonotonicOff: for nobody. A client still reads its own writes.
	MonotonicOff
)

var monotonicNames = []string{"connection", "session", "off"}

// String returns the word that ParseMonotonic reads.
func (m Monotonic) String() string { return nameOf(monotonicNames, int(m)) }

// ParseMonotonic reads a choice by its name.
func ParseMonotonic(s string) (Monotonic, error) {
	i, err := parseName("monotonic setting", monotonicNames, s)
	return Monotonic(i), err
}

// PositionKind says which position of the primary answers a ticket. The zero
// value is PositionInsert, the default.
type PositionKind uint8

// The kinds.
const (
	// PositionInsert is the normalised insert position. It covers everything.
	PositionInsert PositionKind = iota
	// PositionFlush is the flush position: half the wait under load, for
	// services that never commit asynchronously.
	PositionFlush
)

var positionNames = []string{"insert", "flush"}

// String returns the word that ParsePositionKind reads.
func (p PositionKind) String() string { return nameOf(positionNames, int(p)) }

// ParsePositionKind reads a kind by its name.
func ParsePositionKind(s string) (PositionKind, error) {
	i, err := parseName("position", positionNames, s)
	return PositionKind(i), err
}

// Role is what a server has proven to be.
type Role uint8

// The roles.
const (
	// RoleUnknown: the server has not answered.
	RoleUnknown Role = iota
	// RolePrimary: the server is not in recovery. Whether it may take writes
	// is for the topology to say.
	RolePrimary
	// RoleReplica: the server is in recovery.
	RoleReplica
)

var roleNames = []string{"unknown", "primary", "replica"}

// String returns the role's name.
func (r Role) String() string { return nameOf(roleNames, int(r)) }

func nameOf(names []string, i int) string {
	if i < len(names) {
		return names[i]
	}
	return fmt.Sprintf("unknown(%d)", i)
}

func parseName(what string, names []string, s string) (int, error) {
	i := slices.Index(names, s)
	if i < 0 {
		return 0, fmt.Errorf("unknown %s %q", what, s)
	}
	return i, nil
}
