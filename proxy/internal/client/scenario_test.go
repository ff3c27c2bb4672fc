package client_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// scenario is one story of a file in testdata: lines that happen, and after
// them, beginning with "< ", what follows from them.
type scenario struct {
	name  string
	lines []string
	at    int // the first line's number
}

func scenarios(t *testing.T, file string) []scenario {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out []scenario
	for i, line := range strings.Split(string(text), "\n") {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "== "):
			out = append(out, scenario{name: line[3:], at: i + 2})
		case len(out) > 0:
			out[len(out)-1].lines = append(out[len(out)-1].lines, line)
		}
	}
	return out
}

// TestScenarios plays the stories with the input coming whole, in single
// bytes, and in pieces of any length: what follows is the same.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		for _, sc := range scenarios(t, file) {
			for _, pace := range []string{"whole", "bytes", "pieces1", "pieces2"} {
				t.Run(strings.TrimSuffix(filepath.Base(file), ".txt")+"/"+sc.name+"/"+pace, func(t *testing.T) {
					s := newStage(t)
					switch pace {
					case "bytes":
						s.bytes = true
					case "pieces1", "pieces2":
						s.rnd = rand.New(rand.NewPCG(uint64(sc.at), uint64(pace[6])))
					}
					s.play(file, sc)
				})
			}
		}
	}
}

// play plays one scenario.
func (s *stage) play(file string, sc scenario) {
	s.Helper()
	for i := 0; i < len(sc.lines); {
		line := sc.lines[i]
		at := fmt.Sprintf("%s:%d: %s", file, sc.at+i, line)
		i++
		if line == "" || line[0] == '#' {
			continue
		}
		if err := s.act(line); err != nil {
			s.Fatalf("%s: %v", at, err)
		}
		var want, got []string
		for ; i < len(sc.lines) && (strings.HasPrefix(sc.lines[i], "< ") || strings.HasPrefix(sc.lines[i], "#")); i++ {
			if sc.lines[i][0] == '<' {
				want = append(want, sc.lines[i][2:])
			}
		}
		for _, name := range s.names() {
			for _, l := range s.actor[name].tells() {
				if name != "1" {
					l = name + ": " + l
				}
				got = append(got, l)
			}
		}
		if !slices.Equal(got, want) {
			s.Fatalf("%s\nleads to\n\t%s\nwant\n\t%s", at, strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
		}
	}
	s.end()
}

func (s *stage) names() []string {
	var out []string
	for name := range s.actor {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// end lets all clients leave. Nothing of them is left.
func (s *stage) end() {
	s.Helper()
	for _, a := range s.actor {
		a.m.Leave()
	}
	if n := s.env.Statements.Held(); n != 0 {
		s.Fatalf("%d statements are held by nobody", n)
	}
}
