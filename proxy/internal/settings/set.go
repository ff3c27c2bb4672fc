// Package settings keeps what a session has set as immutable, interned sets,
// so that "does this backend have this client's settings" is one comparison
// of pointers.
package settings

import (
	"sort"
	"strings"
)

// A Set is an immutable set of settings. Two Sets of one Interner are equal
// if and only if their pointers are. The empty Set of an Interner is never
// nil.
type Set struct {
	items []item // sorted by name
	key   string
}

// item is one setting. value is SQL source: what stands behind SET name =.
type item struct{ name, value string }

// Len returns how many settings are set.
func (s *Set) Len() int { return len(s.items) }

// Has reports whether name, folded to lower case, is set.
func (s *Set) Has(name string) bool {
	_, ok := s.Value(name)
	return ok
}

// Value returns the source text of a setting.
func (s *Set) Value(name string) (string, bool) {
	for i := range s.items {
		if s.items[i].name == name {
			return s.items[i].value, true
		}
	}
	return "", false
}

// An Interner makes Sets. It belongs to one event loop. It keeps at most a
// bounded number of sets; a set that fell out still works and only costs an
// alignment that would not have been needed.
type Interner struct {
	sets  map[string]*Set
	empty *Set
	max   int
}

// NewInterner returns an Interner that remembers at most max sets.
func NewInterner(max int) *Interner {
	e := &Set{}
	return &Interner{sets: map[string]*Set{"": e}, empty: e, max: max}
}

// Empty returns the empty set.
func (in *Interner) Empty() *Set { return in.empty }

// With returns s with name set to value, which is SQL source.
func (in *Interner) With(s *Set, name, value string) *Set {
	items := make([]item, 0, len(s.items)+1)
	for _, it := range s.items {
		if it.name != name {
			items = append(items, it)
		}
	}
	return in.intern(append(items, item{name, value}))
}

// Without returns s without name.
func (in *Interner) Without(s *Set, name string) *Set {
	if !s.Has(name) {
		return s
	}
	items := make([]item, 0, len(s.items))
	for _, it := range s.items {
		if it.name != name {
			items = append(items, it)
		}
	}
	return in.intern(items)
}

func (in *Interner) intern(items []item) *Set {
	sort.Slice(items, func(i, j int) bool { return items[i].name < items[j].name })
	var b strings.Builder
	for _, it := range items {
		b.WriteString(it.name)
		b.WriteByte(0)
		b.WriteString(it.value)
		b.WriteByte(0)
	}
	key := b.String()
	if s := in.sets[key]; s != nil {
		return s
	}
	s := &Set{items: items, key: key}
	if len(in.sets) >= in.max {
		for k, old := range in.sets { // any but the empty one
			if old != in.empty {
				delete(in.sets, k)
				break
			}
		}
	}
	in.sets[key] = s
	return s
}

// AppendAlign appends the SQL that turns a backend that has the settings from
// into one that has the settings to, nothing if they are the same. skip names
// settings that must stay as they are on this backend.
//
// A role changes what may be set, so it is left first and entered last.
func AppendAlign(b []byte, from, to *Set, skip func(name string) bool) []byte {
	if from.key == to.key {
		return b
	}
	_, hadRole := from.Value("role")
	toRole, hasRole := to.Value("role")
	// The role is left also when it stays the same: what lies between was set
	// by the login role.
	if hadRole {
		b = append(b, "RESET ROLE;"...)
	}
	for _, it := range from.items {
		if it.name == "role" || to.Has(it.name) || skip(it.name) {
			continue
		}
		b = append(b, "RESET "...)
		b = appendName(b, it.name)
		b = append(b, ';')
	}
	for _, it := range to.items {
		if it.name == "role" || skip(it.name) {
			continue
		}
		if v, ok := from.Value(it.name); ok {
			if v == it.value {
				continue
			}
			if it.name == dateStyle { // SET alone might keep a part of v
				b = append(b, "RESET datestyle;"...)
			}
		}
		b = appendSet(b, it)
	}
	if hasRole {
		if strings.HasPrefix(toRole, startup) {
			b = appendSet(b, item{"role", toRole})
		} else {
			b = append(b, "SET ROLE "...)
			b = append(b, toRole...)
			b = append(b, ';')
		}
	}
	return b
}

// startup marks a value that came with a startup packet.
const startup = "\x00"

// Startup returns the value of a setting in a startup packet as a Set holds
// it. There a list is one string, which SET would take for one element.
func Startup(v string) string { return startup + v }

// Plain returns the value of a setting without quotes, as far as that is
// certain.
func Plain(v string) string {
	if s, ok := strings.CutPrefix(v, startup); ok {
		return s
	}
	if len(v) >= 2 && v[0] == '\'' && v[len(v)-1] == '\'' {
		return strings.ReplaceAll(v[1:len(v)-1], "''", "'")
	}
	return v
}

func appendSet(b []byte, it item) []byte {
	if v, ok := strings.CutPrefix(it.value, startup); ok {
		b = append(b, "SELECT pg_catalog.set_config("...)
		b = appendLiteral(b, it.name)
		b = append(b, ", "...)
		b = appendLiteral(b, v)
		return append(b, ", false);"...)
	}
	b = append(b, "SET "...)
	b = appendName(b, it.name)
	b = append(b, " = "...)
	b = append(b, it.value...)
	return append(b, ';')
}

// appendLiteral quotes a string so that it means the same whatever
// standard_conforming_strings is.
func appendLiteral(b []byte, s string) []byte {
	b = append(b, "E'"...)
	for i := 0; i < len(s); i++ {
		if s[i] == '\'' || s[i] == '\\' {
			b = append(b, s[i])
		}
		b = append(b, s[i])
	}
	return append(b, '\'')
}

// appendName quotes each part of a setting's name.
func appendName(b []byte, name string) []byte {
	for i, part := range strings.Split(name, ".") {
		if i > 0 {
			b = append(b, '.')
		}
		b = append(b, '"')
		b = append(b, strings.ReplaceAll(part, `"`, `""`)...)
		b = append(b, '"')
	}
	return b
}
