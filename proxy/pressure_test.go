package proxy_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/proxy"
	"github.com/pgroute/pgroute/proxy/internal/wire"
)

// heap is what is in use after a collection.
func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// grewBy checks that the heap holds no more than limit more than before. What
// somebody keeps, he keeps: what the monitors and the catalogue's watcher, who
// share the process, need for a moment is gone at another look.
func grewBy(t *testing.T, before, limit uint64) {
	t.Helper()
	eventually(t, func() error {
		if after := heap(); after > before+limit {
			return errString(fmt.Sprintf("the heap grew by %d KiB", (after-before)>>10))
		}
		return nil
	})
}

// TestLongPipelines: requests and answers that are both larger than all
// buffers together do not stop each other.
func TestLongPipelines(t *testing.T) {
	s := use(t, plain)
	const n = 10000
	value := string(bytes.Repeat([]byte{'v'}, 500))
	for _, x := range []struct {
		name   string
		begin  []byte
		each   func(b []byte) []byte
		end    []byte
		ready  int
		answer byte // the message of which there is one for each
	}{
		{"one Sync, unnamed", nil, func(b []byte) []byte {
			b = wire.AppendParse(b, nil, []byte("select $1::text, repeat('x', 2000)\x00\x00\x00"))
			b = wire.AppendBind(b, nil, nil, bindText(value))
			return append(b, frame('E', "\x00\x00\x00\x00\x00")...)
		}, wire.AppendSync(nil), 1, 'D'},
		{"one Sync, named", wire.AppendParse(nil, []byte("pipe"), []byte("select $1::text, repeat('x', 2000)\x00\x00\x00")), func(b []byte) []byte {
			b = wire.AppendBind(b, nil, []byte("pipe"), bindText(value))
			return append(b, frame('E', "\x00\x00\x00\x00\x00")...)
		}, wire.AppendSync(nil), 1, 'D'},
		{"a Sync each", wire.AppendSync(wire.AppendParse(nil, []byte("pipe"), []byte("select $1::text, repeat('x', 2000)\x00\x00\x00"))), func(b []byte) []byte {
			b = wire.AppendBind(b, nil, []byte("pipe"), bindText(value))
			return wire.AppendSync(append(b, frame('E', "\x00\x00\x00\x00\x00")...))
		}, nil, n + 1, 'D'},
		{"a Flush each", nil, func(b []byte) []byte {
			b = wire.AppendParse(b, nil, []byte("insert into pipeline_t values ($1)\x00\x00\x00"))
			b = wire.AppendBind(b, nil, nil, bindText(value))
			return append(append(b, frame('E', "\x00\x00\x00\x00\x00")...), frame('H', "")...)
		}, wire.AppendSync(nil), 1, 'C'},
		{"simple queries", nil, func(b []byte) []byte { return wire.AppendQuery(b, "select '"+value+"', repeat('x', 2000)") }, nil, n, 'D'},
	} {
		t.Run(x.name, func(t *testing.T) {
			p := s.enter(t)
			p.get(t, "drop table if exists pipeline_t; create table pipeline_t (a text)")
			var sender sync.WaitGroup
			sender.Go(func() {
				b := x.begin
				for range n {
					b = x.each(b)
					if len(b) > 100000 {
						if err := p.send(b, nil); err != nil {
							t.Error(err)
							return
						}
						b = b[:0]
					}
				}
				if err := p.send(append(b, x.end...), nil); err != nil {
					t.Error(err)
				}
			})
			got, ready := 0, 0
			for ready < x.ready {
				m, err := p.next()
				if err != nil {
					t.Fatalf("%v after %d answers", err, got)
				}
				switch m.typ {
				case 'E':
					t.Fatalf("%s after %d answers", m, got)
				case 'Z':
					ready++
				case x.answer:
					got++
				}
			}
			sender.Wait()
			if got != n {
				t.Errorf("%d answers, want %d", got, n)
			}
		})
	}
}

// bindText is what follows a Bind's names for one text parameter.
func bindText(v string) []byte {
	b := []byte{0, 0, 0, 1, 0, 0, byte(len(v) >> 8), byte(len(v))}
	return append(append(b, v...), 0, 0)
}

