package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// makeData makes a data directory with this package's roles and database, and
// leaves its server stopped. It returns the directory, inside the sandbox.
func (c *Cluster) makeData(ctx context.Context) (string, error) {
	seed := &Node{Name: "seed", Port: 5432, c: c}
	seed.dir, seed.log = c.box.path(seed.Name), c.box.path(seed.Name+".log")
	err := c.box.run(ctx, filepath.Join(c.opts.BinDir, "initdb"), "-D", seed.dir, "-U", SuperUser, "-A", "trust",
		"--no-sync", "--data-checksums", "--locale=C", "--encoding=UTF8", "--wal-segsize="+strconv.Itoa(c.opts.walSegmentMB()))
	if err != nil {
		return "", fmt.Errorf("make a data directory: %w", err)
	}
	if err := seed.configure(); err != nil {
		return "", err
	}
	// Small limits, because a replica refuses to start with smaller ones than
	// the control file records, and Options.Settings may lower the usual ones.
	// The socket is in our own folder, so that the port clashes with nobody.
	seed.args = []string{"-c", "listen_addresses=", "-c", "max_connections=20", "-c", "max_wal_senders=2",
		"-c", "max_prepared_transactions=0", "-c", "max_worker_processes=2", "-c", "wal_level=replica", "-c", "fsync=off"}
	if err := seed.startOnce(ctx); err != nil {
		return "", err
	}
	err = c.createRoles(ctx, seed)
	mode := Fast
	if err != nil {
		mode = Immediate
	}
	if err := errors.Join(err, seed.Stop(mode)); err != nil {
		return "", fmt.Errorf("make a data directory: %w", err)
	}
	if err := os.Remove(seed.log); err != nil {
		return "", fmt.Errorf("make a data directory: %w", err)
	}
	return seed.dir, nil
}

func (c *Cluster) createRoles(ctx context.Context, seed *Node) error {
	err := seed.execIn(ctx, "postgres",
		"ALTER ROLE "+SuperUser+" PASSWORD '"+SuperPassword+"'",
		"CREATE ROLE "+replicationUser+" LOGIN REPLICATION PASSWORD '"+replicationPassword+"'")
	if err != nil {
		return err
	}
	return c.createApplication(ctx, seed)
}

// createApplication makes what is beside the superuser and replication.
func (c *Cluster) createApplication(ctx context.Context, seed *Node) error {
	sql := []string{
		"CREATE ROLE " + AppUser + " LOGIN PASSWORD '" + AppPassword + "'",
		"CREATE DATABASE " + AppDatabase + " OWNER " + AppUser,
		MonitorSQL,
		"ALTER ROLE " + MonitorUser + " PASSWORD '" + MonitorPassword + "'",
	}
	if err := seed.execIn(ctx, "postgres", sql...); err != nil {
		return err
	}
	return seed.execIn(ctx, AppDatabase, MonitorSQL)
}
