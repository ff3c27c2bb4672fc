// Command pgroute routes PostgreSQL clients: writes go to the primary, reads to
// replicas that have already replayed what the reader wrote or saw.
//
// It exits with 0 when it did what it was asked, with 1 when that failed, and
// with 2 when it was asked for something that does not exist: a bad flag, a bad
// configuration file.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/pgroute/pgroute/proxy"
)

// The exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// command is one subcommand. run gets the arguments after its name.
type command struct {
	name, summary string
	run           func(args []string, std stdio) error
}

// stdio is where a command writes.
type stdio struct{ out, err io.Writer }

func commands() []command {
	return []command{
		{"proxy", "serve clients", runProxy},
		{"register", "keep a server's znode while the server answers", runRegister},
		{"status", "what a running proxy knows", runStatus},
		{"check", "look whether the servers are ready for pgroute", runCheck},
		{"explain", "tell where a statement would run, and why", runExplain},
		{"verify", "run workloads and check that every answer kept the promises", runVerify},
		{"demo", "a temporary cluster, a proxy and the story, in this terminal", runDemo},
	}
}

func main() { os.Exit(run(os.Args[1:], stdio{os.Stdout, os.Stderr})) }

// run runs a command and returns the exit code.
func run(args []string, std stdio) int {
	if len(args) == 0 {
		fmt.Fprintln(std.err, "pgroute: no command; pgroute --help lists them")
		return exitUsage
	}
	name, err := args[0], setMutants()
	if err != nil {
		fmt.Fprintln(std.err, "pgroute: "+err.Error())
		return exitFailed
	}
	switch strings.TrimLeft(name, "-") {
	case "help", "h":
		printUsage(std.out)
		return exitOK
	case "version":
		fmt.Fprintln(std.out, "pgroute", proxy.Version())
		return exitOK
	}
	err = errUnknown(name)
	for _, c := range commands() {
		if c.name == name {
			err = c.run(args[1:], std)
			break
		}
	}
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return exitOK
	case errors.Is(err, errReported):
		return exitFailed
	}
	fmt.Fprintln(std.err, "pgroute: "+oneLine(err.Error()))
	var u *usageError
	if errors.As(err, &u) {
		return exitUsage
	}
	return exitFailed
}

// errReported ends a command that has already said what is wrong.
var errReported = errors.New("it was reported")

// usageError is a mistake in what pgroute was asked for.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }

func errUnknown(name string) error {
	return usagef("unknown command %q; pgroute --help lists them", name)
}

// oneLine keeps a message on one line, whatever it quotes.
func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func printUsage(w io.Writer) {
	fmt.Fprint(w, "pgroute routes PostgreSQL clients: writes go to the primary, reads to replicas\n"+
		"that have already replayed what the reader wrote or saw.\n\nCommands:\n")
	for _, c := range commands() {
		fmt.Fprintf(w, "  pgroute %-8s %s\n", c.name, c.summary)
	}
	fmt.Fprint(w, "  pgroute version\n\npgroute COMMAND --help tells more.\n")
}
