package proxy_test

import (
	"encoding/binary"
	"testing"

	"github.com/pgroute/pgroute/router"
)

// fastpath is a FunctionCall with arguments in text.
func fastpath(oid uint32, args ...string) []byte {
	b := binary.BigEndian.AppendUint32([]byte{'F', 0, 0, 0, 0}, oid)
	b = binary.BigEndian.AppendUint16(b, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(len(args)))
	for _, a := range args {
		b = append(binary.BigEndian.AppendUint32(b, uint32(len(a))), a...)
	}
	b = binary.BigEndian.AppendUint16(b, 0)
	binary.BigEndian.PutUint32(b[1:], uint32(len(b)-1))
	return b
}

// What a FunctionCall sets belongs to the client who made it.
func TestFunctionCallSets(t *testing.T) {
	const setConfig = 2078
	s := shared(t, router.LevelSession)
	a, b := s.raw(t), s.raw(t)
	a.must(t, step{bytes: fastpath(setConfig, "app.fastpath", "mine", "f"), ready: 1})
	const get = "select current_setting('app.fastpath', true)"
	for range 5 {
		if got := a.query(t, get); !has(got, "mine") {
			t.Errorf("the client itself reads %q", got)
		}
	}
	a.conn.Close()
	if got := b.query(t, "/* pgroute: primary */ "+get); has(got, "mine") {
		t.Errorf("another client reads %q", got)
	}
}

// Calls for large objects, which is what drivers call so, leave nothing behind:
// the backend is free for others at once.
func TestFunctionCallForLargeObject(t *testing.T) {
	const loCreat, inversionRead = 957, "262144"
	s := shared(t, router.LevelPrimary)
	a, b := s.raw(t), s.raw(t)
	a.must(t, step{bytes: fastpath(loCreat, inversionRead), ready: 1})
	b.query(t, "select 1") // there is one backend for both
}
