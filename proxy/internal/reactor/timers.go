package reactor

import "time"

// timer is a deadline of a client. It is not removed at once: one whose number
// is not the client's any more is dropped when its time comes, or by prune.
type timer struct {
	at     time.Time
	client *Client
	seq    uint64
}

// timers is a binary heap, the earliest first.
type timers []timer

func (h *timers) add(t timer) {
	s := append(*h, t)
	i := len(s) - 1
	for i > 0 {
		p := (i - 1) / 2
		if !s[i].at.Before(s[p].at) {
			break
		}
		s[i], s[p] = s[p], s[i]
		i = p
	}
	*h = s
}

// prune removes the timers that nobody needs, so that there are not many more
// than clients.
func (h *timers) prune() {
	s := *h
	*h = s[:0]
	for i := range s {
		if t := s[i]; !t.client.dead && t.client.timer == t.seq {
			h.add(t) // it writes where was read already
		}
	}
	clear(s[len(*h):])
}

func (h *timers) pop() timer {
	s := *h
	t := s[0]
	n := len(s) - 1
	s[0] = s[n]
	s[n] = timer{}
	s = s[:n]
	i := 0
	for {
		c := 2*i + 1
		if c >= n {
			break
		}
		if c+1 < n && s[c+1].at.Before(s[c].at) {
			c++
		}
		if !s[c].at.Before(s[i].at) {
			break
		}
		s[i], s[c] = s[c], s[i]
		i = c
	}
	*h = s
	return t
}
