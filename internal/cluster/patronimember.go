package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// A PatroniMember is one Patroni and its PostgreSQL. Two methods that change
// the same member must not run at the same time.
type PatroniMember struct {
	// Name is pg1, pg2 and so on. Host and Port are PostgreSQL's.
	Name string
	Host string
	Port int
	// API is the base of its REST API.
	API string

	p    *PatroniCluster
	host *Host // nil: here
	node *Node // of PostgreSQL: for connections, not for its process
	// binDir holds PostgreSQL's programs.
	binDir string

	mu   sync.Mutex // guards the fields below
	proc *process   // Patroni
	tags map[string]any
}

// config is a member's patroni.yml. JSON is YAML.
func (m *PatroniMember) config() ([]byte, error) {
	o := &m.p.opts
	dynamic := map[string]any{
		"ttl": o.TTL, "loop_wait": o.LoopWait, "retry_timeout": o.RetryTimeout, "maximum_lag_on_failover": 16 << 20,
		"postgresql": map[string]any{"use_pg_rewind": true, "use_slots": true, "parameters": map[string]any{
			"max_connections": 200, "max_wal_senders": 10, "max_replication_slots": 10, "max_prepared_transactions": 10,
			"wal_keep_size": "128MB", "hot_standby_feedback": "on", "wal_log_hints": "on"}},
	}
	maps.Copy(dynamic, o.Dynamic)
	// With full_page_writes off pg_rewind would refuse to work.
	settings := map[string]string{
		"unix_socket_directories": m.node.c.socketDir(), "fsync": "off", "shared_buffers": "16MB",
		"password_encryption": "scram-sha-256", "dynamic_shared_memory_type": "mmap", "timezone": "UTC", "log_timezone": "UTC",
		"lc_messages": "C", "wal_retrieve_retry_interval": "200ms", "log_line_prefix": "%m [%p] %q%a ",
	}
	recovery := map[string]string{}
	if o.Archive {
		dir := m.p.archiveDir()
		settings["archive_mode"] = "on"
		settings["archive_command"] = fmt.Sprintf("case %%f in *.history) cp %%p %s/%%f ;; esac", dir)
		recovery["restore_command"] = fmt.Sprintf("case %%f in *.history) cp %s/%%f %%p 2>/dev/null ;; *) false ;; esac", dir)
	}
	maps.Copy(settings, o.Settings)
	hba := []string{"local all postgres trust", "local replication postgres trust", "local all all scram-sha-256",
		"host replication replicator " + m.host.clients() + " scram-sha-256", "host all all " + m.host.clients() + " scram-sha-256"}
	api := strings.TrimPrefix(m.API, "http://")
	m.mu.Lock()
	tags := maps.Clone(m.tags)
	m.mu.Unlock()
	if tags == nil {
		tags = map[string]any{}
	}
	// The superuser's first password is made before any configuration counts, and
	// before PostgreSQL 14 initdb hashes it with MD5 unless it is told this.
	initPassword := map[string]string{"auth-host": "scram-sha-256"}
	return json.MarshalIndent(map[string]any{
		"scope": o.Scope, "namespace": "/" + o.Namespace + "/", "name": m.Name,
		"restapi":   map[string]any{"listen": api, "connect_address": api},
		"zookeeper": map[string]any{"hosts": []string{o.ZooKeeper.Addr()}},
		"bootstrap": map[string]any{
			"dcs":    dynamic,
			"initdb": []any{map[string]string{"encoding": "UTF8"}, map[string]string{"locale": "C"}, "data-checksums", "no-sync", initPassword, map[string]string{"wal-segsize": "1"}},
			"pg_hba": hba,
		},
		"postgresql": map[string]any{
			"listen": m.node.Addr(), "connect_address": m.node.Addr(), "data_dir": m.node.dir, "bin_dir": m.binDir,
			"pgpass": m.p.box.path(m.Name + ".pgpass"), "pg_hba": hba, "parameters": settings,
			"recovery_conf": recovery,
			"basebackup":    []any{map[string]string{"checkpoint": "fast"}, "no-sync"},
			"authentication": map[string]any{
				"superuser":   map[string]string{"username": SuperUser, "password": SuperPassword},
				"replication": map[string]string{"username": replicationUser, "password": replicationPassword},
			},
		},
		"tags": tags,
	}, "", " ")
}

func (m *PatroniMember) configFile() string { return m.p.box.path(m.Name + ".yml") }

func (m *PatroniMember) logFile() string { return m.p.box.path(m.Name + ".log") }

