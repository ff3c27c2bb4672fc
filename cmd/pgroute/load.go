package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
)

// arguments are the flags of a command that was given on the command line.
type arguments struct {
	config string
	values []flagValue
	rest   []string
}

// flagValue is one use of the flag of a key.
type flagValue struct {
	key  *key
	text string
}

// parseArguments parses the flags that every command with a configuration has.
// more adds the command's own. It returns flag.ErrHelp if help was asked for.
func parseArguments(name string, args []string, more func(*flag.FlagSet)) (*arguments, error) {
	a := new(arguments)
	fs := flag.NewFlagSet(name, flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&a.config, "config", "", "")
	all := keys()
	var scratch settings
	for i := range all {
		k := &all[i]
		fs.Func(k.flag(), "", func(text string) error {
			if err := k.set(&scratch, text); err != nil {
				return err
			}
			a.values = append(a.values, flagValue{k, text})
			return nil
		})
	}
	if more != nil {
		more(fs)
	}
	if err := parseFlags(fs, args); err != nil {
		return nil, err
	}
	a.rest = fs.Args()
	return a, nil
}

// parseFlags is fs.Parse with our words.
func parseFlags(fs *flag.FlagSet, args []string) error {
	err := fs.Parse(args)
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return err
	}
	text := err.Error()
	if unknown, ok := strings.CutPrefix(text, "flag provided but not defined: -"); ok {
		text = fmt.Sprintf("unknown flag --%s; pgroute %s --help lists them", unknown, fs.Name())
	} else if bare, ok := strings.CutPrefix(text, "flag needs an argument: -"); ok {
		text = fmt.Sprintf("the flag --%s needs a value", bare)
	} else if bad, ok := strings.CutPrefix(text, "invalid value "); ok {
		// invalid value "x" for flag -wait: why
		if _, rest, ok := strings.Cut(bad, " for flag -"); ok {
			text = "--" + rest
		}
	}
	return usagef("%s", text)
}

// load makes settings of the flags and of the file that they name: a flag
// outranks the file, and that the default. The file is nil if they name none.
func load(a *arguments) (*settings, *file, error) {
	f, err := a.readFile()
	if err != nil {
		return nil, nil, err
	}
	s, err := a.merge(f, nil)
	return s, f, err
}

// readFile reads the file that the flags name, nil if they name none.
func (a *arguments) readFile() (*file, error) {
	if a.config == "" {
		return nil, nil
	}
	return readFile(a.config)
}

// merge applies the defaults, what ZooKeeper has for all proxies, a file, and
// the flags, each of which outranks those before; shared and f may be nil. All
// values were checked, so that only their combination can be wrong.
func (a *arguments) merge(f, shared *file) (*settings, error) {
	s := &settings{texts: make(map[string][]string), origins: map[string]string{"rules": "default"}}
	all := keys()
	for i := range all {
		k := &all[i]
		s.origins[k.name] = "default"
		if k.def != "" {
			s.texts[k.name] = []string{k.def}
			if err := k.set(s, k.def); err != nil {
				return nil, fmt.Errorf("the default of %s: %w", k.name, err)
			}
		}
	}
	var values []flagValue
	given := make(map[string]bool)
	for _, v := range a.values {
		given[v.key.name] = true
	}
	if shared != nil {
		for _, v := range shared.values {
			if !given[v.key.name] && !f.has(v.key.name) {
				values = append(values, flagValue{v.key, v.text})
				s.origins[v.key.name] = "zookeeper"
			}
		}
	}
	if f != nil {
		// A source on the command line replaces the file's, of whatever kind.
		source := given["node"] || given["zookeeper"]
		for _, v := range f.values {
			switch n := v.key.name; {
			case given[n], source && n == "node", source && n == "zookeeper", given["node"] && n == "path",
				given["path"] && n == "patroni", (given["node"] || given["patroni"]) && (n == "patroni" || n == "path"):
				continue
			}
			values = append(values, flagValue{v.key, v.text})
			s.origins[v.key.name] = "file"
		}
	}
	values = append(values, a.values...)
	for name := range given {
		s.origins[name] = "flag"
	}
	begun := make(map[string]bool)
	for _, v := range values {
		if !v.key.list || !begun[v.key.name] {
			begun[v.key.name] = true
			s.clear(v.key.name)
		}
		s.texts[v.key.name] = append(s.texts[v.key.name], v.text)
		if err := v.key.set(s, v.text); err != nil {
			return nil, usagef("%s: %w", v.key.name, err)
		}
	}
	if err := errors.Join(s.checkPools(), s.checkWaits()); err != nil {
		return nil, &usageError{err}
	}
	// The rules are one list, which is never mixed of two.
	switch {
	case f != nil && f.ruled:
		s.origins["rules"] = "file"
		return s, s.addRules(f)
	case shared != nil && shared.ruled:
		s.origins["rules"] = "zookeeper"
		return s, s.addRules(shared)
	}
	return s, nil
}

// addRules makes the rules of a file.
func (s *settings) addRules(f *file) error {
	for _, r := range f.rules {
		// A rule begins with what everybody has.
		with := settings{policy: s.policy, poolSize: s.poolSize, leaseWait: s.leaseWait, pool: s.pool}
		for _, v := range r.values {
			if err := v.key.set(&with, v.text); err != nil {
				return f.errorf(v.at, "%s: %v", v.key.name, err)
			}
		}
		if err := with.checkPools(); err != nil {
			return f.errorf(r.at, "rules: %v", err)
		}
		s.rules = append(s.rules, with.rule(r.user, r.database))
	}
	return nil
}

// clear forgets the value of a key before another is set, or the first of a
// list is added.
func (s *settings) clear(name string) {
	s.texts[name] = nil
	switch name {
	case "listen":
		s.listen = nil
	case "node":
		s.nodes = nil
	}
}
