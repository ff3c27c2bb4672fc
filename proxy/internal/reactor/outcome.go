package reactor

import (
	"github.com/pgroute/pgroute/proxy/internal/client"
	"github.com/pgroute/pgroute/router"
)

// inquire asks what became of the client's COMMIT, whose backend is gone. It
// waits as long for that as for a primary.
func (l *Loop) inquire(c *Client) {
	c.seq++
	c.inquiry = l.cfg.Router.Inquire(c.m.Commit(), c.seq, c)
	c.wait = waitOutcome
	l.arm(c, l.env.Now.Add(l.cfg.PrimaryWait))
}

// inquired goes on with a client that was woken, with the verdict.
func (l *Loop) inquired(c *Client) {
	v, ok := c.inquiry.Verdict()
	if !ok {
		v.Reason = "nobody has said what became of it"
		l.cfg.Router.Withdraw(c.inquiry)
	}
	c.inquiry = nil
	l.step(c, client.Event{Kind: client.Resolved, Verdict: v})
	l.settled(c)
}

// inquiryDue gives up waiting for the verdict.
func (l *Loop) inquiryDue(c *Client) {
	q := c.inquiry
	l.withdraw(c)
	c.wait = waitNothing
	c.seq++
	v, ok := q.Verdict()
	if !ok {
		v = router.Verdict{Reason: "There was no primary in time that could be asked."}
	}
	l.step(c, client.Event{Kind: client.Resolved, Verdict: v})
	l.settled(c)
}

// withdraw takes the question back.
func (l *Loop) withdraw(c *Client) {
	l.cfg.Router.Withdraw(c.inquiry)
	c.inquiry = nil
}
