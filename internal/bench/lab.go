package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/pgroute/pgroute/internal/cluster"
)

// A lab is what all measurements share: the programs, a folder for their
// files, and the options.
type lab struct {
	opts    *options
	dir     string
	pgroute string  // the program
	bouncer bouncer // the zero bouncer when it is not asked for
	server  string  // PostgreSQL's version
}

// spareDescriptors are for what is not a client's connection.
const spareDescriptors = 1000

// newLab finds or builds the programs. It starts none of them.
func newLab(ctx context.Context, opts *options) (*lab, error) {
	if err := raiseDescriptors(uint64(2*opts.idle + spareDescriptors)); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "pgroute-bench-")
	if err != nil {
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	l := &lab{opts: opts, dir: dir}
	if err := l.prepare(ctx); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *lab) prepare(ctx context.Context) error {
	// PgBouncer drops root's rights and must still find its files.
	if err := os.Chmod(l.dir, 0o755); err != nil {
		return fmt.Errorf("open the folder to other users: %w", err)
	}
	postgres, err := cluster.Tool("postgres")
	if err != nil {
		return err
	}
	version, err := exec.CommandContext(ctx, postgres, "--version").Output()
	if err != nil {
		return fmt.Errorf("ask postgres for its version: %w", err)
	}
	l.server = strings.TrimSpace(strings.TrimPrefix(string(version), "postgres (PostgreSQL) "))
	if l.opts.stream || l.opts.has(pgrouteSession) || l.opts.has(pgroutePrimary) {
		if err := l.build(ctx); err != nil {
			return err
		}
	}
	if l.opts.has(pgbouncer) && (l.opts.speed || l.opts.mem) {
		l.bouncer, err = findBouncer(ctx, l.opts.pgbouncer)
	}
	return err
}

// build builds pgroute as make build does.
func (l *lab) build(ctx context.Context) error {
	if l.opts.pgroute != "" {
		path, err := filepath.Abs(l.opts.pgroute)
		l.pgroute = path
		return err
	}
	l.pgroute = filepath.Join(l.dir, "pgroute")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", l.pgroute, "github.com/pgroute/pgroute/cmd/pgroute")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build pgroute: %w:\n%s", err, out)
	}
	return nil
}

func (l *lab) close() { _ = os.RemoveAll(l.dir) } // a temporary folder left over harms nobody

// cluster starts a primary and two replicas. Durable servers commit as fast as
// production servers do, which the comparison of commits needs.
func (l *lab) cluster(ctx context.Context, trust bool) (*cluster.Cluster, error) {
	connections := 100 + 3*max(l.opts.pool, maxOf(l.opts.clients))
	return cluster.New(ctx, cluster.Options{Durable: true, Trust: trust, Settings: map[string]string{
		"max_connections":    strconv.Itoa(connections),
		"shared_buffers":     "256MB",
		"checkpoint_timeout": "30min", // none in the middle of somebody's round
		"max_wal_size":       "4GB",
	}})
}

// startPgroute starts pgroute in front of all nodes of c.
func (l *lab) startPgroute(ctx context.Context, c *cluster.Cluster, level, auth string) (*program, error) {
	listen, err := freeAddr()
	if err != nil {
		return nil, err
	}
	admin, err := freeAddr()
	if err != nil {
		return nil, err
	}
	args := []string{
		"proxy", "--listen", listen, "--admin", admin, "--auth", auth, "--consistency", level,
		"--pool-size", strconv.Itoa(l.opts.pool),
		"--monitor", fmt.Sprintf("postgres://%s:%s@monitor/postgres?sslmode=disable", cluster.MonitorUser, cluster.MonitorPassword),
	}
	for _, addr := range c.Addrs() {
		args = append(args, "--node", addr)
	}
	name := "pgroute-" + level
	return startProgram(ctx, name, listen, filepath.Join(l.dir, name+".log"), "pgroute: ready", l.pgroute, args...)
}

// freeAddr finds a port on which nobody listens, below those that the cluster
// package uses and those that the kernel gives to outgoing connections.
func freeAddr() (string, error) {
	const first, last = 11000, 15000
	for range 1000 {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(first+rand.IntN(last-first)))
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			return "", fmt.Errorf("look for a free port: %w", err)
		}
		return addr, nil
	}
	return "", errors.New("look for a free port: none found")
}

// splitAddr takes an address of ours apart.
func splitAddr(addr string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(addr)
	if err != nil {
		return "", 0, fmt.Errorf("address %s: %w", addr, err)
	}
	port, err = strconv.Atoi(text)
	if err != nil {
		return "", 0, fmt.Errorf("address %s: %w", addr, err)
	}
	return host, port, nil
}

func maxOf(list []int) int {
	most := list[0]
	for _, n := range list {
		most = max(most, n)
	}
	return most
}
