package proxy_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/proxy"
	"github.com/pgroute/pgroute/proxy/internal/wire"
)

// hears reads up to a notification on a channel and returns its payload.
func (p *peer) hears(t testing.TB, channel string) string {
	t.Helper()
	for {
		m, err := p.next()
		if err != nil {
			t.Fatal(err)
		}
		if m.typ != 'A' {
			continue
		}
		name, rest, _ := wire.CString(m.body[4:])
		if string(name) == channel {
			payload, _, _ := wire.CString(rest)
			return string(payload)
		}
	}
}

// notes are the payloads of the notifications among an answer's messages.
func notes(answer []string) []string {
	var out []string
	for _, m := range answer {
		if rest, ok := strings.CutPrefix(m, "A "); ok {
			parts := strings.Split(strings.Trim(rest, `"`), `\x00`)
			out = append(out, parts[len(parts)-2])
		}
	}
	return out
}

// listening is a proxy whose clients have few backends.
func listening(t *testing.T) *served {
	t.Helper()
	return start(t, proxy.Config{Source: source(use(t, trusting)), Auth: proxy.AuthTrust, PoolSize: 3, Loops: 2})
}

// Hundreds of clients listen, and none of them keeps a backend.
func TestManyListenOverOneConnection(t *testing.T) {
	s := listening(t)
	const clients = 400
	var peers []*peer
	for i := range clients {
		p := s.raw(t)
		if out := p.query(t, fmt.Sprintf("listen many_%d", i%10)); !has(out, `C "LISTEN`) {
			t.Fatalf("LISTEN is answered %q", out)
		}
		peers = append(peers, p)
	}
	if st := s.Stats().Listen; st.Listeners != clients || st.Channels != 10 {
		t.Errorf("the listeners count %+v", st)
	}
	if pins := pins(t, s); len(pins) > 0 {
		t.Errorf("clients are pinned: %q", pins)
	}
	n := s.raw(t)
	for i := range 10 {
		n.query(t, fmt.Sprintf("notify many_%d, 'to %d'", i, i))
	}
	for i, p := range peers {
		if got, want := p.hears(t, fmt.Sprintf("many_%d", i%10)), fmt.Sprintf("to %d", i%10); got != want {
			t.Fatalf("client %d hears %q, want %q", i, got, want)
		}
		if out := p.query(t, "select 1"); !has(out, "SELECT 1") {
			t.Fatalf("client %d is told %q", i, out)
		}
	}
	for _, p := range peers {
		p.conn.Close()
	}
	eventually(t, func() error {
		if st := s.Stats().Listen; st.Listeners != 0 || st.Channels != 0 {
			return fmt.Errorf("the listeners count %+v", st)
		}
		return nil
	})
}

// What a client notifies itself comes before its ReadyForQuery, and so does
// what was acknowledged to somebody else before its cycle began.
func TestNotificationsComeWithTheCycle(t *testing.T) {
	s := listening(t)
	l, n := s.raw(t), s.raw(t)
	l.query(t, "listen timely")
	for i := range 200 {
		want := fmt.Sprint(i)
		if got := notes(l.query(t, "notify timely, '"+want+"'")); !slices.Equal(got, []string{want}) {
			t.Fatalf("round %d: its own notification: %q", i, got)
		}
		n.query(t, "notify timely, 'other "+want+"'")
		sql := []string{"select 1", "insert into timely_t values (1)", "begin; commit"}[i%3]
		if got := notes(l.query(t, sql)); !slices.Equal(got, []string{"other " + want}) {
			t.Fatalf("round %d: %s brings %q", i, sql, got)
		}
	}
}

