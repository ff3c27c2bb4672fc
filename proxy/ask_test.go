package proxy_test

import (
	"context"
	"encoding/binary"
	"testing"
	"time"

	"github.com/pgroute/pgroute/internal/cluster"
	"github.com/pgroute/pgroute/proxy/internal/wire"
)

// eventually waits until ok says nil.
func eventually(t testing.TB, ok func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ok()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("in vain: %v", err)
		}
	}
}

// enter logs a raw client in, which leaves with the test.
func (s *served) enter(t testing.TB, params ...string) *peer {
	t.Helper()
	p, err := login(s.addr(), cluster.SuperUser, cluster.AppDatabase, params...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.conn.Close() })
	s.reads(t, cluster.AppDatabase)
	return p
}

// reads waits until the proxy knows the database's catalogue, if there is a
// primary that can tell it: without one, a client's first write pins it.
func (s *served) reads(t testing.TB, database string) {
	t.Helper()
	eventually(t, func() error {
		st := s.Stats()
		for _, d := range st.Databases {
			if d.Name == database && !d.Catalogue && st.Primary != "" {
				return errString("the catalogue is not known")
			}
		}
		return nil
	})
}

// ask runs a simple query and returns the answer without ReadyForQuery.
func (p *peer) ask(sql string) ([]message, error) {
	if err := p.send(wire.AppendQuery(nil, sql), nil); err != nil {
		return nil, err
	}
	return p.answer()
}

// answer reads up to the next ReadyForQuery.
func (p *peer) answer() ([]message, error) {
	var out []message
	for {
		m, err := p.next()
		if err != nil || m.typ == 'Z' {
			return out, err
		}
		out = append(out, m)
	}
}

// get is ask for a statement that succeeds. It returns the first value.
func (p *peer) get(t testing.TB, sql string) string {
	t.Helper()
	out, err := p.ask(sql)
	if err != nil {
		t.Fatalf("%s: %v after %v", sql, err, out)
	}
	value := ""
	for _, m := range out {
		switch m.typ {
		case 'E':
			t.Fatalf("%s: %s", sql, m)
		case 'D':
			if n := int32(binary.BigEndian.Uint32(m.body[2:])); value == "" && n >= 0 {
				value = string(m.body[6 : 6+n])
			}
		}
	}
	return value
}

// sqlState returns the code of the error in an answer, empty if there is none.
func sqlState(answer []message) string {
	for _, m := range answer {
		if m.typ == 'E' {
			return string(wire.Field(m.body, 'C'))
		}
	}
	return ""
}

type errString string

func (e errString) Error() string { return string(e) }
