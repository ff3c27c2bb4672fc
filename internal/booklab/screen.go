package main

import (
	"fmt"
	"os"
	"strings"
	"sync"
)

// screen prints. It knows whether lines can be written over and whether colours
// are wanted. Its methods may be called from several goroutines.
type screen struct {
	w              *os.File
	live, coloured bool

	mu      sync.Mutex // guards the field below, and the order of what is printed
	pending bool       // the last line is not ended and may be written over
}

func newScreen(w *os.File) *screen {
	terminal := isTerminal(w) && os.Getenv("TERM") != "dumb"
	return &screen{w: w, live: terminal, coloured: terminal && os.Getenv("NO_COLOR") == ""}
}

// isTerminal reports whether somebody sits at f. /dev/null is a device too.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(info, null)
}

func (s *screen) colour(code, text string) string {
	if !s.coloured {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (s *screen) bold(text string) string { return s.colour("1", text) }
func (s *screen) dim(text string) string  { return s.colour("2", text) }
func (s *screen) good(text string) string { return s.colour("32", text) }
func (s *screen) bad(text string) string  { return s.colour("31", text) }

// line prints a whole line.
func (s *screen) line(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endLocked()
	fmt.Fprintf(s.w, format+"\n", args...)
}

// head begins a chapter.
func (s *screen) head(text string) {
	s.line("")
	s.line("%s", s.bold(text))
}

// over prints a line that the next one replaces. Without a terminal it prints
// nothing.
func (s *screen) over(text string) {
	if !s.live {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprint(s.w, "\r\x1b[K"+strings.TrimRight(text, "\n"))
	s.pending = true
}

// progress shows what has been reached.
func (s *screen) progress(what string) {
	if s.live {
		s.over("  " + s.dim(what))
		return
	}
	s.line("  %s", what)
}

// end ends a line that could have been written over.
func (s *screen) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endLocked()
}

func (s *screen) endLocked() {
	if s.pending {
		fmt.Fprintln(s.w)
		s.pending = false
	}
}
