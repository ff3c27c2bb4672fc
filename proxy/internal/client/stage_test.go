package client_test

import (
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pgroute/pgroute/internal/sqlclass"
	"github.com/pgroute/pgroute/lsn"
	"github.com/pgroute/pgroute/proxy/internal/backend"
	"github.com/pgroute/pgroute/proxy/internal/client"
	"github.com/pgroute/pgroute/proxy/internal/settings"
	"github.com/pgroute/pgroute/router"
)

// calm is a cluster of a primary p and two replicas a and b in which nothing
// ever happens.
type calm struct{ replica bool }

func (calm) Connect(_ context.Context, addr router.Addr) (router.Probe, error) {
	return calm{replica: addr.Name != "p"}, nil
}

func (c calm) Identify(ctx context.Context) (router.Status, error) {
	return still{c.replica}.Identify(ctx)
}

func (calm) Replay(ctx context.Context) (router.Reading, error) { return still{}.Replay(ctx) }

func (calm) Insert(ctx context.Context) (insert, flush lsn.LSN, err error) {
	return still{}.Insert(ctx)
}

func (calm) Nudge(context.Context) error { return nil }

func (calm) Close() error { return nil }

func (calm) Watch(ctx context.Context, publish func(router.Candidates)) error {
	var c router.Candidates
	for i, name := range []string{"p", "a", "b"} {
		c.Nodes = append(c.Nodes, router.Candidate{Addr: router.Addr{Name: name, Host: name, Port: i + 1}})
	}
	publish(c)
	<-ctx.Done()
	return nil
}

// patience is how long a test waits for what is to happen, on a busy machine.
const patience = 2 * time.Minute

// ring is the one router of this package's scenarios.
var ring = sync.OnceValues(func() (*router.Router, error) {
	r, err := router.New(router.Config{Source: calm{}, Prober: calm{}, HealthInterval: time.Hour,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		return nil, err
	}
	go r.Run(context.Background()) // it ends with the tests
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return r, r.WaitTopology(ctx, func(t *router.Topology) bool { return t.Primary != nil && t.Replicas() == 2 })
})

// catalogue is that of an empty database.
var catalogue = sync.OnceValues(func() (*sqlclass.Catalogue, error) {
	return sqlclass.Load(context.Background(), recorded{})
})

// recorded answers the catalogue's queries with what PostgreSQL 15 answered.
type recorded struct{}

func (recorded) Query(_ context.Context, sql string) ([][]string, error) {
	if sql == sqlclass.FingerprintQuery {
		return [][]string{{"1", "1", "1"}}, nil
	}
	for marker, file := range map[string]string{
		"bool_or(provolatile = 'v')": "../../../internal/sqlclass/testdata/functions15.tsv",
	} {
		if !strings.Contains(sql, marker) {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		var rows [][]string
		for line := range strings.Lines(string(text)) {
			rows = append(rows, strings.Split(strings.TrimSuffix(line, "\n"), "\t"))
		}
		return rows, nil
	}
	if strings.Contains(sql, "server_version_num") {
		return [][]string{{"150018"}}, nil
	}
	return nil, nil
}

// calmDB is a database that never changes by itself.
type calmDB struct {
	cat     *sqlclass.Catalogue
	changed int
	stale   bool
}

func (d *calmDB) Catalogue() (*sqlclass.Catalogue, uint64, bool) { return d.cat, 1, !d.stale }

func (d *calmDB) Changed() { d.changed++ }

func (d *calmDB) Changes() uint64 { return uint64(d.changed) }

// stage is where clients act: what event loops do, in the order that a
// scenario says.
type stage struct {
	testing.TB
	r     *router.Router
	nodes map[string]*router.Node
	env   *client.Env
	db    *calmDB
	idle  map[string][]*backend.State // by node, the last is used first
	actor map[string]*actor
	rnd   *rand.Rand // nil: input comes whole
	bytes bool       // input comes in single bytes
	// captures: backends of the primary may be asked in front of a COMMIT.
	captures bool
}

func newStage(t testing.TB) *stage {
	t.Helper()
	r, err := ring()
	if err != nil {
		t.Fatal(err)
	}
	cat, err := catalogue()
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{TB: t, r: r, nodes: map[string]*router.Node{}, db: &calmDB{cat: cat}, idle: map[string][]*backend.State{}, actor: map[string]*actor{}}
	for _, n := range r.Topology().Nodes {
		s.nodes[n.Name] = n
	}
	s.env = &client.Env{Router: r, Settings: settings.NewInterner(64), Statements: client.NewStatements(64),
		GatherLimit: 64 << 10, Stats: new(client.Stats), Now: time.Now(), SharedListen: true}
	s.env.Init()
	return s
}

// backend returns an idle backend of a node.
func (s *stage) backend(name string) *backend.State {
	if l := s.idle[name]; len(l) > 0 {
		s.idle[name] = l[:len(l)-1]
		return l[len(l)-1]
	}
	n := s.nodes[name]
	return &backend.State{Node: n, Primary: n.Role() == router.RolePrimary, Era: s.r.Topology().Era(), Settings: s.env.Settings.Empty(), Tx: 'I',
		Captures: s.captures && n.Role() == router.RolePrimary}
}