// Start starts the member's Patroni, which starts its PostgreSQL.
func (m *PatroniMember) Start() error {
	if m.Running() {
		return fmt.Errorf("start Patroni of %s: it is running", m.Name)
	}
	if err := m.configure(); err != nil {
		return err
	}
	cmd := exec.Command(m.p.program, m.configFile())
	proc, err := m.p.box.startOn(m.host, cmd, m.logFile())
	if err != nil {
		return fmt.Errorf("start Patroni of %s: %w", m.Name, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.proc = proc
	return nil
}

func (m *PatroniMember) configure() error {
	data, err := m.config()
	if err != nil {
		return fmt.Errorf("configure Patroni of %s: %w", m.Name, err)
	}
	return m.p.box.writeFile(m.configFile(), string(data))
}

// SetTags gives the member these tags, live if its Patroni runs.
func (m *PatroniMember) SetTags(tags map[string]any) error {
	m.mu.Lock()
	m.tags = maps.Clone(tags)
	m.mu.Unlock()
	if err := m.configure(); err != nil || !m.Running() {
		return err
	}
	if err := m.process().signal(sigReload); err != nil {
		return fmt.Errorf("set tags of %s: %w", m.Name, err)
	}
	return nil
}

// hidden reports whether the member's health check for reads always fails.
func (m *PatroniMember) hidden() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.tags["noloadbalance"] == true
}

// Running says whether the member's Patroni is there, frozen or not.
func (m *PatroniMember) Running() bool { return m.process().running() }

func (m *PatroniMember) process() *process {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.proc
}

// KillPatroni ends Patroni with SIGKILL; PostgreSQL runs on.
func (m *PatroniMember) KillPatroni() error {
	proc := m.process()
	if !proc.running() {
		return nil
	}
	if err := proc.signal(sigKill); err != nil && !errors.Is(err, os.ErrProcessDone) && !errors.Is(err, errNoProcess) {
		return fmt.Errorf("kill Patroni of %s: %w", m.Name, err)
	}
	if !proc.ended(stopTimeout) {
		return fmt.Errorf("kill Patroni of %s: still there after %v", m.Name, stopTimeout)
	}
	return nil
}

// PostgresPID is the postmaster's process id, 0 when there is none.
func (m *PatroniMember) PostgresPID() int {
	lock := m.node.readLockFile()
	if lock.pid > 0 && alive(lock.pid) && ownDirectory(lock.pid, m.node.dir) {
		return lock.pid
	}
	return 0
}

// ownDirectory reports whether a process works in dir, as a postmaster does in
// its data directory: a lock file that a killed one left may name any process.
func ownDirectory(pid int, dir string) bool {
	cwd, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "cwd"))
	return err == nil && cwd == dir
}

// KillPostgres ends every process of PostgreSQL with SIGKILL. Patroni, if it
// runs, starts it again or fails over.
func (m *PatroniMember) KillPostgres() error {
	pid := m.PostgresPID()
	if pid == 0 {
		return nil
	}
	lock := m.node.readLockFile()
	if err := signal(pid, sigFreeze); err != nil && !errors.Is(err, errNoProcess) {
		return fmt.Errorf("kill PostgreSQL of %s: %w", m.Name, err)
	}
	pids, err := children(pid)
	if err != nil {
		return fmt.Errorf("kill PostgreSQL of %s: %w", m.Name, err)
	}
	pids = append(pids, pid)
	for _, pid := range pids {
		if err := signal(pid, sigKill); err != nil && !errors.Is(err, errNoProcess) {
			return fmt.Errorf("kill PostgreSQL of %s: %w", m.Name, err)
		}
	}
	err = pollFor(stopTimeout, "kill PostgreSQL of "+m.Name, func() (bool, error) { return !slices.ContainsFunc(pids, alive), nil })
	if err == nil && lock.pid == pid && lock.sharedMemory > 0 {
		err = removeSharedMemory(lock.sharedMemory, lock.pid)
	}
	return err
}

// Kill ends Patroni and PostgreSQL with SIGKILL, as if the machine were lost.
func (m *PatroniMember) Kill() error { return errors.Join(m.KillPatroni(), m.KillPostgres()) }

// Addr is PostgreSQL's HOST:PORT.
func (m *PatroniMember) Addr() string { return m.node.Addr() }

// String is the member's name.
func (m *PatroniMember) String() string { return m.Name }

// DSN is a connection string for PostgreSQL, as Node.DSN.
func (m *PatroniMember) DSN(user, password, db string) string { return m.node.DSN(user, password, db) }

// Exec runs statements as the superuser in the database app, as Node.Exec.
func (m *PatroniMember) Exec(ctx context.Context, sql ...string) error {
	return m.node.Exec(ctx, sql...)
}

// QueryString asks as the superuser in the database app, as Node.QueryString.
func (m *PatroniMember) QueryString(ctx context.Context, sql string, args ...any) (string, error) {
	return m.node.QueryString(ctx, sql, args...)
}

// LogTail is the end of the log of Patroni and PostgreSQL, at most size bytes.
func (m *PatroniMember) LogTail(size int64) string { return tail(m.logFile(), size) }
