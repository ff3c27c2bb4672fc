package main

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// isTerminal reports whether somebody sits at f. /dev/null is a device too.
func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(info, null)
}

// screen prints the story. It knows whether lines can be written over and
// whether colours are wanted.
type screen struct {
	w              io.Writer
	live, coloured bool
	pending        bool // the last line is not ended and may be written over
}

// newScreen makes a screen of what a command writes to.
func newScreen(w io.Writer) *screen {
	f, ok := w.(*os.File)
	terminal := ok && isTerminal(f) && os.Getenv("TERM") != "dumb"
	return &screen{w: w, live: terminal, coloured: terminal && os.Getenv("NO_COLOR") == ""}
}

func (s *screen) colour(code, text string) string {
	if !s.coloured {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (s *screen) bold(text string) string  { return s.colour("1", text) }
func (s *screen) dim(text string) string   { return s.colour("2", text) }
func (s *screen) good(text string) string  { return s.colour("32", text) }
func (s *screen) stale(text string) string { return s.colour("33", text) }

// line prints a whole line.
func (s *screen) line(format string, args ...any) {
	s.end()
	fmt.Fprintf(s.w, format+"\n", args...)
}

// head begins a chapter.
func (s *screen) head(text string) {
	s.line("")
	s.line("%s", s.bold(text))
}

// over prints a line that the next one replaces. Without a terminal it is a
// line like others.
func (s *screen) over(format string, args ...any) {
	if !s.live {
		s.line(format, args...)
		return
	}
	fmt.Fprintf(s.w, "\r\x1b[K"+strings.TrimRight(format, "\n"), args...)
	s.pending = true
}

// end ends a line that could have been written over.
func (s *screen) end() {
	if s.pending {
		fmt.Fprintln(s.w)
		s.pending = false
	}
}
