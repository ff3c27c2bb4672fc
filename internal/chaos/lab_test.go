package chaos_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/internal/verify"
)

const (
	members   = 3
	proxies   = 3
	proxyPort = 6432
	adminPort = 6433
	diskSize  = 1 << 30
	// ttl is Patroni's: how long a leader is missed until another is elected. The
	// proxies' trust in ZooKeeper's word ends before.
	ttl          = 6
	keeperTrust  = 4 * time.Second
	failoverWait = 30 * time.Second
)

// lab is the cluster, the proxies and the network that they are in.
type lab struct {
	t        testing.TB
	network  *cluster.Network // nil: everything is on loopback
	why      string           // why there is no network
	keeper   *cluster.ZooKeeper
	patroni  *cluster.PatroniCluster
	proxies  []*proxyNode
	hosts    map[string]*cluster.Host // by name; none without a network
	sync     bool
	clocks   bool // each server has its own
	launched time.Time
}

// proxyNode is a pgroute in a process of its own.
type proxyNode struct {
	*cluster.Program
	addr, admin string
	env         []string

	mu sync.Mutex // one starts it at a time
}

// labOptions say how the lab differs from the usual one.
type labOptions struct {
	sync bool
	tags string   // for the build of pgroute
	env  []string // for pgroute
	race bool
}

// openLab starts everything; it is closed when the test ends.
func openLab(t *testing.T, o labOptions) *lab {
	t.Helper()
	if !cluster.PatroniInstalled() {
		t.Skip("needs Patroni and ZooKeeper")
	}
	l := &lab{t: t, hosts: map[string]*cluster.Host{}, sync: o.sync, clocks: cluster.ClocksInstalled(), launched: time.Now()}
	binary := buildProxy(t, o)
	var err error
	if *loopbackFlag {
		err = errors.New("-chaos.loopback")
	} else {
		l.network, err = cluster.NewNetwork()
	}
	if err != nil {
		l.why = err.Error()
		t.Logf("all on loopback, without faults of the network and of disks: %v", err)
	} else {
		t.Cleanup(func() {
			if err := l.network.Close(); err != nil {
				t.Errorf("close the network: %v", err)
			}
		})
	}
	var hosts []*cluster.Host
	for i := range members {
		name := fmt.Sprintf("pg%d", i+1)
		h := l.host(name)
		hosts = append(hosts, h)
		if l.network == nil {
			continue
		}
		if _, err := h.Disk(diskSize); err != nil {
			t.Fatal(err)
		}
	}
	l.keeper = cluster.StartZooKeeper(t, cluster.ZooKeeperOptions{Host: l.host("zk")})
	l.patroni = cluster.StartPatroni(t, members, cluster.PatroniOptions{
		ZooKeeper: l.keeper, Hosts: hosts, TTL: ttl, Archive: true, Clocks: l.clocks,
		Dynamic: map[string]any{
			"synchronous_mode": o.sync,
			"postgresql": map[string]any{
				"use_pg_rewind": true, "use_slots": true, "remove_data_directory_on_rewind_failure": true,
				"remove_data_directory_on_diverged_timelines": true,
				"parameters": map[string]any{
					"max_connections": 200, "max_wal_senders": 10, "max_replication_slots": 10, "max_prepared_transactions": 10,
					"wal_keep_size": "256MB", "max_slot_wal_keep_size": "384MB", "hot_standby_feedback": "on", "wal_log_hints": "on",
					"log_min_messages": "warning", "wal_receiver_timeout": "10s", "wal_sender_timeout": "10s",
				},
			},
		},
	})
	for i := range proxies {
		l.addProxy(t, fmt.Sprintf("px%d", i+1), binary, i, o.env)
	}
	return l
}

// mode is Patroni's: sync or async.
func (l *lab) mode() string {
	if l.sync {
		return "sync"
	}
	return "async"
}

// host makes a host, the zero one without a network.
func (l *lab) host(name string) *cluster.Host {
	if l.network == nil {
		return &cluster.Host{Name: name}
	}
	h, err := l.network.NewHost(name)
	if err != nil {
		l.t.Fatal(err)
	}
	l.hosts[name] = h
	return h
}

func buildProxy(t *testing.T, o labOptions) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pgroute")
	args := []string{"build", "-o", path}
	if o.tags != "" {
		args = append(args, "-tags", o.tags)
	}
	if o.race {
		args = append(args, "-race")
	}
	cmd := exec.CommandContext(t.Context(), "go", append(args, "../../cmd/pgroute")...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build pgroute: %v: %s", err, out)
	}
	return path
}

