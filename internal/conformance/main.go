package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(1)
	}
}

// errDiffers is what run returns when something passes directly only.
var errDiffers = errors.New("not everything that passes directly passes through pgroute")

func run(ctx context.Context) error {
	names := flag.String("suites", "", "the suites to run, separated by commas; empty means all")
	rounds := flag.Int("rounds", 1, "how often each suite runs through pgroute")
	poolSize := flag.Int("pool-size", 0, "how many server connections pgroute may have for each node, user and database; 0 means its default")
	extra := flag.String("proxy", "", "further flags for pgroute, separated by spaces")
	parallel := flag.Int("parallel", 20, "how many tests of the regression suite run at once; 20 is all that the suite allows")
	flag.Parse()
	flags := strings.Fields(*extra)
	if *poolSize != 0 {
		flags = append(flags, "--pool-size", strconv.Itoa(*poolSize))
	}
	root, err := filepath.Abs(".")
	if err != nil {
		return err
	}
	work, err := newWorkdir(filepath.Join(root, "build", "conformance"))
	if err != nil {
		return err
	}
	defer work.remove()
	work.parallel = *parallel
	if !work.has(serverDir) {
		return errors.New("build/conformance is not complete: run scripts/conformance.sh")
	}
	if err := work.unpack(); err != nil {
		return err
	}
	if err := work.buildProxy(ctx, root); err != nil {
		return err
	}
	chosen, err := choose(suites, *names)
	if err != nil {
		return err
	}
	sheet := newSheet()
	for _, s := range chosen {
		if reason := s.missing(work); reason != "" {
			sheet.leaveOut(s.name, reason)
			continue
		}
		if err := compare(ctx, work, s, flags, *rounds, sheet); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	if len(flags) > 0 {
		fmt.Println("pgroute with " + strings.Join(flags, " "))
	}
	sheet.print(os.Stdout)
	if sheet.unexpected() {
		return errDiffers
	}
	return nil
}

// choose returns the named suites in their own order.
func choose(all []suite, names string) ([]suite, error) {
	if names == "" {
		return all, nil
	}
	var chosen []suite
	wanted := strings.Split(names, ",")
	for _, s := range all {
		for i, name := range wanted {
			if name == s.name {
				chosen = append(chosen, s)
				wanted = append(wanted[:i], wanted[i+1:]...)
				break
			}
		}
	}
	if len(wanted) > 0 {
		return nil, fmt.Errorf("there is no suite %q", wanted[0])
	}
	return chosen, nil
}

// compare runs a suite directly, and then rounds times through pgroute, each
// time against a new cluster.
func compare(ctx context.Context, work *workdir, s suite, extra []string, rounds int, sheet *sheet) error {
	direct, _, err := once(ctx, work, s, directly, nil)
	if err != nil {
		return fmt.Errorf("directly: %w", err)
	}
	for range rounds {
		proxied, reads, err := once(ctx, work, s, throughProxy, extra)
		if err != nil {
			return fmt.Errorf("through pgroute: %w", err)
		}
		sheet.add(s.name, direct, proxied, reads)
	}
	return nil
}

// once runs a suite once.
func once(ctx context.Context, work *workdir, s suite, way way, extra []string) (_ outcomes, _ reads, err error) {
	fmt.Fprintf(os.Stderr, "conformance: %s, %s\n", s.name, way)
	t, err := newTarget(ctx, work, way, s, extra)
	if err != nil {
		return nil, reads{}, err
	}
	defer func() { err = errors.Join(err, t.close()) }()
	dir, err := work.folder(s.name + "-" + way.String())
	if err != nil {
		return nil, reads{}, err
	}
	found, err := s.run(ctx, work, t, dir)
	if err != nil {
		return nil, reads{}, err
	}
	if len(found) == 0 {
		return nil, reads{}, errors.New("no test ran")
	}
	served, err := t.reads(ctx)
	return found, served, err
}
