package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"time"

	"github.com/pgroute/pgroute/internal/cluster"
)

// schema is the booking table that everything is measured on, with 200,000
// bookings: 1,000 slots of 200 seats.
const schema = `
CREATE TABLE booking (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	slot integer NOT NULL,
	seat integer NOT NULL,
	customer text NOT NULL,
	key uuid NOT NULL UNIQUE,
	created timestamptz NOT NULL DEFAULT now(),
	UNIQUE (slot, seat)
);
INSERT INTO booking (slot, seat, customer, key)
	SELECT slot, seat, 'customer', gen_random_uuid() FROM generate_series(1, 1000) slot, generate_series(1, 200) seat;
VACUUM ANALYZE booking;
CHECKPOINT;`

// The two statements, as pgbench runs them. A booking takes a seat beyond those
// of schema, so that two hardly ever meet.
const (
	readScript = `\set slot random(1, 1000)
\set seat random(1, 200)
SELECT id, customer FROM booking WHERE slot = :slot AND seat = :seat;
`
	writeScript = `\set slot random(1001, 2000000000)
\set seat random(1, 200)
INSERT INTO booking (slot, seat, customer, key) VALUES (:slot, :seat, 'customer', gen_random_uuid()) ON CONFLICT DO NOTHING;
`
)

// lab is a durable cluster with one replica and pgbench's scripts.
type lab struct {
	*cluster.Cluster
	dir     string
	seconds int
}

func newLab(ctx context.Context, seconds int) (*lab, error) {
	c, err := cluster.New(ctx, cluster.Options{Replicas: 1, Durable: true, Settings: map[string]string{
		"max_wal_size": "8GB", "checkpoint_timeout": "30min", "shared_buffers": "512MB", "wal_keep_size": "4GB",
		"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on",
	}})
	if err != nil {
		return nil, err
	}
	l := &lab{Cluster: c, seconds: seconds}
	if l.dir, err = os.MkdirTemp("", "capacity"); err != nil {
		l.close()
		return nil, err
	}
	for name, text := range map[string]string{"read": readScript, "write": writeScript} {
		if err := os.WriteFile(filepath.Join(l.dir, name), []byte(text), 0o600); err != nil {
			l.close()
			return nil, err
		}
	}
	if err := l.createSchema(ctx); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *lab) createSchema(ctx context.Context) error {
	psql, err := cluster.Tool("psql")
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, psql, "-qX", "-v", "ON_ERROR_STOP=1", "-f", "-", l.dsn(l.Primary(), cluster.SuperUser, cluster.SuperPassword))
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start psql: %w", err)
	}
	_, writeErr := stdin.Write([]byte(schema + "\nGRANT ALL ON booking TO " + cluster.AppUser + ";\n"))
	stdin.Close()
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("create the schema: %w", err)
	}
	if writeErr != nil {
		return fmt.Errorf("send the schema to psql: %w", writeErr)
	}
	return l.WaitCaughtUp(ctx)
}

func (l *lab) dsn(n *cluster.Node, user, password string) string {
	return n.DSN(user, password, cluster.AppDatabase)
}

func (l *lab) close() {
	if l.dir != "" {
		os.RemoveAll(l.dir)
	}
	l.Close()
}

var processed = regexp.MustCompile(`number of transactions actually processed: (\d+)`)

// pgbench runs a script on the server or proxy at addr, and returns how many transactions it ran.
func (l *lab) pgbench(ctx context.Context, addr, script string) (int, error) {
	tool, err := cluster.Tool("pgbench")
	if err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(ctx, tool, "-n", "-M", "prepared", "-c", strconv.Itoa(clientsAtOnce), "-T", strconv.Itoa(l.seconds),
		"-f", filepath.Join(l.dir, script), "postgres://"+cluster.AppUser+":"+cluster.AppPassword+"@"+addr+"/"+cluster.AppDatabase+"?sslmode=disable")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("run pgbench: %w: %s", err, out)
	}
	match := processed.FindSubmatch(out)
	if match == nil {
		return 0, fmt.Errorf("pgbench did not say how many transactions it ran: %s", out)
	}
	return strconv.Atoi(string(match[1]))
}

// each is processor time for one of n, in microseconds.
func each(t time.Duration, n int) float64 {
	return float64(t.Nanoseconds()) / 1e3 / float64(n)
}