// LISTEN in a transaction counts from its COMMIT on, without a pin.
func TestListenInTransactions(t *testing.T) {
	s := listening(t)
	n := s.raw(t)
	for _, tt := range []struct {
		name  string
		said  []string
		heard []string
	}{
		{"commit", []string{"begin", "listen tx_a", "commit"}, []string{"a"}},
		{"after a read", []string{"begin", "select 1", "listen tx_a", "select 1", "commit"}, []string{"a"}},
		{"rollback", []string{"begin", "listen tx_a", "rollback"}, nil},
		{"failed", []string{"begin", "listen tx_a", "select 1/0", "listen tx_b", "commit"}, nil},
		{"savepoint", []string{"begin", "listen tx_a", "savepoint s", "listen tx_b", "rollback to s", "commit"}, []string{"a"}},
		{"unlisten", []string{"listen tx_a", "listen tx_b", "begin", "unlisten tx_a", "commit"}, []string{"b"}},
		{"unlisten rolled back", []string{"listen tx_a", "begin", "unlisten *", "rollback"}, []string{"a"}},
		{"read only", []string{"begin read only", "listen tx_a", "commit"}, []string{"a"}},
		{"read only, used", []string{"begin read only", "select 1", "listen tx_a", "commit"}, []string{"a"}},
		{"discard", []string{"listen tx_a", "discard all"}, nil},
		{"unlisten all", []string{"listen tx_a", "close all; unlisten *; reset all"}, nil},
		{"several", []string{"listen tx_a; listen tx_b"}, []string{"a", "b"}},
		{"case", []string{`listen "TX_A"; listen TX_B`}, []string{"b"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			direct, err := login(use(t, trusting).Primary().Addr(), cluster.SuperUser, cluster.AppDatabase)
			if err != nil {
				t.Fatal(err)
			}
			defer direct.conn.Close()
			for who, p := range map[string]*peer{"direct": direct, "proxied": s.raw(t)} {
				for _, sql := range tt.said {
					p.query(t, sql)
				}
				n.query(t, "notify tx_a, 'a'")
				n.query(t, "notify tx_b, 'b'")
				if got := notes(p.query(t, "insert into notified values (1)")); !slices.Equal(got, tt.heard) {
					t.Errorf("%s: it hears %q, want %q", who, got, tt.heard)
				}
			}
			for _, c := range pins(t, s) {
				if c == "LISTEN" {
					t.Error("a client is pinned by LISTEN")
				}
			}
		})
	}
}

// pins returns the pins of all clients.
func pins(t testing.TB, s *served) []string {
	t.Helper()
	admin, err := pgx.Connect(t.Context(), s.dsnOf(cluster.SuperUser, "pgroute", ""))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(t.Context())
	rows, err := admin.Query(t.Context(), "SHOW CLIENTS", pgx.QueryExecModeSimpleProtocol)
	if err != nil {
		t.Fatal(err)
	}
	list, err := pgx.CollectRows(rows, pgx.RowToMap)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, row := range list {
		if pin, ok := row["pin"].(string); ok {
			out = append(out, pin)
		}
	}
	return out
}

// A client that is told of a row finds it, wherever it reads.
func TestNotifiedRowIsThere(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Trust: true, Replicas: 1})
	s := start(t, proxy.Config{Source: source(c), Auth: proxy.AuthTrust,
		Policy: proxy.Policy{Wait: 50 * time.Millisecond}})
	l, n := s.raw(t), s.raw(t)
	n.query(t, "create table announced (v int)")
	l.query(t, "set pgroute.scope = connection")
	l.query(t, "listen announced")
	r := c.Replicas()[0]
	for i := range 5 {
		eventually(t, func() error {
			l.query(t, "select count(*) from announced")
			if role := l.lastRole(t); role != "replica" {
				return errString("it reads on the " + role)
			}
			return nil
		})
		if err := r.StopReplay(t.Context()); err != nil {
			t.Fatal(err)
		}
		n.query(t, fmt.Sprintf("begin; insert into announced values (%d); notify announced, '%d'; commit", i, i))
		if got := l.hears(t, "announced"); got != fmt.Sprint(i) {
			t.Fatalf("it hears %q", got)
		}
		if got := l.query(t, fmt.Sprintf("select count(*) from announced where v = %d", i)); !has(got, `\x011`) {
			t.Fatalf("round %d: it reads %q", i, got)
		}
		if err := r.Thaw(); err != nil {
			t.Fatal(err)
		}
	}
}

