package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/lsn"
	"github.com/pgroute/pgroute/router/zookeeper"
)

// measureService runs one instance of the booking example over a sidecar, and
// asks it for seats and for bookings.
func measureService(ctx context.Context, l *lab) ([]Measurement, error) {
	proxy, err := l.startProxy(ctx)
	if err != nil {
		return nil, err
	}
	defer proxy.stop()
	zk, err := cluster.NewZooKeeper(ctx, cluster.ZooKeeperOptions{})
	if err != nil {
		return nil, err
	}
	defer zk.Close()
	if err := l.register(ctx, zk.Addr()); err != nil {
		return nil, err
	}
	path, err := l.build(ctx, "./examples/booking")
	if err != nil {
		return nil, err
	}
	// The example makes its own table; the lab's is in its way.
	if err := l.Primary().Exec(ctx, "DROP TABLE booking", "GRANT ALL ON SCHEMA public TO "+cluster.AppUser); err != nil {
		return nil, err
	}
	dsn := "postgres://" + cluster.AppUser + ":" + cluster.AppPassword + "@" + proxy.addr + "/" + cluster.AppDatabase + "?sslmode=disable"
	if out, err := exec.CommandContext(ctx, path, "init", "--dsn", dsn, "--rooms", "4", "--slots", "400").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("prepare the booking example: %w: %s", err, out)
	}
	if err := l.Primary().Exec(ctx, "VACUUM ANALYZE"); err != nil {
		return nil, err
	}
	service, err := startProgram(ctx, path, "serve", "--listen", "127.0.0.1:0", "--name", "one", "--zookeeper", zk.Addr(), "--path", "/booking",
		"--cluster-path", "/pgroute/booking", "--via", "sidecar", "--dsn", dsn)
	if err != nil {
		return nil, err
	}
	defer service.stop()
	load := &httpLoad{base: "http://" + service.addr, lab: l, service: service, proxy: proxy}
	return load.run(ctx)
}

// register writes the cluster's layout as a failover manager would.
func (l *lab) register(ctx context.Context, hosts string) error {
	registry, err := zookeeper.NewRegistry(ctx, zookeeper.Config{Hosts: hosts, Path: "/pgroute/booking"})
	if err != nil {
		return err
	}
	defer registry.Close()
	for _, n := range l.Nodes() {
		if err := registry.Put(ctx, n.Name, zookeeper.Node{Host: n.Host, Port: n.Port}, false); err != nil {
			return err
		}
	}
	return registry.SetPrimary(ctx, l.Primary().Name)
}

// httpLoad asks one instance.
type httpLoad struct {
	base           string
	lab            *lab
	service, proxy *program
}

// place is one seat at one time.
type place struct{ slot, room, seat int64 }

func (h *httpLoad) run(ctx context.Context) ([]Measurement, error) {
	places, err := h.places(ctx)
	if err != nil {
		return nil, err
	}
	var next atomic.Int64
	key := strconv.FormatInt(time.Now().UnixNano(), 36)
	seats := func(ctx context.Context) error {
		p := places[int(next.Add(1))%len(places)]
		return h.call(ctx, http.MethodGet, fmt.Sprintf("/api/seats?slot=%d&room=%d", p.slot, p.room), nil, "", http.StatusOK)
	}
	book := func(ctx context.Context) error {
		i := int(next.Add(1))
		if i >= len(places) {
			return errAllBooked
		}
		p := places[i]
		body, err := json.Marshal(map[string]any{"slot": p.slot, "seat": p.seat, "customer": "customer"})
		if err != nil {
			return err
		}
		return h.call(ctx, http.MethodPost, "/api/bookings", body, key+"-"+strconv.Itoa(i), http.StatusCreated)
	}
	var found []Measurement
	for _, one := range []struct {
		name, what string
		do         func(context.Context) error
	}{
		{"read", "one room's seats at one time (GET /api/seats)", seats},
		{"write", "a booking (POST /api/bookings)", book},
	} {
		next.Store(0)
		m, err := h.measure(ctx, one.name, one.what, one.do)
		if err != nil {
			return nil, err
		}
		found = append(found, m...)
	}
	return found, nil
}

var errAllBooked = errors.New("all seats are booked")

