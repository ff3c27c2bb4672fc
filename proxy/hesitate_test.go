package proxy_test

import (
	"testing"
	"time"

	"github.com/pgroute/pgroute/proxy/internal/wire"
)

// A server says at once that a message failed. A client that waits for that,
// and sends no Sync before, is told.
func TestErrorIsToldBeforeSync(t *testing.T) {
	p := use(t, plain).raw(t)
	for _, begin := range []string{"select 1", "begin"} {
		p.query(t, begin)
		run := wire.AppendParse(nil, nil, []byte("select 1 / 0\x00\x00\x00"))
		run = wire.AppendBind(run, nil, nil, make([]byte, 6))
		run = append(run, 'E', 0, 0, 0, 9, 0, 0, 0, 0, 0)
		if err := p.send(run, nil); err != nil {
			t.Fatal(err)
		}
		if err := p.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if m := p.until(t, 'E'); string(wire.Field(m.body, 'C')) != "22012" {
			t.Errorf("after %s: %s", begin, m)
		}
		if err := p.send(wire.AppendSync(nil), nil); err != nil {
			t.Fatal(err)
		}
		p.until(t, 'Z')
	}
	p.query(t, "rollback")
}
