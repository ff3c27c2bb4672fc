package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/lsn"
	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/pgprobe"
)

// bench is one thing to measure.
type bench struct {
	name string
	run  func(context.Context, *lab) ([]Measurement, error)
}

// benches are what measure can measure.
var benches = []bench{
	{"read", measureRead},
	{"write", measureWrite},
	{"replay", measureReplay},
	{"position", measurePosition},
	{"memory", measureMemory},
	{"proxy", measureProxy},
	{"service", measureService},
}

// clientsAtOnce is how many clients pgbench has. Bookings of eight are flushed
// to disk together now and then, as on a server with work to do.
const clientsAtOnce = 8

// measure measures what names say, all if there are none.
func measure(ctx context.Context, names []string, seconds int) ([]Measurement, error) {
	for _, name := range names {
		if !slices.ContainsFunc(benches, func(b bench) bool { return b.name == name }) {
			return nil, fmt.Errorf("there is nothing to measure by the name of %s", name)
		}
	}
	l, err := newLab(ctx, seconds)
	if err != nil {
		return nil, err
	}
	defer l.close()
	var all []Measurement
	for _, b := range benches {
		if len(names) > 0 && !slices.Contains(names, b.name) {
			continue
		}
		found, err := b.run(ctx, l)
		if err != nil {
			return nil, fmt.Errorf("measure %s: %w", b.name, err)
		}
		for i := range found {
			found[i].Command = fmt.Sprintf("go run ./internal/capacity -seconds %d measure %s", seconds, b.name)
		}
		all = append(all, found...)
	}
	return all, nil
}

// measureRead runs reads on the replica, where nothing else happens.
func measureRead(ctx context.Context, l *lab) ([]Measurement, error) {
	n := l.Replicas()[0]
	if _, err := l.pgbench(ctx, n.Addr(), "read"); err != nil { // Warms the caches.
		return nil, err
	}
	before, err := serverUsage(n.PID())
	if err != nil {
		return nil, err
	}
	count, err := l.pgbench(ctx, n.Addr(), "read")
	if err != nil {
		return nil, err
	}
	after, err := serverUsage(n.PID())
	if err != nil {
		return nil, err
	}
	return []Measurement{{
		Name: "read_server", Value: each(after.since(before).all(), count), Unit: "µs",
		What: fmt.Sprintf("processor time of the server for a point read by unique key, prepared, pgbench with %d clients, %d reads", clientsAtOnce, count),
	}}, nil
}

// measureWrite runs bookings on the primary while a replica streams.
func measureWrite(ctx context.Context, l *lab) ([]Measurement, error) {
	p := l.Primary()
	if err := p.Exec(ctx, "CHECKPOINT"); err != nil {
		return nil, err
	}
	wal, err := insertPosition(ctx, p)
	if err != nil {
		return nil, err
	}
	first, err := l.pgbench(ctx, p.Addr(), "write")
	if err != nil {
		return nil, err
	}
	after1, err := insertPosition(ctx, p)
	if err != nil {
		return nil, err
	}
	images := float64(after1-wal) / float64(first)
	wal, err = insertPosition(ctx, p)
	if err != nil {
		return nil, err
	}
	before, err := serverUsage(p.PID())
	if err != nil {
		return nil, err
	}
	count, err := l.pgbench(ctx, p.Addr(), "write")
	if err != nil {
		return nil, err
	}
	after, err := serverUsage(p.PID())
	if err != nil {
		return nil, err
	}
	end, err := insertPosition(ctx, p)
	if err != nil {
		return nil, err
	}
	used := after.since(before)
	return []Measurement{{
		Name: "write_server", Value: each(used["rest"], count), Unit: "µs",
		What: fmt.Sprintf("processor time of the primary for a booking: one INSERT with three unique keys, committed to disk, %d bookings", count),
	}, {
		Name: "send_replica", Value: each(used["walsender"], count), Unit: "µs",
		What: "processor time of the primary for sending a booking's WAL to one replica",
	}, {
		Name: "wal_per_write", Value: images, Unit: "bytes",
		What: fmt.Sprintf("WAL of a booking in the first %d s after a checkpoint, images of full pages included, in a table of 200,000 rows, %d bookings", l.seconds, first),
	}, {
		Name: "wal_per_write_later", Value: float64(end-wal) / float64(count), Unit: "bytes",
		What: "WAL of a booking long after a checkpoint; not used by the model",
	}}, nil
}

