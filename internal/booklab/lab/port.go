package lab

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
)

// ports gives out ports. It remembers them, since a process that starts later,
// or again, must still find its port free.
type ports struct {
	mu    sync.Mutex // guards the field below
	given map[int]bool
}

// They are below those that the test cluster uses, and below those that the
// kernel gives to outgoing connections: such a connection could take the port
// of a process that is just being restarted.
const firstPort, lastPort = 11000, 15000

// free returns the address of a port on which nobody listens.
func (p *ports) free() (string, error) {
	for range 1000 {
		port := firstPort + rand.IntN(lastPort-firstPort)
		if addr, ok := p.take(port); ok {
			return addr, nil
		}
	}
	return "", errors.New("look for a free port: none found")
}

// take returns the address of a port if nobody listens there.
func (p *ports) take(port int) (addr string, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	if p.given[port] {
		return addr, false
	}
	l, err := net.Listen("tcp", addr)
	if err != nil || l.Close() != nil {
		return addr, false
	}
	if p.given == nil {
		p.given = make(map[int]bool)
	}
	p.given[port] = true
	return addr, true
}

// page returns the balancer's address.
func (p *ports) page(o *Options) (string, error) {
	if o.Port != 0 {
		addr, ok := p.take(o.Port)
		if !ok {
			return "", fmt.Errorf("somebody else listens on %s", addr)
		}
		return addr, nil
	}
	if o.PreferPort != 0 {
		if addr, ok := p.take(o.PreferPort); ok {
			return addr, nil
		}
	}
	return p.free()
}
