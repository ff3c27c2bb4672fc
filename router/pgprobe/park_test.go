package pgprobe_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/router"
)

// Since PostgreSQL 19 a standby holds the answer back until it has replayed
// the target, and no longer than asked for.
func TestPark(t *testing.T) {
	c := start(t, cluster.Options{Replicas: 1})
	ctx := t.Context()
	major, err := c.Version(ctx)
	must(t, err)
	replica := c.Replicas()[0]
	primary, probe := connect(t, monitorDSN, addr(c.Primary())), connect(t, monitorDSN, addr(replica))
	if st := identify(t, probe); st.Parks != (major >= 19) {
		t.Fatalf("PostgreSQL %d, Parks is %t", major, st.Parks)
	}
	if identify(t, primary).Parks {
		t.Error("a primary is said to hold answers back")
	}
	if major < 19 {
		t.Skipf("PostgreSQL %d has no WAIT FOR LSN", major)
	}
	must(t, c.Primary().Exec(ctx, "CREATE TABLE t (v int)"))
	must(t, c.WaitCaughtUp(ctx))
	must(t, replica.PauseReplay(ctx))
	behind, err := probe.Replay(ctx)
	must(t, err)
	must(t, c.Primary().Exec(ctx, "INSERT INTO t VALUES (1)"))
	target, _, err := primary.Insert(ctx)
	must(t, err)

	// It cannot be reached: the answer comes when the time is over, and says
	// where the replica is.
	p := probe.(router.Parker)
	began := time.Now()
	got, err := p.Park(ctx, target, 50*time.Millisecond)
	must(t, err)
	if took := time.Since(began); took < 50*time.Millisecond || got != behind {
		t.Errorf("%+v after %v, want %+v after 50ms", got, took, behind)
	}
	// Two questions on two connections: the second is not in the first one's way.
	ended := make(chan router.Reading, 1)
	// Ends with the reading, which is waited for below.
	go func() {
		r, err := p.Park(ctx, target, patience)
		if err != nil {
			t.Error(err)
		}
		ended <- r
	}()
	eventually(t, "the parked question", func() bool {
		return ask(t, replica, "SELECT count(*)::text FROM pg_stat_activity WHERE wait_event = 'WaitForWalReplay'") == "1"
	})
	must(t, replica.ResumeReplay(ctx))
	select {
	case r := <-ended:
		if r.Replay < target || !r.InRecovery {
			t.Errorf("answered %+v, waited for %s", r, target)
		}
	case <-time.After(patience):
		t.Fatal("nobody answers")
	}
	if r, err := p.Park(ctx, target, patience); err != nil || r.Replay < target {
		t.Errorf("what is replayed already: %+v, %v", r, err)
	}

	// A context ends it.
	stopped := connect(t, monitorDSN, addr(replica))
	enough := errors.New("enough")
	parkCtx, cancel := context.WithCancelCause(ctx)
	failed := make(chan error, 1)
	// Ends with the context.
	go func() { _, err := stopped.(router.Parker).Park(parkCtx, target+1<<30, patience); failed <- err }()
	cancel(enough)
	if err := <-failed; !errors.Is(err, enough) {
		t.Errorf("a wait that was ended: %v", err)
	}

	// So does a promotion.
	go func() {
		r, err := p.Park(ctx, target+1<<30, patience)
		if err != nil {
			t.Error(err)
		}
		ended <- r
	}()
	must(t, replica.Promote(ctx))
	select {
	case r := <-ended:
		if r.InRecovery {
			t.Errorf("a promoted server answers %+v", r)
		}
	case <-time.After(patience):
		t.Fatal("a promotion does not end the wait")
	}
}
