package router

import (
	"maps"
	"slices"
	"time"
)

// departedFor is how long a server that the source does not name any more is
// remembered. One that was taken out for good is forgotten after that.
const departedFor = time.Hour

// departed are the servers that the source has named before, by name, and when it
// last did. A member of a cluster whose host has died is named no more, until it
// comes back; that it comes back and is promoted, a source that is silent then
// does not tell. So while it is silent nobody is proven to lead who was only the
// last to be named.
type departed map[string]time.Time

// note takes in what a source says that names the primary: gone are the servers
// that it does not name any more.
func (d departed) note(c *Candidates, gone []*Node) {
	if !c.NamesPrimary || c.ValidFor <= 0 {
		return
	}
	for _, n := range gone {
		d[n.Name] = c.Confirmed
	}
	for i := range c.Nodes {
		delete(d, c.Nodes[i].Name) // perhaps at another address
	}
	maps.DeleteFunc(d, func(_ string, at time.Time) bool { return c.Confirmed.Sub(at) >= departedFor })
}

// names returns those that are remembered, sorted.
func (d departed) names() []string { return slices.Sorted(maps.Keys(d)) }
