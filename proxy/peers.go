package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/pgroute/pgroute/proxy/internal/backend"
	"github.com/pgroute/pgroute/proxy/internal/handshake"
	"github.com/pgroute/pgroute/proxy/internal/reactor"
)

// MaxPeer is the highest number that a proxy can have among its peers.
const MaxPeer = reactor.MaxPeer

// Peer is another proxy behind the same load balancer.
type Peer struct {
	// ID is its PeerID.
	ID int
	// Addr is where it serves clients, HOST:PORT.
	Addr string
}

// ParsePeer reads ID=HOST:PORT.
func ParsePeer(s string) (Peer, error) {
	id, addr, ok := strings.Cut(s, "=")
	n, err := strconv.Atoi(id)
	if !ok || err != nil || n < 0 || n > MaxPeer {
		return Peer{}, fmt.Errorf("%q: want ID=HOST:PORT with an ID from 0 to %d", s, MaxPeer)
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil || host == "" {
		return Peer{}, fmt.Errorf("%q: want ID=HOST:PORT", s)
	}
	if p, err := strconv.ParseUint(port, 10, 16); err != nil || p == 0 {
		return Peer{}, fmt.Errorf("%q: %q is not a port", s, port)
	}
	return Peer{n, addr}, nil
}

// String returns what ParsePeer reads.
func (p Peer) String() string { return strconv.Itoa(p.ID) + "=" + p.Addr }

// checkPeers checks the numbers of this proxy and its peers. A list that all
// of them share names this one, too.
func checkPeers(own int, peers []Peer) error {
	if own < 0 || own > MaxPeer {
		return fmt.Errorf("proxy: peer_id is not within 0 to %d", MaxPeer)
	}
	seen := make(map[int]bool)
	for _, p := range peers {
		switch {
		case p.ID < 0 || p.ID > MaxPeer:
			return fmt.Errorf("proxy: the number of peer %s is not within 0 to %d", p, MaxPeer)
		case seen[p.ID]:
			return fmt.Errorf("proxy: there are two peers with the number %d", p.ID)
		}
		if _, _, err := net.SplitHostPort(p.Addr); err != nil {
			return errors.New("proxy: peer " + p.String() + " has no HOST:PORT")
		}
		seen[p.ID] = true
	}
	return nil
}

// passTimeout bounds how long a cancel request is on its way to a peer.
const passTimeout = 5 * time.Second

// cancel carries out a cancel request: here, or where its key was given out.
func (s *Server) cancel(ctx context.Context, c *handshake.Cancel) {
	if t := s.streams.find(c.PID, c.Secret); t != nil {
		t.cancel(ctx)
		return
	}
	cfg := s.cfg.Load()
	id, passed := reactor.KeyPeer(c.PID)
	if passed || id == cfg.PeerID {
		s.group.Cancel(c.PID, c.Secret)
		return
	}
	for _, p := range cfg.Peers {
		if p.ID == id {
			s.passCancel(ctx, p, c)
			return
		}
	}
}

// passCancel gives a cancel request to the peer whose client it is about.
func (s *Server) passCancel(ctx context.Context, p Peer, c *handshake.Cancel) {
	ctx, cancel := context.WithTimeout(ctx, passTimeout)
	defer cancel()
	host, port, err := net.SplitHostPort(p.Addr)
	if err == nil {
		var n int
		if n, err = strconv.Atoi(port); err == nil {
			err = backend.Cancel(ctx, backend.Target{Host: host, Port: n}, reactor.PassedKey(c.PID), c.Secret)
		}
	}
	if err != nil {
		s.cfg.Load().Logger.Warn("a cancel request could not be passed on", "peer", p.String(), "error", err)
	}
}
