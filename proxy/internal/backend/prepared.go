package backend

import "unique"

// Definition is a statement that SQL's PREPARE has made: the text that made it,
// and what its names stood for then. A text that was prepared after DDL, or under
// another search_path, is another statement: the server refuses a plan whose
// result has changed its type, and only to who prepared it before.
type Definition struct {
	SQL            string
	Path, Role     string
	Catalogue, DDL uint64
	Own            uint64 // not 0: nobody shares it
}

// Prepared is a Definition that is kept once, however many clients and backends
// have it. The zero value is none.
type Prepared = unique.Handle[Definition]

// The statements of SQL's PREPARE that may be on one backend, in number and in
// bytes of text. Each costs the server some kilobytes.
const (
	maxSQLPrepared = 512
	maxSQLBytes    = 1 << 20
)

// sqlPrepared are the statements on a backend by their names. They are what the
// clients that had it left behind: nobody may refer to one before it was compared
// with what the name means to him.
type sqlPrepared struct {
	byName map[string]Prepared
	bytes  int
}

// SQLPrepared returns what PREPARE has made under this name, the zero value if
// nothing.
func (s *State) SQLPrepared(name []byte) Prepared { return s.sql.byName[string(name)] }

// SQLCount returns how many names PREPARE has made here.
func (s *State) SQLCount() int { return len(s.sql.byName) }

// SQLCrowded reports whether some of them should be deallocated to make room for
// another one.
func (s *State) SQLCrowded() bool {
	return len(s.sql.byName) >= maxSQLPrepared || s.sql.bytes >= maxSQLBytes
}

// EachSQL calls f with every name; f may call DropSQL.
func (s *State) EachSQL(f func(name string, p Prepared)) {
	for name, p := range s.sql.byName {
		f(name, p)
	}
}

// AddSQL notes that PREPARE has made p.
func (s *State) AddSQL(name string, p Prepared) {
	s.DropSQL(name)
	if s.sql.byName == nil {
		s.sql.byName = make(map[string]Prepared)
	}
	s.sql.byName[name] = p
	s.sql.bytes += len(p.Value().SQL)
}

// DropSQL notes that the name is free again.
func (s *State) DropSQL(name string) {
	if p, ok := s.sql.byName[name]; ok {
		s.sql.bytes -= len(p.Value().SQL)
		delete(s.sql.byName, name)
	}
}
