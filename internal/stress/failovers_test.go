package stress_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/proxy"
	"github.com/pgroute/pgroute/router"
	"github.com/pgroute/pgroute/router/zookeeper"
)

var failoversFlag = flag.Int("stress.failovers", 1, "how many failovers of a Patroni cluster, whose primary is killed, are done under load")

// TestFailovers kills the primary of a real cluster of Patroni again and again,
// under clients that write rows of which each is known, and compares what each
// client was told with what the next primary has: no COMMIT is told wrongly, no
// acknowledged write is lost without its client being told, no client is told
// that a write is lost which is there, and no connection ends. With -stress.strict
// the shares and times that it prints are judged, too.
func TestFailovers(t *testing.T) {
	if testing.Short() || !cluster.PatroniInstalled() {
		t.Skip("needs Patroni and ZooKeeper, and takes seconds")
	}
	// A COMMIT spends some time between its record and its answer.
	p := cluster.StartPatroni(t, 3, cluster.PatroniOptions{
		Dynamic:  map[string]any{"primary_start_timeout": 0, "master_start_timeout": 0},
		Settings: map[string]string{"fsync": "on", "commit_delay": "1000", "commit_siblings": "0"},
	})
	// For those that want it a COMMIT also waits for a replica: see settler.
	err := p.Configure(t.Context(), map[string]any{"postgresql": map[string]any{"parameters": map[string]any{"synchronous_standby_names": "ANY 1 (*)"}}})
	if err != nil {
		t.Fatal(err)
	}
	leader, err := p.Leader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	err = leader.Exec(t.Context(), append(slices.Clone(schema),
		"CREATE TABLE deeds (client int, n int, PRIMARY KEY (client, n))", "GRANT ALL ON deeds TO PUBLIC")...)
	if err != nil {
		t.Fatal(err)
	}
	src, err := zookeeper.NewPatroni(zookeeper.Config{Hosts: p.ZooKeeper().Addr(), Path: p.Path(), SessionTimeout: 3 * time.Second, Logger: logger("zookeeper")})
	if err != nil {
		t.Fatal(err)
	}
	s := startSidecar(t, "a", src, func(cfg *proxy.Config) { cfg.Auth, cfg.PrimaryWait = proxy.AuthSCRAM, patience })
	if err := s.settle(t.Context(), probeSQL, 2); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	all := make([]*settler, 12)
	var wg sync.WaitGroup
	for i := range all {
		all[i] = &settler{id: i + 1, s: s}
		wg.Go(func() { all[i].drive(ctx) }) // ends with stop, waited for below
	}
	c := &campaign{t: t, p: p, s: s, all: all}
	for n := range *failoversFlag {
		if err := c.failover(n + 1); err != nil {
			t.Errorf("failover %d: %v", n+1, err)
			break
		}
	}
	stop()
	wg.Wait()
	c.summary()
}

// deed is what a client has tried to write, and what it was told of it.
type deed struct {
	n    int
	told told
	code string // of the error
	// wrote is when its row was written, at when its end was told. A COMMIT that
	// ends well on another server than the one that wrote was only resolved there.
	wrote, at time.Time
}

type told uint8

const (
	toldDone      told = iota // it is acknowledged
	toldNot                   // it has not happened: an error before COMMIT, or that it was rolled back
	toldResolved              // its COMMIT has not happened, as was found out
	toldAmbiguous             // a single write that may have happened
	toldUnknown               // a COMMIT that may have happened
)

// settler is a client of TestFailovers. One in three writes by single statements,
// the others in transactions, in either protocol. Every other one waits for a
// replica at its COMMIT; what the others write may be lost.
type settler struct {
	id int
	s  *sidecar

	mu      sync.Mutex // guards the fields below
	deeds   []deed
	losses  []loss
	broken  []string
	unknown []string // why it was not told what became of a COMMIT
}

// loss is that the client was told of a lost write, when it had done so many
// deeds.
type loss struct {
	code string
	done int
}

// alone says that its COMMITs wait for no replica.
func (w *settler) alone() bool { return w.id%2 == 0 }

func (w *settler) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.deeds)
}

func (w *settler) dial(ctx context.Context) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig(fmt.Sprintf("postgres://%s:%s@%s/%s?sslmode=disable&connect_timeout=120",
		cluster.AppUser, cluster.AppPassword, w.s.addr, cluster.AppDatabase))
	if err != nil {
		return nil, err
	}
	cfg.RuntimeParams["synchronous_commit"] = "on"
	if w.alone() {
		cfg.RuntimeParams["synchronous_commit"] = "local"
	}
	cfg.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		if strings.HasPrefix(n.Code, "PR00") {
			w.mu.Lock()
			w.losses = append(w.losses, loss{n.Code, len(w.deeds)})
			w.mu.Unlock()
		}
	}
	return pgx.ConnectConfig(ctx, cfg)
}