// measure lets clients call do for the lab's seconds, and says what everybody
// spent for each call.
func (h *httpLoad) measure(ctx context.Context, name, what string, do func(context.Context) error) ([]Measurement, error) {
	replica := h.lab.Replicas()[0]
	if name == "write" {
		// What is replayed in one go costs what it costs at a high rate. One
		// record at a time, the startup process would mostly wake up.
		if err := replica.StopReplay(ctx); err != nil {
			return nil, err
		}
		defer replica.Thaw() //nolint:errcheck // only for the way out after an error
	}
	before, err := h.read(ctx)
	if err != nil {
		return nil, err
	}
	until := time.Now().Add(time.Duration(h.lab.seconds) * time.Second)
	var calls atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, clientsAtOnce)
	for i := range clientsAtOnce {
		wg.Go(func() {
			for time.Now().Before(until) && errs[i] == nil {
				if errs[i] = do(ctx); errs[i] == nil {
					calls.Add(1)
				}
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil && !errors.Is(err, errAllBooked) {
			return nil, err
		}
	}
	if err := replica.Thaw(); err != nil {
		return nil, err
	}
	// What was written is replayed before the replica is looked at.
	if err := h.lab.WaitCaughtUp(ctx); err != nil {
		return nil, err
	}
	after, err := h.read(ctx)
	if err != nil {
		return nil, err
	}
	n := int(calls.Load())
	if n == 0 {
		return nil, errors.New("not one request was answered")
	}
	primary, standby := after.primary.since(before.primary), after.replica.since(before.replica)
	found := []Measurement{
		{Name: "service_" + name, Value: each(after.service-before.service, n), Unit: "µs",
			What: fmt.Sprintf("processor time of one instance of the booking example over a sidecar for %s, %d clients, %d requests", what, clientsAtOnce, n)},
		{Name: "example_" + name + "_proxy", Value: each(after.proxy-before.proxy, n), Unit: "µs", What: "processor time of its sidecar for that"},
	}
	if name == "read" {
		return append(found, Measurement{Name: "example_read_server", Value: each(standby.all(), n), Unit: "µs",
			What: "processor time of the replica for that"}), nil
	}
	return append(found,
		Measurement{Name: "example_write_server", Value: each(primary["rest"], n), Unit: "µs", What: "processor time of the primary for that, without sending WAL"},
		Measurement{Name: "example_send_replica", Value: each(primary["walsender"], n), Unit: "µs", What: "processor time of the primary for sending its WAL to one replica"},
		Measurement{Name: "example_replay_replica", Value: each(standby.all(), n), Unit: "µs", What: "processor time of all the replica's processes for receiving and replaying it"},
		Measurement{Name: "example_replay_serial", Value: each(standby["startup"], n), Unit: "µs", What: "processor time of the startup process in that, which was held back and then caught up"},
		Measurement{Name: "example_wal_per_write", Value: float64(after.wal-before.wal) / float64(n), Unit: "bytes", What: "WAL of that, images of full pages included"},
	), nil
}

// reading is what everybody had used at one moment.
type reading struct {
	service, proxy   time.Duration
	primary, replica usage
	wal              lsn.LSN
}

func (h *httpLoad) read(ctx context.Context) (r reading, err error) {
	var errs [5]error
	r.service, errs[0] = processTime(h.service.cmd.Process.Pid)
	r.proxy, errs[1] = processTime(h.proxy.cmd.Process.Pid)
	r.primary, errs[2] = serverUsage(h.lab.Primary().PID())
	r.replica, errs[3] = serverUsage(h.lab.Replicas()[0].PID())
	r.wal, errs[4] = insertPosition(ctx, h.lab.Primary())
	return r, errors.Join(errs[:]...)
}

// places lists the seats that can be booked.
func (h *httpLoad) places(ctx context.Context) ([]place, error) {
	var all struct {
		Slots []struct{ ID int64 }
		Rooms []struct{ ID int64 }
	}
	if err := h.fetch(ctx, "/api/slots", &all); err != nil {
		return nil, err
	}
	var places []place
	seatsOf := map[int64][]int64{}
	for _, slot := range all.Slots {
		for _, room := range all.Rooms {
			if seatsOf[room.ID] == nil {
				var page struct{ Seats []struct{ ID int64 } }
				if err := h.fetch(ctx, fmt.Sprintf("/api/seats?slot=%d&room=%d", slot.ID, room.ID), &page); err != nil {
					return nil, err
				}
				for _, seat := range page.Seats {
					seatsOf[room.ID] = append(seatsOf[room.ID], seat.ID)
				}
			}
			for _, seat := range seatsOf[room.ID] {
				places = append(places, place{slot.ID, room.ID, seat})
			}
		}
	}
	if len(places) == 0 {
		return nil, errors.New("the booking example has no seats")
	}
	return places, nil
}

func (h *httpLoad) fetch(ctx context.Context, path string, into any) error {
	body, err := h.send(ctx, http.MethodGet, path, nil, "", http.StatusOK)
	if err != nil {
		return err
	}
	return json.Unmarshal(body, into)
}

func (h *httpLoad) call(ctx context.Context, method, path string, body []byte, key string, want int) error {
	_, err := h.send(ctx, method, path, body, key, want)
	return err
}

func (h *httpLoad) send(ctx context.Context, method, path string, body []byte, key string, want int) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, h.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	if resp.StatusCode != want {
		return nil, fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, answer)
	}
	return answer, nil
}

var client = &http.Client{
	Transport: &http.Transport{MaxIdleConnsPerHost: clientsAtOnce},
	Timeout:   time.Minute,
}