func (l *lab) addProxy(t *testing.T, name, binary string, number int, env []string) {
	t.Helper()
	host := l.host(name)
	ip, port, admin := "127.0.0.1", freePort(t), freePort(t)
	if l.network != nil {
		ip, port, admin = host.IP, proxyPort, adminPort
	}
	p := &proxyNode{addr: net.JoinHostPort(ip, strconv.Itoa(port)), admin: net.JoinHostPort(ip, strconv.Itoa(admin)), env: env}
	prog, err := cluster.NewProgram(host, name, binary, "proxy", "--listen", p.addr, "--admin", p.admin, "--peer-id", strconv.Itoa(number),
		"--zookeeper", l.keeper.Addr(), "--patroni", l.patroni.Path(), "--zookeeper-timeout", keeperTrust.String(),
		"--failover-wait", failoverWait.String(), "--monitor",
		"postgres://"+cluster.MonitorUser+":"+cluster.MonitorPassword+"@/postgres?sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	p.Program = prog
	l.proxies = append(l.proxies, p)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of %s:\n%s", name, p.LogTail(8<<10))
		}
		if err := p.Close(); err != nil {
			t.Errorf("close %s: %v", name, err)
		}
	})
	if err := p.start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := until(ctx, name+" is ready", func() error { _, err := p.status(ctx); return err }); err != nil {
		t.Fatalf("%v\n%s", err, p.LogTail(4<<10))
	}
}

// freePort is one on which nobody listens now. Only the lab on loopback needs
// it.
func freePort(t *testing.T) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}

func (p *proxyNode) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.Running() {
		return nil
	}
	return p.Program.Start(p.env...)
}

// status is what the proxy says of the cluster, as far as the rig asks.
type status struct {
	Primary    string `json:"primary"`
	NoPrimary  string `json:"no_primary"`
	Leadership bool   `json:"leadership"`
	Epoch      uint64 `json:"epoch"`
	Timeline   uint32 `json:"timeline"`
}

func (p *proxyNode) status(ctx context.Context) (s status, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.admin+"/status.json", nil)
	if err != nil {
		return s, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return s, fmt.Errorf("ask %s: %w", p.Name, err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&s); err != nil {
		return s, fmt.Errorf("ask %s: %w", p.Name, err)
	}
	return s, nil
}

// targets are the proxies, for package verify.
func (l *lab) targets() []verify.Target {
	var list []verify.Target
	for _, p := range l.proxies {
		list = append(list, verify.Target{Name: p.Name, DSN: p.dsnOf(cluster.AppDatabase)})
	}
	return list
}

// hostNames are the hosts that the network can cut off from one another.
func (l *lab) hostNames() []string {
	names := []string{"zk"}
	for _, m := range l.patroni.Members() {
		names = append(names, m.Name)
	}
	for _, p := range l.proxies {
		names = append(names, p.Name)
	}
	return names
}

// until calls done now and then until it returns nil or ctx ends.
func until(ctx context.Context, what string, done func() error) error {
	ticker := time.NewTicker(100 * time.Millisecond)
	defer ticker.Stop()
	for {
		err := done()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w; last: %w", what, context.Cause(ctx), err)
		case <-ticker.C:
		}
	}
}

// pause waits; false if ctx ended before.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// query asks a member as the superuser, over its Unix socket, which no fault of
// the network reaches; a server that hangs is an error.
func query(ctx context.Context, m *cluster.PatroniMember, sql string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	return m.QueryString(ctx, sql)
}

// lead is the member that ZooKeeper's tree is about to name: the one that says
// of itself that it is the primary, on the highest timeline.
func (l *lab) lead(ctx context.Context) (*cluster.PatroniMember, error) {
	var best *cluster.PatroniMember
	var high int64
	for _, m := range l.patroni.Members() {
		text, err := query(ctx, m, timelineOfPrimary)
		if err != nil || text == "" {
			continue
		}
		tli, err := strconv.ParseInt(strings.TrimSpace(text), 16, 64)
		if err == nil && tli > high {
			best, high = m, tli
		}
	}
	if best == nil {
		return nil, errors.New("no primary")
	}
	return best, nil
}

// timelineOfPrimary is empty on a replica.
const timelineOfPrimary = "SELECT CASE WHEN NOT pg_is_in_recovery() THEN substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8) ELSE '' END"
