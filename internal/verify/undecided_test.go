package verify_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pgroute/pgroute/internal/verify"
)

// What is not decided in time is reported as that, not as right.
func TestUndecided(t *testing.T) {
	var s story
	var stored []string
	for i := range 24 {
		value := fmt.Sprint(i + 1)
		stored = append(stored, value)
		s.do(i, 0, 100, write("x", i+1, value))
	}
	// No order explains these two, but there are many to try.
	s.do(30, 1, 2, read(verify.Strong, "x", 1, "1"))
	s.do(31, 3, 4, read(verify.Strong, "x", 2, "2"))
	s.do(32, 5, 6, read(verify.Strong, "x", 1, "1"))
	r := verify.Judge(verify.Options{CheckTime: time.Millisecond}, s, map[string][]string{"x": stored})
	report := text(t, r)
	if r.Undecided() != 1 || r.Found[verify.NotLinearizable] != 0 || !strings.Contains(report, "NOT DECIDED: 1") || !strings.Contains(report, "note: linearizability at strong") {
		t.Errorf("%d are undecided: %s", r.Undecided(), report)
	}
}