// drive writes until ctx ends.
func (w *settler) drive(ctx context.Context) {
	var conn *pgx.Conn
	defer func() { hangUp(conn) }()
	for n := 1; ctx.Err() == nil; n++ {
		for conn == nil || conn.IsClosed() {
			var err error
			if conn, err = w.dial(ctx); ctx.Err() != nil {
				return
			} else if err != nil {
				w.breaks(err)
				rest(ctx, 100*time.Millisecond)
			}
		}
		d := w.do(ctx, conn, n)
		if ctx.Err() != nil {
			return
		}
		if d.code == "" && d.told != toldDone {
			w.breaks(fmt.Errorf("deed %d", n))
		}
		d.n, d.at = n, time.Now()
		w.mu.Lock()
		w.deeds = append(w.deeds, d)
		w.mu.Unlock()
		rest(ctx, time.Millisecond)
	}
}

func (w *settler) breaks(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.broken = append(w.broken, err.Error())
}

func (w *settler) do(ctx context.Context, conn *pgx.Conn, n int) deed {
	insert := fmt.Sprintf("INSERT INTO deeds VALUES (%d, %d)", w.id, n)
	if w.id%3 == 0 {
		if _, err := conn.Exec(ctx, "INSERT INTO deeds VALUES ($1, $2)", w.id, n); err != nil {
			return deed{told: toldAmbiguous, code: codeOf(err)}
		}
		return deed{wrote: time.Now()}
	}
	mode := pgx.QueryExecModeSimpleProtocol
	if w.id%3 == 1 {
		mode = pgx.QueryExecModeExec
	}
	for _, sql := range []string{"BEGIN", insert, fmt.Sprintf("UPDATE kv SET v = v + 1 WHERE k = %d", w.id)} {
		if _, err := conn.Exec(ctx, sql, mode); err != nil {
			_, _ = conn.Exec(ctx, "ROLLBACK", pgx.QueryExecModeSimpleProtocol)
			return deed{told: toldNot, code: codeOf(err)}
		}
	}
	wrote := time.Now()
	tag, err := conn.Exec(ctx, "COMMIT", mode)
	switch code := codeOf(err); {
	case err == nil && tag.String() == "COMMIT":
		return deed{wrote: wrote}
	case err == nil:
		return deed{told: toldNot, code: tag.String()}
	case code == "40001":
		return deed{told: toldResolved, code: code}
	case code == "08007":
		w.mu.Lock()
		w.unknown = append(w.unknown, detailOf(err))
		w.mu.Unlock()
		return deed{told: toldUnknown, code: code}
	default:
		// The transaction was lost before its COMMIT, which was not sent.
		_, _ = conn.Exec(ctx, "ROLLBACK", pgx.QueryExecModeSimpleProtocol)
		return deed{told: toldNot, code: code}
	}
}

// codeOf is the SQLSTATE of an error, empty if the connection is lost.
func codeOf(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok && e.Severity != "FATAL" {
		return e.Code
	}
	return ""
}

// detailOf is the DETAIL of an error.
func detailOf(err error) string {
	if e, ok := errors.AsType[*pgconn.PgError](err); ok {
		return e.Detail
	}
	return ""
}

// campaign is what the failovers came to.
type campaign struct {
	t   *testing.T
	p   *cluster.PatroniCluster
	s   *sidecar
	all []*settler

	judged       []int // for each client, how many of its deeds
	told         []int // and how many of its losses
	gaps, delays []time.Duration
	// each is how long each client waited for its first write after each failover,
	// alone that of those that wait for the new primary only: when a replica
	// follows that one is the cluster's own time.
	each, alone []time.Duration
	done        int
	before      map[router.Outcome]uint64
	ambiguous   int
	lost        int // acknowledged writes that are not there
	losers      int // clients that have lost some
	sureLoss    int
	maybeLoss   int
	// needless counts who was told that a write may be lost and has lost none.
	// That is no broken promise: the switch point lay between what was known
	// before the last write and what was known after it, and of the many records
	// there, by everybody, the client's own was among those that are kept.
	needless int
	wrong    []string
	codes    map[string]int
}

