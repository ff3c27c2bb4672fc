package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/pgroute/pgroute/proxy"
	"github.com/pgroute/pgroute/router/zookeeper"
)

// joinLayout begins to follow PATH/config and to keep PATH/proxies/ID, both
// until ctx is done. The function that it returns waits for their end.
func (p *process) joinLayout(ctx context.Context) (wait func()) {
	watched, kept := make(chan struct{}), make(chan struct{})
	// Both end with ctx, or when the server has failed, and are waited for.
	ctx, cancel := context.WithCancel(ctx)
	go p.shared.watchLoop(ctx, p.zk, p.log.Logger, watched)
	go p.presenceLoop(ctx, kept)
	return func() {
		cancel()
		<-watched
		<-kept
	}
}

// presenceLoop keeps PATH/proxies/ID until ctx is done, which is when the
// drain begins: nobody new should come any more.
func (p *process) presenceLoop(ctx context.Context, done chan<- struct{}) {
	defer close(done)
	cfg := p.zk
	cfg.Logger = p.log.Logger
	r, err := zookeeper.NewRegistrar(cfg)
	if err == nil {
		var id string
		var self zookeeper.Proxy
		id, self = p.presence()
		if err = r.Proxy(id, self); err == nil {
			err = r.Run(ctx)
		}
	}
	if err != nil {
		p.log.Warn("this proxy is not registered in ZooKeeper", "error", oneLine(err.Error()))
	}
}

// presence is what this proxy says of itself, and under which name: its host
// and process, and, since containers may share both, a few random letters.
func (p *process) presence() (id string, self zookeeper.Proxy) {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "unknown"
	}
	self = zookeeper.Proxy{Host: host, Version: proxy.Version(), PID: os.Getpid(), PeerID: p.settings.peerID,
		Started: time.Now().UTC().Truncate(time.Second)}
	for _, a := range p.srv.Addrs() {
		self.Listen = append(self.Listen, addrText(a))
	}
	if p.admin != nil {
		self.Admin = p.admin.listener.Addr().String()
	}
	var b [3]byte
	_, _ = rand.Read(b[:]) // it never fails
	return fmt.Sprintf("%s-%d-%s", strings.ReplaceAll(host, "/", "_"), self.PID, hex.EncodeToString(b[:])), self
}

// reachable replaces the address of all interfaces by one that can be dialled
// from here.
func reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
		if ip != nil && ip.To4() == nil {
			host = "::1"
		}
	}
	return net.JoinHostPort(host, port)
}
