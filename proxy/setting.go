package proxy

import (
	"cmp"
	"slices"
	"strings"
)

// Setting is one key of the configuration as SHOW CONFIG tells it.
type Setting struct {
	// Key is its word.
	Key string
	// Value is the value in force, Default the one that it would have had, each
	// as one would write it and empty if there is none. A secret has no place
	// here: everybody who may enter the admin database sees it.
	Value, Default string
	// Changeable is true if a reload takes a new value over.
	Changeable bool
	// Origin says where the value comes from, such as file; it may be empty.
	Origin string
}

// showConfig lists the settings, by key. Where clients are served the server
// itself knows best.
func (s *Server) showConfig() *table {
	t := newTable("key", "value", "default", "changeable", "origin")
	for _, v := range s.cfg.Load().Settings {
		if v.Key == "listen" {
			v.Value = s.listening()
		}
		changeable := "no"
		if v.Changeable {
			changeable = "yes"
		}
		t.add(v.Key, v.Value, v.Default, changeable, v.Origin)
	}
	slices.SortFunc(t.rows, func(a, b []any) int { return cmp.Compare(a[0].(string), b[0].(string)) })
	return t
}

// listening is where clients are served.
func (s *Server) listening() string {
	var list []string
	for _, a := range s.Addrs() {
		list = append(list, addrText(a))
	}
	return strings.Join(list, ",")
}