// failover kills the primary, waits until all clients go on, and judges.
func (c *campaign) failover(n int) error {
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	leader, err := c.p.Leader(ctx)
	if err != nil {
		return err
	}
	if c.judged == nil {
		c.judged, c.told, c.codes = make([]int, len(c.all)), make([]int, len(c.all)), map[string]int{}
		c.before = c.s.srv.Router().Stats().Commits
	}
	// Everybody has written since the last time.
	if err := c.goOn(ctx, time.Now(), 20); err != nil {
		return err
	}
	took := make(chan time.Time, len(c.p.Members()))
	watch, end := context.WithCancel(ctx)
	defer end()
	for _, m := range c.p.Members() {
		if m != leader {
			go awaitPromotion(watch, m, took) // ends with end
		}
	}
	killed := time.Now()
	if err := leader.KillPostgres(); err != nil {
		return err
	}
	var accepts time.Time
	select {
	case accepts = <-took:
	case <-ctx.Done():
		return fmt.Errorf("no new primary: %w", context.Cause(ctx))
	}
	if err := c.goOn(ctx, accepts, 3); err != nil {
		return err
	}
	c.gaps = append(c.gaps, accepts.Sub(killed))
	each := c.first(accepts)
	c.each = append(c.each, each...)
	for i, w := range c.all {
		if w.alone() {
			c.alone = append(c.alone, each[i])
		}
	}
	c.delays = append(c.delays, slices.Min(each))
	if err := c.p.WaitSteady(ctx); err != nil {
		return err
	}
	if err := c.judge(ctx); err != nil {
		return err
	}
	c.t.Logf("failover %d of %s: %s, first write %s later, of the last client %s; so far COMMITs %v, %d of %d writes lost by %d clients, told %d lost and %d (%d) may be, %d wrong",
		n, leader, c.gaps[len(c.gaps)-1].Round(time.Millisecond), c.delays[len(c.delays)-1].Round(time.Millisecond), slices.Max(each).Round(time.Millisecond),
		c.s.srv.Router().Stats().Commits, c.lost, c.done, c.losers, c.sureLoss, c.maybeLoss, c.needless, len(c.wrong))
	return nil
}

// awaitPromotion asks m, as often as it answers, and says when it is a primary.
func awaitPromotion(ctx context.Context, m *cluster.PatroniMember, took chan<- time.Time) {
	var conn *pgx.Conn
	defer func() { hangUp(conn) }()
	for ctx.Err() == nil {
		var err error
		if conn == nil || conn.IsClosed() {
			if conn, err = pgx.Connect(ctx, m.DSN(cluster.SuperUser, cluster.SuperPassword, cluster.AppDatabase)); err != nil {
				rest(ctx, 20*time.Millisecond)
				continue
			}
		}
		text, err := simple(ctx, conn, "SELECT pg_is_in_recovery()")
		if err == nil && text == "f" {
			took <- time.Now()
			return
		}
		rest(ctx, 5*time.Millisecond)
	}
}

// goOn waits until every client has done n deeds after a time.
func (c *campaign) goOn(ctx context.Context, after time.Time, n int) error {
	return until(ctx, "all clients go on", func() (bool, error) {
		for _, w := range c.all {
			w.mu.Lock()
			ok := len(w.deeds) >= n && w.deeds[len(w.deeds)-n].at.After(after)
			w.mu.Unlock()
			if !ok {
				return false, nil
			}
		}
		return true, nil
	})
}

// first is, for each client, how long after a time its first write since then
// was acknowledged.
func (c *campaign) first(after time.Time) []time.Duration {
	list := make([]time.Duration, len(c.all))
	for i, w := range c.all {
		w.mu.Lock()
		list[i] = firstDone(w.deeds, after)
		w.mu.Unlock()
	}
	return list
}

// judge compares what the clients were told since the last time with what there
// is.
func (c *campaign) judge(ctx context.Context) error {
	leader, err := c.p.Leader(ctx)
	if err != nil {
		return err
	}
	upTo := make([]int, len(c.all))
	for i, w := range c.all {
		upTo[i] = w.count()
	}
	for i, w := range c.all {
		text, err := leader.QueryString(ctx, "SELECT coalesce(string_agg(n::text, ','), '') FROM deeds WHERE client = $1 AND n > $2", w.id, c.judged[i])
		if err != nil {
			return err
		}
		there := map[string]bool{}
		for n := range strings.SplitSeq(text, ",") {
			there[n] = true
		}
		w.mu.Lock()
		deeds, losses := slices.Clone(w.deeds[c.judged[i]:upTo[i]]), slices.Clone(w.losses[c.told[i]:])
		c.told[i] = len(w.losses)
		w.mu.Unlock()
		c.judged[i] = upTo[i]
		c.judgeClient(w.id, deeds, losses, there)
	}
	return nil
}

