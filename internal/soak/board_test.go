package soak_test

import (
	"fmt"
	"sync"
)

// locks is who holds which advisory lock, as the clients know it: set after a
// lock was granted, taken back before it is given up.
type locks struct {
	mu    sync.Mutex // guards the field below
	owner map[int]int
}

// granted returns who holds the lock already, -1 if nobody does.
func (l *locks) granted(key, client int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if owner, held := l.owner[key]; held {
		return owner
	}
	l.owner[key] = client
	return -1
}

func (l *locks) given(key int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.owner, key)
}

// board is who listens, and what must come to them.
type board struct {
	mu   sync.Mutex // guards the fields below
	open map[int]*ear
	sent int
}

// ear is one client's listening on its channel, from the moment that LISTEN was
// acknowledged.
type ear struct {
	mu      sync.Mutex // guards the fields below
	closing bool
	sent    map[string]bool // by anybody; true once that was acknowledged
	heard   map[string]bool
}

func channel(client int) string { return fmt.Sprintf("soak_%d", client) }

func (b *board) listen(client int) *ear {
	e := &ear{sent: map[string]bool{}, heard: map[string]bool{}}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open[client] = e
	return e
}

// send returns a payload for the client, if it listens.
func (b *board) send(to, from int) (*ear, string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.open[to]
	if e == nil {
		return nil, ""
	}
	b.sent++
	payload := fmt.Sprintf("%d from %d to %d", b.sent, from, to)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closing {
		return nil, ""
	}
	e.sent[payload] = false
	return e, payload
}

// acknowledged says that the sender's transaction is over.
func (e *ear) acknowledged(payload string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.closing {
		e.sent[payload] = true
	}
}

// close ends sending to the client: what was not acknowledged by now may come
// or not.
func (b *board) close(client int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if e := b.open[client]; e != nil {
		e.mu.Lock()
		e.closing = true
		e.mu.Unlock()
		delete(b.open, client)
	}
}

// hear notes that a notification came. It returns what is wrong with it.
func (e *ear) hear(payload string) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, sent := e.sent[payload]; !sent {
		return "nobody sent it to this client"
	}
	if e.heard[payload] {
		return "it has come before"
	}
	e.heard[payload] = true
	return ""
}

// missing returns a notification that has to come and has not.
func (e *ear) missing() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	for payload, must := range e.sent {
		if must && !e.heard[payload] {
			return payload
		}
	}
	return ""
}
