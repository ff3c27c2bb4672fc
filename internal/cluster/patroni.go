package cluster

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// PatroniOptions says what cluster of Patroni to start. The zero value is one
// of three members in the scope service/demo that notices the death of a
// leader after 6 s (Patroni before version 4) or 20 s.
type PatroniOptions struct {
	// ZooKeeper is where it keeps its tree. It is required, and outlives the
	// cluster.
	ZooKeeper *ZooKeeper
	// Namespace and Scope say where there; empty means service and demo.
	Namespace, Scope string
	// TTL, LoopWait and RetryTimeout are Patroni's, in seconds; 0 means 6, 1
	// and 3. Patroni wants TTL ≥ LoopWait + 2 × RetryTimeout, and from version
	// 4 on at least 20.
	TTL, LoopWait, RetryTimeout int
	// Dynamic are further settings of Patroni's dynamic configuration, such as
	// "synchronous_mode": true.
	Dynamic map[string]any
	// Settings are further settings of PostgreSQL.
	Settings map[string]string
	// Archive gives all members one archive for the histories of timelines, and
	// for nothing else. Without one, two servers that are promoted one after the
	// other without having heard of each other take the same timeline's number, and
	// the first then follows the second as if they had one history.
	Archive bool
	// Clocks gives each member's PostgreSQL a clock of its own, which SetClock
	// sets. It needs libfaketime; see ClocksInstalled.
	Clocks bool
	// BinDir holds PostgreSQL's programs, as Options.BinDir.
	BinDir string
	// Hosts are where the members run, in their order; without them, here. A
	// member keeps its data on its host's disk, if that has one.
	Hosts []*Host
}

// A PatroniCluster is a cluster of PostgreSQL servers that Patroni runs. All
// have the roles and the database of every Cluster.
type PatroniCluster struct {
	opts    PatroniOptions
	box     *sandbox
	program string
	ctl     string
	members []*PatroniMember

	closeOnce sync.Once
	closeErr  error
}

// ZooKeeper is where the cluster keeps its tree.
func (p *PatroniCluster) ZooKeeper() *ZooKeeper { return p.opts.ZooKeeper }

// PatroniInstalled says whether NewPatroni can work here.
func PatroniInstalled() bool {
	for _, name := range []string{"patroni", "patronictl"} {
		if _, err := exec.LookPath(name); err != nil {
			return false
		}
	}
	return ZooKeeperInstalled()
}

