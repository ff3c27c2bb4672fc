package router_test

import (
	"context"
	"testing"

	"github.com/pgroute/pgroute/router"
)

func TestStatic(t *testing.T) {
	src, err := router.Static("db1:5432", "[2001:db8::1]:5433", "/run/postgresql:5434", "10.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var got router.Candidates
	if err := src.Watch(ctx, func(c router.Candidates) { got = c; cancel() }); err != nil {
		t.Fatal(err)
	}
	want := []router.Addr{
		{Name: "db1:5432", Host: "db1", Port: 5432},
		{Name: "[2001:db8::1]:5433", Host: "2001:db8::1", Port: 5433},
		{Name: "/run/postgresql:5434", Host: "/run/postgresql", Port: 5434},
		{Name: "10.0.0.1:1", Host: "10.0.0.1", Port: 1},
	}
	if got.NamesPrimary || len(got.Nodes) != len(want) {
		t.Fatalf("candidates %+v", got)
	}
	for i, n := range got.Nodes {
		if n.Addr != want[i] {
			t.Errorf("address %+v, want %+v", n.Addr, want[i])
		}
	}
	for _, bad := range [][]string{nil, {""}, {"db1"}, {"db1:"}, {":5432"}, {"db1:0"}, {"db1:70000"}, {"db1:+5"}, {"db1:5432", "db1:5432"},
		{"::1:5432"}, {"[::1:5432"}, {"[db1]:5432"}, {"d b:1"}} {
		if _, err := router.Static(bad...); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func FuzzStatic(f *testing.F) {
	for _, s := range []string{"db1:5432", "[::1]:1", "/run:2", ":", "[]:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		src, err := router.Static(s)
		if err != nil {
			return
		}
		ctx, cancel := context.WithCancel(t.Context())
		_ = src.Watch(ctx, func(c router.Candidates) {
			cancel()
			if a := c.Nodes[0].Addr; a.Name != s || a.Host == "" || a.Port < 1 || a.Port > 65535 {
				t.Errorf("%q was read as %+v", s, a)
			}
		})
	})
}
