package client

import "github.com/pgroute/pgroute/router"

// shadow is what a client has in shadow mode: a chain that lives as if its
// reads had run where they would have run.
type shadow struct {
	chain router.Chain
}

// Shadowed reports whether the read that is about to be routed is only to be
// judged: it runs on the primary.
func (m *Machine) Shadowed() bool { return m.c.onRead && m.c.policy.Shadow && m.c.redone == 0 }

// Judge decides where the read would run now and counts that. q is a request of
// the loop's. Nothing is waited for: that a read
// would have waited is an answer, too.
func (m *Machine) Judge(q *router.Request) {
	r, p := m.env.Router, &m.c.policy
	if m.shadow == nil {
		m.shadow = new(shadow)
		m.shadow.chain.Init(r, m.session, false)
	}
	c := &m.shadow.chain
	c.SetScope(p.Scope)
	c.CatchUp(&m.chain)
	q.Level, q.Wait, q.OnTimeout, q.MaxStaleness = p.Level, p.Wait, p.OnTimeout, p.MaxStaleness
	r.Begin(q, c, m.env.Now)
	d, done := r.Decide(q, c, m.env.Now, nobody{})
	switch {
	case !done:
		r.Cancel(q)
		m.env.Stats.Shadow(router.RoleReplica, router.ReasonWaited)
	case d.Err != nil:
		m.env.Stats.Shadow(router.RoleUnknown, router.ReasonNone)
	default:
		m.env.Stats.Shadow(d.Role, d.Reason)
		if d.Role == router.RoleReplica {
			c.SawReplica(d.Node)
		} else {
			c.SawPrimary()
		}
		d.Done()
	}
}

// nobody waits.
type nobody struct{}

func (nobody) Wake(uint64, error) {}
