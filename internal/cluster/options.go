package cluster

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// The roles that exist in every cluster, and the database of the application.
const (
	SuperUser       = "postgres"
	SuperPassword   = "super-secret"
	AppUser         = "app"
	AppPassword     = "app-secret"
	AppDatabase     = "app"
	MonitorUser     = "pgroute_monitor"
	MonitorPassword = "monitor-secret"

	replicationUser     = "replicator"
	replicationPassword = "repl-secret"
)

// Options says what cluster to start. The zero value is a primary with two
// replicas that ask for passwords (SCRAM).
type Options struct {
	// Replicas is the number of replicas: 0 means 2, negative means none.
	Replicas int
	// BinDir holds postgres, initdb and pg_basebackup. Empty means the
	// environment's PGROUTE_PG_BIN or the version PGROUTE_PG_VERSION, else the
	// newest /usr/lib/postgresql/*/bin.
	BinDir string
	// Durable makes the servers sync to disk as production servers do, keeps
	// their files on a disk rather than in memory, and gives them WAL segments
	// of the usual 16 MB. For benchmarks.
	Durable bool
	// Settings are further lines of postgresql.conf, for every node. They win
	// over this package's own.
	Settings map[string]string
	// UniqueSystemID gives the cluster a system identifier of its own. Without
	// it all clusters are copies of one template and share the identifier.
	// It costs about a second and a half.
	UniqueSystemID bool
	// Trust lets everybody who connects over TCP in without a password.
	Trust bool
}

func (o *Options) validate() error {
	switch {
	case o.Replicas == 0:
		o.Replicas = 2
	case o.Replicas < 0:
		o.Replicas = 0
	}
	if o.BinDir == "" {
		dir, err := binDir()
		if err != nil {
			return err
		}
		o.BinDir = dir
	}
	for name, value := range o.Settings {
		if strings.ContainsAny(name, "\n='") || strings.Contains(value, "\n") {
			return fmt.Errorf("setting %q: not a line of postgresql.conf", name)
		}
	}
	return nil
}

// walSegmentMB is small in memory, so that copies are small and tests cross
// segment boundaries often.
func (o *Options) walSegmentMB() int {
	if o.Durable {
		return 16
	}
	return 1
}

// postgresqlConf is the whole of a node's postgresql.conf. What differs
// between nodes is in the file that it includes.
func (o *Options) postgresqlConf() string {
	var b strings.Builder
	b.WriteString(baseConf)
	if !o.Durable {
		b.WriteString(memoryConf)
	}
	for _, name := range slices.Sorted(maps.Keys(o.Settings)) {
		fmt.Fprintf(&b, "%s = %s\n", name, quoteConf(o.Settings[name]))
	}
	fmt.Fprintf(&b, "include '%s'\n", nodeConfFile)
	return b.String()
}

func (o *Options) hbaConf() string {
	method := "scram-sha-256"
	if o.Trust {
		method = "trust"
	}
	return fmt.Sprintf(`local all         postgres                trust
local replication postgres                trust
local all         all                     %[1]s
host  replication replicator 127.0.0.1/32 scram-sha-256
host  all         all        127.0.0.1/32 %[1]s
`, method)
}

// quoteConf quotes a value as postgresql.conf wants it.
func quoteConf(value string) string {
	return "'" + strings.ReplaceAll(strings.ReplaceAll(value, `\`, `\\`), "'", "''") + "'"
}

// nodeConfFile holds what differs between nodes, in the data directory.
const nodeConfFile = "pgroute_node.conf"

// dynamic_shared_memory_type = mmap keeps all of a server's shared memory that
// has a name inside its data directory, so that a killed server leaves nothing
// in /dev/shm. A replica retries its primary five times a second, because the
// default of 5 s would be the time every test starts with.
const baseConf = `listen_addresses = '127.0.0.1'
password_encryption = 'scram-sha-256'
max_connections = 200
superuser_reserved_connections = 10
shared_buffers = '16MB'
dynamic_shared_memory_type = 'mmap'
wal_level = 'replica'
hot_standby = on
hot_standby_feedback = on
max_wal_senders = 10
max_replication_slots = 10
max_prepared_transactions = 10
max_slot_wal_keep_size = '256MB'
wal_keep_size = '128MB'
min_wal_size = '32MB'
max_wal_size = '512MB'
wal_receiver_status_interval = '1s'
wal_retrieve_retry_interval = '200ms'
logging_collector = off
log_destination = 'stderr'
log_line_prefix = '%m [%p] %q%a '
timezone = 'UTC'
log_timezone = 'UTC'
lc_messages = 'C'
`

const memoryConf = `fsync = off
full_page_writes = off
`
