package router

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Static returns the Source of a fixed list of servers, each given as
// HOST:PORT, [IPV6]:PORT, or DIRECTORY:PORT for a Unix socket. The address is
// the node's name. Roles are found by asking. It returns an error for an empty
// list, an address that it cannot read, and one that is named twice.
func Static(addrs ...string) (Source, error) {
	if len(addrs) == 0 {
		return nil, errors.New("the list of servers is empty")
	}
	s := make(staticSource, 0, len(addrs))
	for _, a := range addrs {
		addr, err := parseAddr(a)
		if err != nil {
			return nil, fmt.Errorf("server %q: %w", a, err)
		}
		for i := range s {
			if s[i].Name == addr.Name {
				return nil, fmt.Errorf("server %q is named twice", a)
			}
		}
		s = append(s, Candidate{Addr: addr})
	}
	return s, nil
}

type staticSource []Candidate

// Watch publishes the list once: it is always true.
func (s staticSource) Watch(ctx context.Context, publish func(Candidates)) error {
	publish(Candidates{Nodes: append([]Candidate(nil), s...), Confirmed: time.Now()})
	<-ctx.Done()
	return nil
}

// parseAddr reads an address. (net.SplitHostPort would pull in package net,
// and this package has nothing to do with sockets.)
func parseAddr(s string) (Addr, error) {
	i := strings.LastIndexByte(s, ':')
	if i <= 0 {
		return Addr{}, errors.New("want HOST:PORT")
	}
	host := s[:i]
	port, err := strconv.ParseUint(s[i+1:], 10, 16)
	if err != nil || port == 0 || s[i+1] == '+' {
		return Addr{}, fmt.Errorf("port %q is not a number from 1 to 65535", s[i+1:])
	}
	switch {
	case strings.HasPrefix(host, "["):
		ip, err := netip.ParseAddr(strings.TrimSuffix(host[1:], "]"))
		if err != nil || !strings.HasSuffix(host, "]") {
			return Addr{}, fmt.Errorf("%q is not an IP address in brackets", host)
		}
		host = ip.String()
	case strings.HasPrefix(host, "/"):
	case strings.ContainsAny(host, ":[] \t\r\n"):
		return Addr{}, fmt.Errorf("host %q: an IPv6 address needs brackets", host)
	}
	return Addr{Name: s, Host: host, Port: int(port)}, nil
}