// A lost connection is replaced, and everybody is told.
func TestLostListener(t *testing.T) {
	s := listening(t)
	l, busy, n := s.raw(t), s.raw(t), s.raw(t)
	l.query(t, "listen lost_a")
	busy.query(t, "listen lost_a")
	busy.query(t, "begin")
	if out := n.query(t, `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()
		and application_name = 'pgroute listener'`); !has(out, `\x01t`) {
		t.Fatalf("the listener is not found: %q", out)
	}
	if m := l.until(t, 'N'); !strings.Contains(m.String(), "may have been missed") {
		t.Errorf("an idle client is told %s", m)
	}
	if out := busy.query(t, "select 1"); has(out, "missed") {
		t.Errorf("a client in a transaction is told %q", out)
	}
	if out := busy.query(t, "commit"); !has(out, "may have been missed") {
		t.Errorf("at the end of its transaction it is told %q", out)
	}
	n.query(t, "notify lost_a, 'again'")
	for _, p := range []*peer{l, busy} {
		if got := p.hears(t, "lost_a"); got != "again" {
			t.Errorf("it hears %q", got)
		}
	}
	if st := s.Stats().Listen; st.Reconnects != 1 {
		t.Errorf("it was replaced %d times", st.Reconnects)
	}
}

// A failover closes no client that listens.
func TestFailoverKeepsListeners(t *testing.T) {
	c := cluster.Start(t, cluster.Options{Trust: true, Replicas: 1})
	s := start(t, proxy.Config{Source: source(c), Auth: proxy.AuthTrust, PoolSize: 3})
	var peers []*peer
	for range 20 {
		p := s.raw(t)
		p.query(t, "listen failing")
		peers = append(peers, p)
	}
	if err := c.Failover(t.Context(), c.Replicas()[0]); err != nil {
		t.Fatal(err)
	}
	for _, p := range peers {
		if m := p.until(t, 'N'); !strings.Contains(m.String(), "may have been missed") {
			t.Fatalf("a client is told %s", m)
		}
	}
	peers[0].query(t, "notify failing, 'promoted'")
	for _, p := range peers[1:] {
		if got := p.hears(t, "failing"); got != "promoted" {
			t.Fatalf("it hears %q", got)
		}
	}
}

// A driver that speaks the extended protocol, and asks what it listens to.
func TestListenExtended(t *testing.T) {
	s := listening(t)
	c, n := s.connect(t, ""), s.connect(t, "")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := c.Exec(ctx, "listen ext_a", pgx.QueryExecModeExec); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Prepare(ctx, "l", `listen "ext B"`); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Exec(ctx, "l"); err != nil {
		t.Fatal(err)
	}
	if pins := pins(t, s); len(pins) > 0 {
		t.Errorf("clients are pinned: %q", pins)
	}
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeSimpleProtocol, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
		rows, err := c.Query(ctx, "select pg_listening_channels()", mode)
		if err != nil {
			t.Fatal(err)
		}
		got, err := pgx.CollectRows(rows, pgx.RowTo[string])
		slices.Sort(got)
		if err != nil || !slices.Equal(got, []string{"ext B", "ext_a"}) {
			t.Errorf("%v: it listens to %q, %v", mode, got, err)
		}
	}
	for _, channel := range []string{"ext B", "ext_a"} {
		if _, err := n.Exec(ctx, "select pg_notify($1, 'x')", channel); err != nil {
			t.Fatal(err)
		}
		if got, err := c.WaitForNotification(ctx); err != nil || got.Channel != channel {
			t.Fatalf("it hears %v, %v", got, err)
		}
	}
	// Once only, although it has a backend of its own now that listens too.
	for _, payload := range []string{"once", "twice"} {
		if _, err := c.Exec(ctx, "notify ext_a, '"+payload+"'"); err != nil {
			t.Fatal(err)
		}
		if got, err := c.WaitForNotification(ctx); err != nil || got.Payload != payload {
			t.Fatalf("it hears %v, %v", got, err)
		}
	}
	var e *pgconn.PgError
	if _, err := c.Exec(ctx, `listen "`+strings.Repeat("x", 100)+`" y`); !errors.As(err, &e) || e.Code != "42601" {
		t.Errorf("a name that is none: %v", err)
	}
}

