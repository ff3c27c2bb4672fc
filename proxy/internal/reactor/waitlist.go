package reactor

// waitlist is the clients that wait for a backend of one pool, the first
// first. They are linked through themselves, so that any of them leaves at
// once, however many there are.
type waitlist struct {
	first, last *Client
	n           int
}

// push adds c behind the others.
func (w *waitlist) push(c *Client) {
	c.ahead, c.behind = w.last, nil
	if w.last != nil {
		w.last.behind = c
	} else {
		w.first = c
	}
	w.last = c
	w.n++
}

// insert adds c, which has waited before, behind those who have waited longer.
func (w *waitlist) insert(c *Client) {
	at := w.first
	for at != nil && !at.since.After(c.since) {
		at = at.behind
	}
	if at == nil {
		w.push(c)
		return
	}
	c.ahead, c.behind = at.ahead, at
	if at.ahead != nil {
		at.ahead.behind = c
	} else {
		w.first = c
	}
	at.ahead = c
	w.n++
}

// remove takes c out, which must be in.
func (w *waitlist) remove(c *Client) {
	if c.ahead != nil {
		c.ahead.behind = c.behind
	} else {
		w.first = c.behind
	}
	if c.behind != nil {
		c.behind.ahead = c.ahead
	} else {
		w.last = c.ahead
	}
	c.ahead, c.behind = nil, nil
	w.n--
}

// all returns those who wait now.
func (w *waitlist) all() []*Client {
	list := make([]*Client, 0, w.n)
	for c := w.first; c != nil; c = c.behind {
		list = append(list, c)
	}
	return list
}