// NewPatroni starts a cluster of n members and returns when one leads, all
// others stream from it, and the roles and the database are everywhere. ctx
// bounds the start; the caller must Close it.
func NewPatroni(ctx context.Context, n int, opts PatroniOptions) (*PatroniCluster, error) {
	p, err := newPatroni(n, opts)
	if err != nil {
		return nil, fmt.Errorf("start Patroni: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := p.boot(ctx); err != nil {
		return nil, fmt.Errorf("start Patroni: %w", errors.Join(err, p.Close()))
	}
	return p, nil
}

func newPatroni(n int, opts PatroniOptions) (*PatroniCluster, error) {
	program, err := exec.LookPath("patroni")
	if err != nil {
		return nil, errors.New("it is not installed (Debian: apt-get install patroni python3-kazoo)")
	}
	ctl, err := exec.LookPath("patronictl")
	if err != nil {
		return nil, err
	}
	if opts.ZooKeeper == nil {
		return nil, errors.New("it needs a ZooKeeper")
	}
	for field, def := range map[*string]string{&opts.Namespace: "service", &opts.Scope: "demo"} {
		if *field == "" {
			*field = def
		}
	}
	for field, def := range map[*int]int{&opts.TTL: 6, &opts.LoopWait: 1, &opts.RetryTimeout: 3} {
		if *field == 0 {
			*field = def
		}
	}
	if opts.BinDir == "" {
		if opts.BinDir, err = binDir(); err != nil {
			return nil, err
		}
	}
	box, err := newSandbox("patroni", false, "TERM") // Patroni ends PostgreSQL then
	if err != nil {
		return nil, err
	}
	p := &PatroniCluster{opts: opts, box: box, program: program, ctl: ctl}
	// Node's connections need to know where the sockets are.
	home := &Cluster{opts: Options{BinDir: opts.BinDir}, box: box}
	ports, err := freePorts(2 * n)
	if err == nil {
		err = errors.Join(box.mkdir(home.socketDir()), box.mkdir(p.archiveDir()))
	}
	for i := 0; i < n && err == nil; i++ {
		m := &PatroniMember{Name: "pg" + strconv.Itoa(i+1), Port: ports[2*i], p: p}
		if i < len(opts.Hosts) {
			m.host = opts.Hosts[i]
		}
		m.Host = m.host.ip()
		m.API = "http://" + net.JoinHostPort(m.Host, strconv.Itoa(ports[2*i+1]))
		m.node = &Node{Name: m.Name, Host: m.Host, Port: m.Port, c: home, dir: box.path(m.Name)}
		if disk := m.host.diskDir(); disk != "" {
			m.node.dir = filepath.Join(disk, "data")
		}
		m.binDir = opts.BinDir
		if opts.Clocks {
			m.binDir, err = m.wear()
		}
		p.members = append(p.members, m)
	}
	if err != nil {
		return nil, errors.Join(err, box.close())
	}
	return p, nil
}

func (p *PatroniCluster) archiveDir() string { return p.box.path("archive") }

func (p *PatroniCluster) boot(ctx context.Context) error {
	// The first member makes the cluster, so that its name is known.
	first := p.members[0]
	if err := first.Start(); err != nil {
		return err
	}
	if err := poll(ctx, "wait for the first leader", func() (bool, error) {
		if !first.Running() {
			return false, fmt.Errorf("Patroni of %s exited: %s", first.Name, first.LogTail(4<<10))
		}
		return p.ask(ctx, first, http.MethodGet, "/primary", nil) == nil, nil
	}); err != nil {
		return fmt.Errorf("%w: %s", err, first.LogTail(4<<10))
	}
	if err := first.node.c.createApplication(ctx, first.node); err != nil {
		return err
	}
	for _, m := range p.members[1:] {
		if err := m.Start(); err != nil {
			return err
		}
	}
	return p.WaitSteady(ctx)
}

// WaitSteady returns when one member leads and takes writes, and all others
// whose Patroni runs stream from it.
func (p *PatroniCluster) WaitSteady(ctx context.Context) error {
	var why error
	err := poll(ctx, "wait for a steady cluster", func() (bool, error) {
		why = p.steady(ctx)
		return why == nil, nil
	})
	if err != nil {
		return fmt.Errorf("%w: %w", err, why)
	}
	return nil
}

func (p *PatroniCluster) steady(ctx context.Context) error {
	leader, err := p.Leader(ctx)
	if err != nil {
		return err
	}
	running := 0
	for _, m := range p.members {
		if !m.Running() || m == leader {
			continue
		}
		running++
		if err := p.ask(ctx, m, http.MethodGet, "/replica", nil); err != nil && !m.hidden() {
			return err
		}
	}
	n, err := leader.QueryString(ctx, "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND application_name LIKE 'pg%'")
	if err == nil && n != strconv.Itoa(running) {
		err = fmt.Errorf("%s of %d replicas stream from %s", n, running, leader.Name)
	}
	return err
}

// Leader returns the member that Patroni's own health check calls the primary.
func (p *PatroniCluster) Leader(ctx context.Context) (*PatroniMember, error) {
	m, err := p.who(ctx, "/primary")
	if err != nil {
		return nil, fmt.Errorf("nobody leads: %w", err)
	}
	return m, nil
}

// Synchronous returns a replica that Patroni's own health check calls a
// synchronous standby: in synchronous mode a switchover has no other candidate.
func (p *PatroniCluster) Synchronous(ctx context.Context) (*PatroniMember, error) {
	m, err := p.who(ctx, "/synchronous")
	if err != nil {
		return nil, fmt.Errorf("nobody is synchronous: %w", err)
	}
	return m, nil
}

// who returns the first member whose health check says yes.
func (p *PatroniCluster) who(ctx context.Context, check string) (*PatroniMember, error) {
	var errs error
	for _, m := range p.members {
		if !m.Running() {
			continue
		}
		err := p.ask(ctx, m, http.MethodGet, check, nil)
		if err == nil {
			return m, nil
		}
		errs = errors.Join(errs, err)
	}
	if errs == nil {
		errs = errors.New("no Patroni runs")
	}
	return nil, errs
}

// Members are all members, in the order of their names. The slice is the
// caller's.
func (p *PatroniCluster) Members() []*PatroniMember { return slices.Clone(p.members) }

// Member returns the member with that name, nil if there is none.
func (p *PatroniCluster) Member(name string) *PatroniMember {
	for _, m := range p.members {
		if m.Name == name {
			return m
		}
	}
	return nil
}

// Path is NAMESPACE/SCOPE, as pgroute's flag --patroni wants it.
func (p *PatroniCluster) Path() string { return p.opts.Namespace + "/" + p.opts.Scope }

// ask sends a request to a member's REST API. An answer other than 2xx is an
// error with its text.
func (p *PatroniCluster) ask(ctx context.Context, m *PatroniMember, method, path string, body any) error {
	return p.askFor(ctx, askTimeout, m, method, path, body)
}

// askFor is ask for an answer that takes its time.
func (p *PatroniCluster) askFor(ctx context.Context, limit time.Duration, m *PatroniMember, method, path string, body any) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var r io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return fmt.Errorf("ask Patroni: %w", err)
		}
		r = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, m.API+path, r)
	if err != nil {
		return fmt.Errorf("ask Patroni: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("ask Patroni of %s: %w", m.Name, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil && resp.StatusCode/100 != 2 {
		err = fmt.Errorf("status %d: %.200s", resp.StatusCode, text)
	}
	if err != nil {
		return fmt.Errorf("%s %s of %s: %w", method, path, m.Name, err)
	}
	return nil
}