// A client that does not read loses notifications, not memory of the proxy's,
// and is told.
func TestListenerThatDoesNotRead(t *testing.T) {
	s := listening(t)
	l, other, n := s.raw(t), s.raw(t), s.raw(t)
	l.query(t, "listen flood")
	other.query(t, "listen flood")
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for other.hears(t, "flood") != "end" {
		}
	}()
	payload := strings.Repeat("x", 7000)
	for i := 0; s.Stats().Listen.Dropped == 0; i++ {
		n.query(t, fmt.Sprintf("select pg_notify('flood', '%s ' || g) from generate_series(%d, %d) g", payload, i*200, i*200+199))
	}
	// On a busy machine the one who reads may miss some, too.
	for reading := true; reading; {
		n.query(t, "notify flood, 'end'")
		select {
		case <-ended:
			reading = false
		default:
		}
	}
	if m := l.until(t, 'N'); !strings.Contains(m.String(), "dropped") {
		t.Errorf("it is told %s", m)
	}
	n.query(t, "notify flood, 'again'")
	for l.hears(t, "flood") != "again" {
	}
}

// A channel is named as the server names it, and what the server refuses is
// refused.
func TestChannelNames(t *testing.T) {
	s := listening(t)
	for _, name := range []string{
		"simple", "CamelCase", `"CamelCase"`, `"with ""quotes"""`, `"semi; colon"`, `"ä"`, "ä", "_x$1", "name", "select", "left", "between",
		strings.Repeat("l", 63), strings.Repeat("l", 64), `"` + strings.Repeat("ä", 40) + `"`, `U&"\0061"`, "a.b", "1a", "''", "*", `""`, "",
	} {
		direct, err := login(use(t, trusting).Primary().Addr(), cluster.SuperUser, cluster.AppDatabase, "client_encoding", "UTF8")
		if err != nil {
			t.Fatal(err)
		}
		proxied, err := login(s.addr(), cluster.SuperUser, cluster.AppDatabase, "client_encoding", "UTF8")
		if err != nil {
			t.Fatal(err)
		}
		for _, sql := range []string{"listen " + name, "select * from pg_listening_channels()", "unlisten " + name, "begin", "listen " + name,
			"commit", "select count(*) from pg_listening_channels() c", "unlisten *", "select count(*) from pg_listening_channels() c"} {
			want, got := direct.query(t, sql), proxied.query(t, sql)
			if !slices.Equal(got, want) {
				t.Errorf("%s: %s is answered %q, want %q", name, sql, got, want)
			}
		}
		direct.conn.Close()
		proxied.conn.Close()
	}
}

// Who cannot share the listener has a backend of its own that listens.
func TestListenOnAnOwnBackend(t *testing.T) {
	shared := listening(t)
	session := start(t, proxy.Config{Source: source(use(t, trusting)), Auth: proxy.AuthTrust, PoolMode: proxy.PoolSession})
	for _, tt := range []struct {
		name   string
		s      *served
		params []string
		listen string
		want   string
	}{
		{"pool mode session", session, nil, "listen own_a", "\u00e9"},
		{"another encoding", shared, []string{"client_encoding", "LATIN1"}, "listen own_a", "\xe9"},
		{"among others", shared, []string{"client_encoding", "UTF8"}, "select 1; listen own_a", "\u00e9"},
		{"in a function", shared, []string{"client_encoding", "UTF8"}, "do $$ begin execute 'listen own_a'; end $$", "\u00e9"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l, err := login(tt.s.addr(), cluster.SuperUser, cluster.AppDatabase, tt.params...)
			if err != nil {
				t.Fatal(err)
			}
			defer l.conn.Close()
			l.query(t, tt.listen)
			if st := tt.s.Stats().Listen; st.Listeners != 0 {
				t.Errorf("the shared listener counts %+v", st)
			}
			if err := l.send(wire.AppendQuery(nil, "select pg_notify('own_a', chr(233))"), nil); err != nil {
				t.Fatal(err)
			}
			if got := l.hears(t, "own_a"); got != tt.want {
				t.Errorf("it hears %q, want %q", got, tt.want)
			}
		})
	}
}

// TestPinEndsWhileListening: what pins a client that listens as well is looked
// for like that of any other.
func TestPinEndsWhileListening(t *testing.T) {
	s := listening(t)
	p := s.raw(t)
	p.query(t, "listen pin_ends")
	p.query(t, "create temp table pin_ends (a int)")
	if got := pins(t, s); len(got) != 1 {
		t.Fatalf("pinned are %q", got)
	}
	p.query(t, "drop table pin_ends")
	eventually(t, func() error {
		if got := pins(t, s); len(got) > 0 {
			p.query(t, "select 1")
			return errString("pinned are " + strings.Join(got, ", "))
		}
		return nil
	})
}
