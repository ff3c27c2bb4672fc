package chaos_test

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/lsn"
)

// sampler asks the servers what they are, past all faults of the network.
type sampler struct {
	l    *lab
	j    *journal
	tip  atomic.Uint64 // the furthest position of the primary on the highest timeline
	high atomic.Uint32 // that timeline
}

const sampleSQL = `SELECT concat_ws(' ', pg_is_in_recovery(),
 CASE WHEN pg_is_in_recovery() THEN coalesce((SELECT received_tli FROM pg_stat_wal_receiver), (pg_control_checkpoint()).timeline_id)::text
  ELSE 'x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8) END,
 CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn() END)`

// run asks until ctx ends.
func (s *sampler) run(ctx context.Context) {
	var all sync.WaitGroup
	for _, m := range s.l.patroni.Members() {
		all.Add(1)
		go s.memberLoop(ctx, m, &all)
	}
	all.Wait()
}

func (s *sampler) memberLoop(ctx context.Context, m *cluster.PatroniMember, all *sync.WaitGroup) {
	defer all.Done()
	for pause(ctx, min(s.j.width, 2*time.Second)) {
		at := s.j.now()
		text, err := query(ctx, m, sampleSQL)
		if ctx.Err() != nil {
			return
		}
		one := sample{At: at, Node: m.Name, Lag: -1}
		if err == nil {
			s.read(&one, text)
		}
		s.j.sampled(one)
	}
}

func (s *sampler) read(one *sample, text string) {
	fields := strings.Fields(text)
	if len(fields) != 3 {
		return
	}
	at, err := lsn.Parse(fields[2])
	if err != nil {
		return
	}
	base := 10
	if rest, ok := strings.CutPrefix(fields[1], "x"); ok {
		fields[1], base = rest, 16
	}
	tli, err := strconv.ParseUint(fields[1], base, 32)
	if err != nil {
		return
	}
	one.Timeline, one.LSN = uint32(tli), uint64(at)
	if fields[0] == "t" {
		one.Role = "replica"
		if tip := s.tip.Load(); tip > 0 {
			one.Lag = max(int64(tip)-int64(one.LSN), 0)
		}
		return
	}
	one.Role = "primary"
	if high := s.high.Load(); one.Timeline >= high {
		s.high.Store(one.Timeline)
		s.tip.Store(one.LSN)
		one.Lag = 0
	}
}
