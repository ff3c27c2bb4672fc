package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgroute/pgroute/proxy"
)

// workers is how many clients make the demonstration's load.
const workers = 8

// pairs counts the load's writes that were read at once.
type pairs struct {
	done, stale atomic.Int64
}

// load lets clients write and read at once, and shows the counters while they
// do.
func (st *stage) load(ctx context.Context, d time.Duration) error {
	if d == 0 {
		return nil
	}
	st.scr.head(fmt.Sprintf("%d clients write and read at once, for %v", workers, d))
	before := st.srv.Stats()
	running, stop := context.WithTimeout(ctx, d)
	defer stop()
	var p pairs
	errs := make(chan error, workers)
	var wg sync.WaitGroup
	for i := range workers {
		// Ends with running; waited for below.
		wg.Go(func() { errs <- st.pairLoop(running, ctx, 100+i, &p) })
	}
	tick := time.NewTicker(st.period())
	defer tick.Stop()
	for running.Err() == nil {
		select {
		case <-tick.C:
			st.showLoad(&p, before)
		case <-running.Done():
		}
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			return err
		}
	}
	st.showLoad(&p, before)
	st.scr.end()
	for _, line := range st.readTable(before) {
		st.scr.line("    %s", line)
	}
	if n := p.stale.Load(); n > 0 {
		return fmt.Errorf("%d of %d reads were stale", n, p.done.Load())
	}
	return nil
}

// period is how often counters are shown.
func (st *stage) period() time.Duration {
	if st.scr.live {
		return 200 * time.Millisecond
	}
	return time.Second
}

// pairLoop writes and reads its own row until running ends. A pair that has
// begun is finished, within ctx.
func (st *stage) pairLoop(running, ctx context.Context, id int, p *pairs) error {
	writer, err := st.connect(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = writer.Close(context.WithoutCancel(ctx)) }()
	// The reader is another connection, as in a service with a pool.
	reader, err := st.connect(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = reader.Close(context.WithoutCancel(ctx)) }()
	if _, err := writer.Exec(ctx, "INSERT INTO booking VALUES ($1, 0)", id); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	for n := 1; running.Err() == nil; n++ {
		if err := st.write(ctx, writer, id, n); err != nil {
			return err
		}
		got, err := read(ctx, reader, id, "")
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		if got < n {
			p.stale.Add(1)
		}
		p.done.Add(1)
	}
	return nil
}

// showLoad prints the counters of the load so far.
func (st *stage) showLoad(p *pairs, before proxy.Stats) {
	done, stale := p.done.Load(), p.stale.Load()
	verdict := st.scr.good("0 stale")
	if stale > 0 {
		verdict = st.scr.stale(fmt.Sprintf("%d stale", stale))
	}
	byNode := make(map[string]int)
	for _, r := range st.readsSince(before) {
		byNode[st.nodeName(r.Node)] += int(r.Count)
	}
	st.scr.over("  %6d pairs, %s   reads: %s", done, verdict, counts(byNode))
}

// readsSince are the reads that were counted since before.
func (st *stage) readsSince(before proxy.Stats) []proxy.ReadCount {
	old := make(map[proxy.ReadCount]uint64)
	for _, r := range before.Reads {
		n := r.Count
		r.Count = 0
		old[r] = n
	}
	var list []proxy.ReadCount
	for _, r := range st.srv.Stats().Reads {
		n := r.Count
		r.Count = 0
		if r.Count = n - old[r]; r.Count > 0 {
			list = append(list, r)
		}
	}
	return list
}

func (st *stage) nodeName(name string) string { return cmp.Or(st.names[name], name) }

// readTable says which node served how many reads, and why.
func (st *stage) readTable(before proxy.Stats) []string {
	list := st.readsSince(before)
	slices.SortFunc(list, func(a, b proxy.ReadCount) int {
		return cmp.Or(cmp.Compare(st.nodeName(a.Node), st.nodeName(b.Node)), cmp.Compare(b.Count, a.Count))
	})
	var lines []string
	for _, r := range list {
		lines = append(lines, fmt.Sprintf("%7d on %s (%s): %s", r.Count, st.nodeName(r.Node), r.Role, because(r.Reason)))
	}
	return lines
}

// watch shows what the user's own clients do, until ctx is done.
func (st *stage) watch(ctx context.Context) error {
	before := st.srv.Stats()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	last := ""
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-st.ended:
			st.ended <- err
			return errors.Join(errors.New("the proxy ended"), err)
		case <-tick.C:
		}
		now := st.srv.Stats()
		byNode := make(map[string]int)
		for _, r := range st.readsSince(before) {
			byNode[st.nodeName(r.Node)] += int(r.Count)
		}
		line := fmt.Sprintf("  %d clients, %d writes, reads: %s", now.Clients, now.Writes-before.Writes, counts(byNode))
		if line != last {
			st.scr.over("%s", line)
			last = line
		}
	}
}

// counts prints how many reads each node served.
func counts(byNode map[string]int) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(byNode)) {
		parts = append(parts, fmt.Sprintf("%s %d", name, byNode[name]))
	}
	if len(parts) == 0 {
		return "none yet"
	}
	return strings.Join(parts, ", ")
}
