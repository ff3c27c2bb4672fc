package simulation

import (
	"strings"

	"github.com/pgroute/pgroute/internal/sqlstate"
)

// token is what one client has been given for another, and what whoever takes it
// has to see.
type token struct {
	text string
	must set
}

// given notes the token that a client has asked for. It covers all that was
// acknowledged to anyone before.
func (a *app) given(s *stmt, text string) {
	t := token{text: text, must: s.must.others}
	t.must.join(s.must.own)
	a.w.tokens[s.id] = t
	a.w.cover.given++
}

// taken learns whether the client's token was accepted. All tokens come from the
// same router, so that none is refused, whatever has become of the primary since
// and whatever its clock says.
func (a *app) taken(s *stmt) {
	switch {
	case s.code == "":
		a.connected.join(a.w.tokens[s.id].must)
		a.w.cover.taken++
	case s.code == sqlstate.InvalidParameterValue && !strings.Contains(s.route, "has just changed"):
		a.w.failf("%s is refused a token that the proxy has given: %s", a.name, s.route)
	}
}
