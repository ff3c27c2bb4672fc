package router

import "sync"

// budget bounds how many reads that no replica covered run on the primary at
// once. Those who find it used up queue, first come, first served: a place
// that becomes free is handed to the first in the queue, never left to whoever
// is quickest.
type budget struct {
	// wakes holds those of the queue who wait now, by their turn.
	wakes waitList

	mu   sync.Mutex // guards the fields below, and turn and granted of requests
	size int
	used int
	// queue are those who queue, in order; nil for one who left. The first has
	// the turn number first.
	queue []*Request
	first uint64
}

// acquire takes a place for q, or puts it at the end of the queue, where it
// stays until it was granted a place and calls acquire again, or leaves.
func (b *budget) acquire(q *Request) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if q.turn != 0 {
		return b.takeLocked(q)
	}
	if b.used < b.size && len(b.queue) == 0 {
		b.used++
		return true
	}
	if len(b.queue) == 0 {
		b.first++ // turns begin with 1
	}
	q.turn = b.first + uint64(len(b.queue))
	b.queue = append(b.queue, q)
	return false
}

// takeLocked takes the place that q was granted, if it was.
func (b *budget) takeLocked(q *Request) bool {
	if !q.granted {
		return false
	}
	q.turn, q.granted = 0, false
	return true
}

// granted reports whether a place waits for q.
func (b *budget) granted(q *Request) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return q.granted
}

// leave takes q out of the queue. A place that it was granted goes on to the
// next.
func (b *budget) leave(q *Request) {
	if q.turn == 0 { // only q's owner sets turn
		return
	}
	b.mu.Lock()
	var turn uint64
	if b.takeLocked(q) {
		turn = b.releaseLocked()
	} else {
		b.queue[q.turn-b.first] = nil
		q.turn = 0
		b.trimLocked()
	}
	b.mu.Unlock()
	b.wakes.wake(turn)
}

// release gives a place back, or on to the next.
func (b *budget) release() {
	b.mu.Lock()
	turn := b.releaseLocked()
	b.mu.Unlock()
	b.wakes.wake(turn)
}

// releaseLocked returns the turn that was granted, 0 if nobody queues.
func (b *budget) releaseLocked() (turn uint64) {
	if len(b.queue) == 0 {
		b.used--
		return 0
	}
	q := b.queue[0] // not nil: trimmed
	q.granted = true
	turn = q.turn
	b.queue[0] = nil
	b.trimLocked()
	return turn
}

// trimLocked removes those who left from the front of the queue.
func (b *budget) trimLocked() {
	for len(b.queue) > 0 && b.queue[0] == nil {
		b.queue = b.queue[1:]
		b.first++
	}
	if len(b.queue) == 0 {
		b.queue = nil
	}
}

// state returns how many places are taken and how many requests queue.
func (b *budget) state() (used, queued int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, q := range b.queue {
		if q != nil {
			queued++
		}
	}
	return b.used, queued
}
