package proxy_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/proxy"
)

// TestSettingsStayWithTheirClient: many clients with settings of their own
// over two backends of each node, each checking its own all the time.
func TestSettingsStayWithTheirClient(t *testing.T) {
	s := start(t, proxy.Config{Source: source(use(t, trusting)), Auth: proxy.AuthTrust, PoolSize: 2})
	setup := s.connect(t, "")
	if _, err := setup.Exec(t.Context(), "create table if not exists settings_t (a int); grant all on settings_t to app"); err != nil {
		t.Fatal(err)
	}
	zones := []string{"UTC", "Asia/Tokyo", "Europe/Berlin", "America/Lima"}
	var clients sync.WaitGroup
	for i := range 50 {
		name, zone := fmt.Sprintf("client %d", i), zones[i%len(zones)]
		var c *pgx.Conn
		if i%3 == 0 {
			c = s.connect(t, fmt.Sprintf("application_name=client%%20%d&timezone=%s", i, zone))
		} else {
			c = s.connect(t, "")
		}
		clients.Go(func() { settingsClient(t, c, i, name, zone) })
	}
	clients.Wait()
}

func settingsClient(t *testing.T, c *pgx.Conn, i int, name, zone string) {
	ctx := t.Context()
	exec := func(sql string) bool {
		if _, err := c.Exec(ctx, sql); err != nil {
			t.Errorf("client %d: %s: %v", i, sql, err)
			return false
		}
		return true
	}
	user := cluster.SuperUser
	setup := []string{fmt.Sprintf("set application_name = 'client %d'", i), "set timezone = '" + zone + "'", fmt.Sprintf("set search_path = s%d, public", i)}
	if i%3 == 0 {
		setup = setup[2:]
	}
	if i%2 == 0 {
		setup = append(setup, "set role app")
		user = cluster.AppUser
	}
	mem := 100 + i
	for _, sql := range append(setup, fmt.Sprintf("set work_mem = '%dkB'", mem)) {
		if !exec(sql) {
			return
		}
	}
	const mine = "select concat_ws('|', current_setting('application_name'), current_setting('timezone'), current_setting('search_path'), current_setting('work_mem'), current_user)"
	for round := range 12 {
		want := fmt.Sprintf("%s|%s|s%d, public|%dkB|%s", name, zone, i, mem, user)
		var got string
		for _, sql := range []string{mine, "with x as (insert into settings_t values (1) returning 1) " + mine} {
			if err := c.QueryRow(ctx, sql).Scan(&got); err != nil || got != want {
				t.Errorf("client %d, round %d: %s has %q, %v; want %q", i, round, sql[:6], got, err, want)
				return
			}
		}
		switch (round + i) % 4 {
		case 0: // a new value
			mem += 100
			exec(fmt.Sprintf("set work_mem = '%dkB'", mem))
		case 1: // one that is taken back
			if exec("begin") && exec("set work_mem = '5MB'") && exec("set timezone = 'UTC'") {
				exec("rollback")
			}
		case 2: // one that ends with its transaction
			if exec("begin") && exec("set local work_mem = '6MB'") {
				if err := c.QueryRow(ctx, "show work_mem").Scan(&got); err != nil || got != "6MB" {
					t.Errorf("client %d: SET LOCAL: %q, %v", i, got, err)
				}
				exec("commit")
			}
		case 3: // one that fails
			if _, err := c.Exec(ctx, "set work_mem = 'much'"); err == nil {
				t.Errorf("client %d: a bad value is accepted", i)
			}
		}
	}
}