func (c *campaign) judgeClient(id int, deeds []deed, losses []loss, there map[string]bool) {
	var missing []int
	for _, d := range deeds {
		is := there[fmt.Sprint(d.n)]
		if d.code != "" {
			c.codes[d.code]++
		}
		switch d.told {
		case toldDone:
			c.done++
			if !is {
				missing = append(missing, d.n)
			}
		case toldNot, toldResolved:
			if is {
				c.wrong = append(c.wrong, fmt.Sprintf("client %d: deed %d was told not to have happened (%s), and it has", id, d.n, d.code))
			}
		case toldAmbiguous:
			c.ambiguous++
		}
	}
	c.lost += len(missing)
	sure, maybe := 0, 0
	for _, l := range losses {
		switch l.code {
		case "PR002":
			sure++
		case "PR003":
			maybe++
		}
	}
	c.sureLoss, c.maybeLoss = c.sureLoss+sure, c.maybeLoss+maybe
	switch {
	case len(missing) > 0:
		c.losers++
		if sure+maybe == 0 {
			c.wrong = append(c.wrong, fmt.Sprintf("client %d: %v are lost, and nobody has told it", id, missing))
		}
	case sure > 0:
		c.wrong = append(c.wrong, fmt.Sprintf("client %d was told that a write is lost, and none is", id))
	default:
		c.needless += maybe
	}
}

// summary prints the numbers, and what must not be.
func (c *campaign) summary() {
	after := c.s.srv.Router().Stats().Commits
	commits := make(map[router.Outcome]uint64)
	for o := range after {
		commits[o] = after[o] - c.before[o]
	}
	asked := commits[router.OutcomeCommitted] + commits[router.OutcomeAborted] + commits[router.OutcomeUnknown]
	known := commits[router.OutcomeCommitted] + commits[router.OutcomeAborted]
	broken, why := 0, map[string]int{}
	for _, w := range c.all {
		for _, reason := range w.unknown {
			why[reason]++
		}
		broken += len(w.broken)
		for _, b := range w.broken {
			c.wrong = append(c.wrong, fmt.Sprintf("client %d: its connection broke: %s", w.id, b))
		}
	}
	slices.Sort(c.gaps)
	slices.Sort(c.delays)
	slices.Sort(c.each)
	slices.Sort(c.alone)
	var b strings.Builder
	fmt.Fprintf(&b, "%-52s %d\n", "failovers (kill -9 of the primary)", len(c.gaps))
	fmt.Fprintf(&b, "%-52s %d\n", "acknowledged writes", c.done)
	fmt.Fprintf(&b, "%-52s %d committed, %d aborted, %d unknown, %d without a number\n", "COMMITs without an answer",
		commits[router.OutcomeCommitted], commits[router.OutcomeAborted], commits[router.OutcomeUnknown], commits[router.OutcomeNotAsked])
	if asked > 0 {
		fmt.Fprintf(&b, "%-52s %.1f %%\n", "of those with a number, resolved", 100*float64(known)/float64(asked))
	}
	for reason, n := range why {
		fmt.Fprintf(&b, "%-52s %d: %s\n", "not known", n, reason)
	}
	fmt.Fprintf(&b, "%-52s %d\n", "single writes without an answer", c.ambiguous)
	fmt.Fprintf(&b, "%-52s %d of %d clients\n", "acknowledged writes that the failovers lost", c.lost, c.losers)
	fmt.Fprintf(&b, "%-52s %d lost, %d may be lost (%d of them have lost nothing)\n", "clients told", c.sureLoss, c.maybeLoss, c.needless)
	fmt.Fprintf(&b, "%-52s %d\n", "connections that broke", broken)
	fmt.Fprintf(&b, "%-52s p50 %s, p95 %s, max %s\n", "kill until the new primary accepts writes", quantile(c.gaps, 50), quantile(c.gaps, 95), quantile(c.gaps, 100))
	fmt.Fprintf(&b, "%-52s p50 %s, p95 %s, max %s\n", "from then until somebody's first write", quantile(c.delays, 50), quantile(c.delays, 95), quantile(c.delays, 100))
	fmt.Fprintf(&b, "%-52s p50 %s, p95 %s, max %s\n", "from then until each client's first write", quantile(c.each, 50), quantile(c.each, 95), quantile(c.each, 100))
	fmt.Fprintf(&b, "%-52s p50 %s, p95 %s, max %s\n", "of those that wait for no replica", quantile(c.alone, 50), quantile(c.alone, 95), quantile(c.alone, 100))
	fmt.Fprintf(&b, "%-52s %v\n", "errors", c.codes)
	fmt.Fprintf(&b, "%-52s %d", "told wrongly", len(c.wrong))
	c.t.Log("\n" + b.String())
	for _, line := range c.wrong {
		c.t.Error(line)
	}
	if *strictFlag {
		for _, line := range shortOf(known, asked, c.alone) {
			c.t.Error(line)
		}
	}
	if c.codes["57P03"] > 0 {
		c.t.Error("clients were told that there is no primary")
	}
}

func quantile(sorted []time.Duration, percent int) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	i := (len(sorted)*percent+99)/100 - 1
	return sorted[max(i, 0)].Round(time.Millisecond)
}