// Switchover makes candidate the leader by a planned switchover and returns
// when Patroni says that it is done.
func (p *PatroniCluster) Switchover(ctx context.Context, candidate *PatroniMember) error {
	leader, err := p.Leader(ctx)
	if err != nil {
		return fmt.Errorf("switch over: %w", err)
	}
	// Patroni answers when it is done.
	return p.askFor(ctx, stopTimeout, leader, http.MethodPost, "/switchover", map[string]string{"leader": leader.Name, "candidate": candidate.Name})
}

// ScheduleSwitchover announces a planned switchover for a later time.
func (p *PatroniCluster) ScheduleSwitchover(ctx context.Context, candidate *PatroniMember, at time.Time) error {
	leader, err := p.Leader(ctx)
	if err != nil {
		return fmt.Errorf("schedule a switchover: %w", err)
	}
	return p.ask(ctx, leader, http.MethodPost, "/switchover", map[string]string{
		"leader": leader.Name, "candidate": candidate.Name, "scheduled_at": at.UTC().Format(time.RFC3339)})
}

// Configure changes the dynamic configuration: {"pause": true} begins the
// maintenance mode, and nil removes a key.
func (p *PatroniCluster) Configure(ctx context.Context, change map[string]any) error {
	var errs error
	for _, m := range p.members {
		if !m.Running() {
			continue
		}
		err := p.ask(ctx, m, http.MethodPatch, "/config", change)
		if err == nil {
			return nil
		}
		errs = errors.Join(errs, err)
	}
	return fmt.Errorf("configure Patroni: %w", errs)
}

// Ctl runs patronictl and returns what it printed.
func (p *PatroniCluster) Ctl(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, p.ctl, append([]string{"-c", p.members[0].configFile()}, args...)...)
	p.box.prepare(cmd)
	cmd.Env = append(cmd.Env, "LC_ALL=C.UTF-8")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Start()
	if err == nil {
		p.box.guard(cmd.Process.Pid)
		err = cmd.Wait()
		p.box.forget(cmd.Process.Pid)
	}
	if err != nil {
		return out.String(), fmt.Errorf("patronictl %s: %w: %s", strings.Join(args, " "), err, &out)
	}
	return out.String(), nil
}

// Close ends everything at once and removes the files. It may be called more
// than once.
func (p *PatroniCluster) Close() error {
	p.closeOnce.Do(func() {
		var err error
		for _, m := range p.members {
			err = errors.Join(err, m.KillPatroni(), m.KillPostgres())
		}
		if p.opts.Clocks {
			err = errors.Join(err, sweepClocks())
		}
		p.closeErr = errors.Join(err, p.box.close())
	})
	return p.closeErr
}