// TestSlowReaderHoldsLittleMemory: a client that does not read fills the sockets and a bounded
// queue, and disturbs nobody.
func TestSlowReaderHoldsLittleMemory(t *testing.T) {
	s := start(t, proxy.Config{Source: source(use(t, trusting)), Auth: proxy.AuthTrust, PoolSize: 4})
	others := s.enter(t)
	others.get(t, "create table if not exists slow_t (a int)")
	crowd := func() time.Duration {
		t.Helper()
		began := time.Now()
		for range 100 {
			others.get(t, "insert into slow_t values (1)")
			others.get(t, "select count(*) from slow_t")
		}
		return time.Since(began)
	}
	var many []byte
	for range 2000 {
		many = wire.AppendQuery(many, "select repeat('x', 200000)")
	}
	for _, x := range []struct {
		name    string
		request []byte
		size    int64 // of the answer at least
	}{
		{"one large result", wire.AppendQuery(nil, "select repeat('x', 1000) from generate_series(1, 100000)"), 100000 * 1000},
		{"one large value", wire.AppendQuery(nil, "select repeat('x', 100000000)"), 95 << 20},
		{"a large copy", wire.AppendQuery(nil, "copy (select repeat('x', 1000) from generate_series(1, 100000)) to stdout"), 95 << 20},
		{"many results", many, 2000 * 200000},
	} {
		t.Run(x.name, func(t *testing.T) {
			p := s.enter(t)
			calm := crowd()
			before := heap()
			if err := p.send(x.request, nil); err != nil {
				t.Fatal(err)
			}
			// The proxy has stopped reading the server once that waits for it.
			eventually(t, func() error {
				n := 0
				for _, node := range use(t, trusting).Nodes() {
					v, err := node.QueryString(t.Context(), "select count(*) from pg_stat_activity where wait_event = 'ClientWrite' and query like '%repeat(%'")
					if err != nil {
						return err
					}
					if v != "0" {
						n++
					}
				}
				if n == 0 && x.name != "many results" {
					return errString("no server waits")
				}
				return nil
			})
			if took := crowd(); took > 20*calm+10*time.Second {
				t.Errorf("others take %v for 200 statements, %v before", took, calm)
			}
			grewBy(t, before, 1<<20)
			// It comes back and reads all, whatever the pace.
			if x.name == "one large result" {
				p.conn.SetReadDeadline(time.Now().Add(5 * time.Minute))
				if n, err := io.Copy(io.Discard, io.LimitReader(p.conn, x.size)); err != nil || n != x.size {
					t.Errorf("read %d bytes, %v", n, err)
				}
			}
			p.conn.Close()
		})
	}
}

// TestSlowServerHoldsLittleMemory: what a client sends to a server that does not read waits in
// the client's socket.
func TestSlowServerHoldsLittleMemory(t *testing.T) {
	s := start(t, proxy.Config{Source: source(use(t, trusting)), Auth: proxy.AuthTrust, PoolSize: 4})
	holder, p := s.enter(t), s.enter(t)
	holder.get(t, "drop table if exists slow_copy; create table slow_copy (a text)")
	if err := p.send(wire.AppendQuery(nil, "copy slow_copy from stdin"), nil); err != nil {
		t.Fatal(err)
	}
	if m, err := p.next(); err != nil || m.typ != 'G' {
		t.Fatalf("%v, %v", m, err)
	}
	c, err := use(t, trusting).Primary().Super(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	var pid int
	eventually(t, func() error {
		return c.QueryRow(t.Context(), "select pid from pg_stat_activity where query = 'copy slow_copy from stdin'").Scan(&pid)
	})
	before := heap()
	stop(t, pid)
	row := frame('d', string(bytes.Repeat([]byte{'x'}, 10000))+"\n")
	sent := 0
	for { // until nothing is taken any more
		p.conn.SetWriteDeadline(time.Now().Add(2 * time.Second))
		n, err := p.conn.Write(row)
		sent += n
		if err != nil {
			row = row[n:]
			break
		}
	}
	t.Logf("%d KiB were sent", sent>>10)
	grewBy(t, before, 1<<20)
	cont(t, pid)
	p.conn.SetWriteDeadline(time.Time{})
	if err := p.send(append(row, frame('c', "")...), nil); err != nil {
		t.Fatal(err)
	}
	if out, err := p.answer(); err != nil || sqlState(out) != "" {
		t.Errorf("got %v, %v", out, err)
	}
}

// TestManyClientsOverFewBackends: a thousand clients log in and are served by
// twenty backends.
func TestManyClientsOverFewBackends(t *testing.T) {
	s := start(t, proxy.Config{Source: source(use(t, trusting)), Auth: proxy.AuthTrust, PoolSize: 20})
	s.enter(t).get(t, "create table if not exists many_t (a int)")
	began := time.Now()
	var clients sync.WaitGroup
	gate := make(chan struct{}, 100)
	for i := range 1000 {
		clients.Go(func() {
			gate <- struct{}{}
			p, err := login(s.addr(), cluster.SuperUser, cluster.AppDatabase)
			<-gate
			if err != nil {
				t.Errorf("client %d: %v", i, err)
				return
			}
			defer p.conn.Close()
			for _, sql := range []string{"select 1", "insert into many_t values (1)", "begin; insert into many_t values (2); commit", fmt.Sprintf("select %d", i)} {
				if out, err := p.ask(sql); err != nil || sqlState(out) != "" {
					t.Errorf("client %d: %s: %v, %v", i, sql, out, err)
					return
				}
			}
		})
	}
	clients.Wait()
	if took := time.Since(began); took > 5*time.Minute {
		t.Errorf("a thousand clients took %v", took)
	}
	c := s.connect(t, "")
	var n, most int
	if err := c.QueryRow(t.Context(), "select count(*), (select count(*) from pg_stat_activity where backend_type = 'client backend') from many_t").Scan(&n, &most); err != nil || n < 2000 {
		t.Errorf("%d rows, %v", n, err)
	}
	if _, err := c.Exec(t.Context(), "drop table many_t"); err != nil {
		t.Error(err)
	}
}
