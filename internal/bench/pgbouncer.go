package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/pgroute/pgroute/internal/cluster"
)

// A bouncer is a PgBouncer that can be started.
type bouncer struct {
	command      []string // the program, or its loader with arguments and the program
	major, minor int
	note         string // where it comes from, for the report
}

func (b bouncer) version() string { return fmt.Sprintf("%d.%d", b.major, b.minor) }

// prepares says whether prepared statements work in transaction pooling.
func (b bouncer) prepares() bool { return b.major > 1 || b.minor >= 21 }

// findBouncer finds the PgBouncer that the option --pgbouncer names.
func findBouncer(ctx context.Context, which string) (bouncer, error) {
	if which != "newest" && which != "installed" {
		return askBouncer(ctx, "given", which)
	}
	path, err := cluster.Tool("pgbouncer")
	if err != nil {
		return bouncer{}, err
	}
	installed, err := askBouncer(ctx, "installed", path)
	if err != nil || which == "installed" || installed.prepares() {
		return installed, err
	}
	fmt.Fprintf(os.Stderr, "bench: the installed PgBouncer is %s: fetching Debian 13's\n", installed.version())
	fetched, err := fetchBouncer(ctx)
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\nbench: using PgBouncer %s, in session pooling for prepared statements\n", err, installed.version())
		return installed, nil
	}
	return fetched, nil
}

var bouncerLine = regexp.MustCompile(`(?m)^PgBouncer (?:version )?(\d+)\.(\d+)`)

// askBouncer asks a PgBouncer for its version.
func askBouncer(ctx context.Context, note string, command ...string) (bouncer, error) {
	args := append(command[1:len(command):len(command)], "--version")
	out, err := exec.CommandContext(ctx, command[0], args...).CombinedOutput()
	if err != nil {
		return bouncer{}, fmt.Errorf("ask pgbouncer for its version: %w: %s", err, strings.TrimSpace(string(out)))
	}
	found := bouncerLine.FindStringSubmatch(string(out))
	if found == nil {
		return bouncer{}, fmt.Errorf("pgbouncer --version printed %q: no version", out)
	}
	b := bouncer{command: command, note: note}
	b.major, _ = strconv.Atoi(found[1]) // digits, by the expression
	b.minor, _ = strconv.Atoi(found[2])
	return b, nil
}

// bouncerConf keeps whatever does not matter here the same in all versions.
const bouncerConf = `[databases]
%[1]s = host=%[2]s port=%[3]d dbname=%[1]s

[pgbouncer]
listen_addr = %[4]s
listen_port = %[5]d
unix_socket_dir =
auth_type = %[6]s
auth_file = %[7]s
pool_mode = %[8]s
default_pool_size = %[9]d
max_client_conn = %[10]d
client_tls_sslmode = disable
server_tls_sslmode = disable
log_connections = 0
log_disconnections = 0
`

// startBouncer starts PgBouncer in front of the primary of c. auth is trust or
// scram-sha-256.
func (l *lab) startBouncer(ctx context.Context, c *cluster.Cluster, mode, auth string, pool int) (*program, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	host, port, err := splitAddr(addr)
	if err != nil {
		return nil, err
	}
	name := "pgbouncer-" + mode
	users, conf := filepath.Join(l.dir, name+".users"), filepath.Join(l.dir, name+".ini")
	primary := c.Primary()
	text := fmt.Sprintf(bouncerConf, cluster.AppDatabase, primary.Host, primary.Port, host, port, auth, users, mode,
		pool, l.opts.idle+spareDescriptors)
	if l.bouncer.prepares() {
		text += "max_prepared_statements = 200\n"
	}
	// The servers' own verifier, as production has it: both proxies then check
	// a client's proof and log in with the key that it reveals.
	secret, err := primary.QueryString(ctx, "SELECT rolpassword FROM pg_authid WHERE rolname = $1", cluster.AppUser)
	if err != nil {
		return nil, err
	}
	err = errors.Join(os.WriteFile(conf, []byte(text), 0o644),
		os.WriteFile(users, fmt.Appendf(nil, "%q %q\n", cluster.AppUser, secret), 0o644))
	if err != nil {
		return nil, fmt.Errorf("configure %s: %w", name, err)
	}
	args := l.bouncer.command[1:len(l.bouncer.command):len(l.bouncer.command)]
	if os.Geteuid() == 0 {
		args = append(args, "-u", cluster.SuperUser) // it refuses to run as root
	}
	return startProgram(ctx, name, addr, filepath.Join(l.dir, name+".log"), "", l.bouncer.command[0], append(args, conf)...)
}
