//go:build pgroute_mutants

package client_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/pgroute/pgroute/proxy/internal/client"
)

// notices is a test that only remembers why it failed.
type notices struct {
	testing.TB
	why string
}

func (n *notices) Helper() {}

func (n *notices) Fatal(args ...any) { n.Fatalf("%s", fmt.Sprint(args...)) }

func (n *notices) Fatalf(format string, args ...any) {
	n.why = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// TestModelMutants takes away one rule after the other, and demands that the
// model notices.
func TestModelMutants(t *testing.T) {
	m := &client.Mutants
	for name, mutant := range map[string]*bool{
		"NoAlign": &m.NoAlign, "UnguardedAlign": &m.UnguardedAlign, "NoTaint": &m.NoTaint, "NoPin": &m.NoPin,
		"ShortKeys": &m.ShortKeys, "SharedUnnamed": &m.SharedUnnamed, "KeptSettings": &m.KeptSettings, "NoTicket": &m.NoTicket,
	} {
		t.Run(name, func(t *testing.T) {
			*mutant = true
			t.Cleanup(func() { *mutant = false })
			for seed := range uint64(2000) {
				n := &notices{TB: t}
				done := make(chan struct{})
				go func() { // it ends with the conversation
					defer close(done)
					playModel(n, noise(seed, 600))
				}()
				<-done
				if n.why != "" {
					t.Logf("seed %d: %.200s", seed, n.why)
					return
				}
			}
			t.Error("2000 conversations, and nobody noticed")
		})
	}
}