// TestStatementsStayWithTheirClient: names are each client's own, texts are
// shared, and two backends serve all.
func TestStatementsStayWithTheirClient(t *testing.T) {
	s := start(t, proxy.Config{Source: source(use(t, trusting)), Auth: proxy.AuthTrust, PoolSize: 2})
	var clients sync.WaitGroup
	for i := range 24 {
		c := s.connect(t, "default_query_exec_mode=exec").PgConn()
		clients.Go(func() {
			ctx := t.Context()
			if _, err := c.Prepare(ctx, "same", "select $1::int + 1", nil); err != nil {
				t.Error(err)
				return
			}
			// The text of own differs between clients, that of many too.
			if _, err := c.Prepare(ctx, "own", fmt.Sprintf("select $1::int + %d", 1000*i), nil); err != nil {
				t.Error(err)
				return
			}
			run := func(name string, want int) bool {
				r := c.ExecPrepared(ctx, name, [][]byte{[]byte("7")}, nil, nil).Read()
				if r.Err != nil || len(r.Rows) != 1 || string(r.Rows[0][0]) != fmt.Sprint(want) {
					t.Errorf("client %d: %s: %q, %v; want %d", i, name, r.Rows, r.Err, want)
					return false
				}
				return true
			}
			for round := range 40 {
				if !run("same", 8) || !run("own", 7+1000*i) {
					return
				}
				name := fmt.Sprintf("many%d", round)
				if _, err := c.Prepare(ctx, name, fmt.Sprintf("select $1::int + %d", 100000+1000*i+round), nil); err != nil {
					t.Errorf("client %d: %v", i, err)
					return
				}
				if !run(name, 100007+1000*i+round) {
					return
				}
				if round%3 == 0 {
					if err := c.Deallocate(ctx, name); err != nil {
						t.Errorf("client %d: %v", i, err)
					}
					if r := c.ExecPrepared(ctx, name, [][]byte{[]byte("7")}, nil, nil).Read(); r.Err == nil || !strings.Contains(r.Err.Error(), `"`+name+`"`) {
						t.Errorf("client %d: after it was closed, %s says %v", i, name, r.Err)
					}
				}
				if round%5 == 0 { // the unnamed statement comes from this client
					if r := c.ExecParams(ctx, fmt.Sprintf("select %d", i), nil, nil, nil, nil).Read(); r.Err != nil || string(r.Rows[0][0]) != fmt.Sprint(i) {
						t.Errorf("client %d: %v", i, r.Err)
					}
				}
			}
		})
	}
	clients.Wait()
}

// TestUnnamedStatementIsNotShared: what a client has not parsed it cannot
// run, though the backend has something.
func TestUnnamedStatementIsNotShared(t *testing.T) {
	s := start(t, proxy.Config{Source: source(use(t, trusting)), Auth: proxy.AuthTrust, PoolSize: 1})
	a, b := s.enter(t), s.enter(t)
	parse := frame('P', "\x00create table if not exists somebody_elses (a int)\x00\x00\x00")
	run := append(frame('B', "\x00\x00\x00\x00\x00\x00\x00\x00"), frame('E', "\x00\x00\x00\x00\x00")...)
	sync := frame('S', "")
	ask := func(p *peer, msgs ...[]byte) string {
		t.Helper()
		for _, m := range msgs {
			if err := p.send(m, nil); err != nil {
				t.Fatal(err)
			}
		}
		out, err := p.answer()
		if err != nil {
			t.Fatal(err)
		}
		return sqlState(out)
	}
	for range 3 {
		if code := ask(a, parse, sync); code != "" {
			t.Fatal(code)
		}
		if code := ask(b, run, sync); code != "26000" {
			t.Errorf("a client that has parsed nothing gets %q, want 26000", code)
		}
		// The Parse of b is skipped: it has still none.
		if code := ask(b, frame('C', "Pnothing\x00"), frame('B', "\x00nothing\x00\x00\x00\x00\x00\x00\x00"), frame('P', "\x00select 1\x00\x00\x00"), sync); code != "26000" {
			t.Fatal(code)
		}
		if code := ask(a, parse, sync); code != "" {
			t.Fatal(code)
		}
		if code := ask(b, run, sync); code != "26000" {
			t.Errorf("a client whose Parse was skipped gets %q, want 26000", code)
		}
		if code := ask(a, run, sync); code != "" {
			t.Errorf("who has parsed it gets %q", code)
		}
	}
}

// TestNotificationsArrive before the client can read elsewhere than they say.
func TestNotificationsArrive(t *testing.T) {
	s := use(t, plain)
	l, n := s.connect(t, ""), s.connect(t, "")
	exec := func(c *pgx.Conn, sql string) {
		t.Helper()
		if _, err := c.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	exec(n, "create table if not exists notify_t (a int)")
	exec(l, "listen notify_ch")
	for i := range 20 {
		exec(n, fmt.Sprintf("begin; insert into notify_t values (%d); notify notify_ch, '%d'; commit", i, i))
		got, err := l.WaitForNotification(t.Context())
		if err != nil || got.Payload != fmt.Sprint(i) {
			t.Fatalf("got %v, %v", got, err)
		}
		// Another connection reads what was announced.
		var count int
		if err := n.QueryRow(t.Context(), "select count(*) from notify_t where a = $1", i).Scan(&count); err != nil || count == 0 {
			t.Fatalf("the row that was announced: %d, %v", count, err)
		}
	}
	exec(l, "unlisten *")
	exec(n, "drop table notify_t")
}