func insertPosition(ctx context.Context, n *cluster.Node) (lsn.LSN, error) {
	text, err := n.QueryString(ctx, "SELECT pg_current_wal_insert_lsn()")
	if err != nil {
		return 0, err
	}
	return lsn.Parse(text)
}

// measureReplay lets a replica fall behind and catch up.
func measureReplay(ctx context.Context, l *lab) ([]Measurement, error) {
	n := l.Replicas()[0]
	if err := n.StopReplay(ctx); err != nil {
		return nil, err
	}
	before, err := serverUsage(n.PID())
	if err != nil {
		return nil, err
	}
	count, err := l.pgbench(ctx, l.Primary().Addr(), "write")
	if err != nil {
		return nil, err
	}
	if err := n.Thaw(); err != nil {
		return nil, err
	}
	began := time.Now()
	if err := l.WaitCaughtUp(ctx); err != nil {
		return nil, err
	}
	took := time.Since(began)
	after, err := serverUsage(n.PID())
	if err != nil {
		return nil, err
	}
	used := after.since(before)
	return []Measurement{{
		Name: "replay_serial", Value: each(used["startup"], count), Unit: "µs",
		What: fmt.Sprintf("processor time of the replica's startup process for replaying a booking, %d bookings", count),
	}, {
		Name: "replay_replica", Value: each(used.all(), count), Unit: "µs",
		What: "processor time of all the replica's processes for receiving and replaying a booking",
	}, {
		Name: "replay_rate", Value: float64(count) / took.Seconds(), Unit: "1/s",
		What: "bookings that a replica replayed in a second of wall time on the loaded machine, after it was held back; not used by the model",
	}}, nil
}

// measurePosition asks the primary for its position as a sidecar does.
func measurePosition(ctx context.Context, l *lab) ([]Measurement, error) {
	p := l.Primary()
	prober, err := pgprobe.New(pgprobe.Config{DSN: l.dsn(p, cluster.MonitorUser, cluster.MonitorPassword)})
	if err != nil {
		return nil, err
	}
	defer prober.Close()
	probe, err := prober.Connect(ctx, router.Addr{Name: p.Name, Host: p.Host, Port: p.Port})
	if err != nil {
		return nil, err
	}
	defer probe.Close()
	before, err := serverUsage(p.PID())
	if err != nil {
		return nil, err
	}
	count := 20_000 * l.seconds
	for range count {
		if _, _, err := probe.Insert(ctx); err != nil {
			return nil, err
		}
	}
	after, err := serverUsage(p.PID())
	if err != nil {
		return nil, err
	}
	return []Measurement{{
		Name: "position_call", Value: each(after.since(before).all(), count), Unit: "µs",
		What: fmt.Sprintf("processor time of the primary for one question for its position, round trip included, %d questions", count),
	}}, nil
}

// measureMemory looks at a connection that has run both statements.
func measureMemory(ctx context.Context, l *lab) ([]Measurement, error) {
	conn, err := l.Primary().App(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	for i := range 200 {
		var customer string
		if err := conn.QueryRow(ctx, "SELECT customer FROM booking WHERE slot = $1 AND seat = $2", i%1000+1, i%200+1).Scan(&customer); err != nil {
			return nil, err
		}
		_, err := conn.Exec(ctx, "INSERT INTO booking (slot, seat, customer, key) VALUES ($1, $2, 'customer', gen_random_uuid()) ON CONFLICT DO NOTHING", -i, i)
		if err != nil {
			return nil, err
		}
	}
	var pid string
	if err := conn.QueryRow(ctx, "SELECT pg_backend_pid()::text").Scan(&pid); err != nil {
		return nil, err
	}
	number, err := strconv.Atoi(pid)
	if err != nil {
		return nil, err
	}
	private, err := privateMemory(number)
	if err != nil {
		return nil, err
	}
	return []Measurement{{
		Name: "backend_memory", Value: float64(private), Unit: "bytes",
		What: "private memory of a server connection that ran both statements 200 times and is idle (Private_* of smaps_rollup)",
	}}, nil
}
