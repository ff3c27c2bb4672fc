package lab

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"strconv"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/router/zookeeper"
)

// ClusterPath is where the topology is in ZooKeeper, and BookingPath where the
// instances register themselves.
const (
	ClusterPath = "/pgroute/demo"
	BookingPath = "/booking"
)

// The role that may make a replica late.
const (
	operatorUser     = "operator"
	operatorPassword = "operator-secret"
)

var operatorSQL = "CREATE ROLE " + operatorUser + " LOGIN PASSWORD '" + operatorPassword + "';" +
	"GRANT EXECUTE ON FUNCTION pg_catalog.pg_wal_replay_pause(), pg_catalog.pg_wal_replay_resume() TO " + operatorUser

// plan gives every process its address and its flags.
func (l *Lab) plan() error {
	monitor := dsn(cluster.MonitorUser, cluster.MonitorPassword, "monitor", "postgres")
	for i := range l.opts.Sidecars {
		s, err := l.planSidecar("sidecar-"+strconv.Itoa(i+1), monitor)
		if err != nil {
			return err
		}
		l.Sidecars = append(l.Sidecars, s)
	}
	for i := range l.opts.OverSidecar + l.opts.OverLibrary {
		var over *Sidecar
		if i < l.opts.OverSidecar {
			over = l.Sidecars[i%len(l.Sidecars)]
		}
		inst, err := l.planInstance("booking-"+strconv.Itoa(i+1), over, monitor)
		if err != nil {
			return err
		}
		l.Instances = append(l.Instances, inst)
	}
	l.Balancer = l.process("balancer", l.page, l.booking, "booking: ready on",
		"balance", "--listen", l.page, "--zookeeper", l.ZooKeeper.Addr(), "--path", BookingPath)
	return nil
}

func (l *Lab) planSidecar(name, monitor string) (*Sidecar, error) {
	addr, err := l.ports.free()
	if err != nil {
		return nil, err
	}
	admin, err := l.ports.free()
	if err != nil {
		return nil, err
	}
	s := &Sidecar{Admin: admin, Process: l.process(name, addr, l.pgroute, "pgroute: ready on",
		"proxy", "--listen", addr, "--admin", admin, "--zookeeper", l.ZooKeeper.Addr(), "--path", ClusterPath, "--monitor", monitor)}
	s.serves = func(ctx context.Context) bool { return l.answers(ctx, "http://"+admin+"/readyz") }
	return s, nil
}

func (l *Lab) planInstance(name string, over *Sidecar, monitor string) (*Instance, error) {
	addr, err := l.ports.free()
	if err != nil {
		return nil, err
	}
	args := []string{"serve", "--listen", addr, "--name", name, "--zookeeper", l.ZooKeeper.Addr(), "--path", BookingPath,
		"--cluster-path", ClusterPath, "--operator", dsn(operatorUser, operatorPassword, "node", cluster.AppDatabase)}
	if over != nil {
		args = append(args, "--via", "sidecar", "--dsn", appDSN(over.Addr), "--monitor", monitor)
	} else {
		args = append(args, "--via", "library", "--dsn", appDSN("node"), "--monitor", monitor)
	}
	i := &Instance{Over: over, Process: l.process(name, addr, l.booking, "booking: ready on", args...)}
	i.serves = func(ctx context.Context) bool { return l.answers(ctx, i.URL()+"/healthz") }
	return i, nil
}

// prepare writes the topology into ZooKeeper, makes the operator's role and the
// example's tables.
func (l *Lab) prepare(ctx context.Context) error {
	reg, err := zookeeper.NewRegistry(ctx, zookeeper.Config{Hosts: l.ZooKeeper.Addr(), Path: ClusterPath})
	if err != nil {
		return fmt.Errorf("write the topology: %w", err)
	}
	defer reg.Close()
	for _, n := range l.Cluster.Nodes() {
		if err := reg.Put(ctx, n.Name, zookeeper.Node{Host: n.Host, Port: n.Port}, false); err != nil {
			return fmt.Errorf("write the topology: %w", err)
		}
	}
	if err := reg.SetPrimary(ctx, l.Cluster.Primary().Name); err != nil {
		return fmt.Errorf("write the topology: %w", err)
	}
	if err := l.Cluster.Primary().Exec(ctx, operatorSQL); err != nil {
		return fmt.Errorf("make the operator's role: %w", err)
	}
	args := []string{"init", "--dsn", appDSN(l.Cluster.Primary().Addr())}
	if l.opts.Rooms > 0 {
		args = append(args, "--rooms", strconv.Itoa(l.opts.Rooms))
	}
	if l.opts.Slots > 0 {
		args = append(args, "--slots", strconv.Itoa(l.opts.Slots))
	}
	cmd := exec.CommandContext(ctx, l.booking, args...)
	cmd.Env = environment()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("booking init: %w:\n%s", err, out)
	}
	if err := l.Cluster.WaitCaughtUp(ctx); err != nil {
		return fmt.Errorf("wait for the replicas: %w", err)
	}
	l.opts.Progress("the seats are there")
	return nil
}

// answers reports whether a GET of the URL is answered with 200.
func (l *Lab) answers(ctx context.Context, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	resp, err := l.http.Do(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

func appDSN(addr string) string {
	return dsn(cluster.AppUser, cluster.AppPassword, addr, cluster.AppDatabase)
}

// dsn is a connection string. The host may be a word that is ignored.
func dsn(user, password, addr, db string) string {
	if _, _, err := net.SplitHostPort(addr); err != nil {
		addr = net.JoinHostPort(addr, "5432")
	}
	u := url.URL{Scheme: "postgres", User: url.UserPassword(user, password), Host: addr, Path: "/" + db, RawQuery: "sslmode=disable"}
	return u.String()
}
