//go:build pgroute_mutants

package main

import (
	"fmt"
	"os"
	"reflect"
	"strings"

	"github.com/pgroute/pgroute/proxy"
	"github.com/pgroute/pgroute/router"
)

// setMutants takes away the rules that PGROUTE_MUTANT names, with commas
// between them, wherever there is one of that name. Such a build is for tests
// of the tests.
func setMutants() error {
	names := os.Getenv("PGROUTE_MUTANT")
	if names == "" {
		return nil
	}
	for name := range strings.SplitSeq(names, ",") {
		found := false
		for _, switches := range []any{&router.Mutants, proxy.Mutants()} {
			if field := reflect.ValueOf(switches).Elem().FieldByName(name); field.IsValid() {
				field.SetBool(true)
				found = true
			}
		}
		if !found {
			return fmt.Errorf("PGROUTE_MUTANT: there is no rule %q", name)
		}
	}
	fmt.Fprintln(os.Stderr, "pgroute: a build for tests, without the rules "+names)
	return nil
}
