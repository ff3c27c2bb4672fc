package lab

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

const module = "github.com/pgroute/pgroute"

// programs returns the programs' paths, and builds into dir those that the
// options do not name.
func programs(ctx context.Context, o *Options, dir string) (pgroute, booking string, err error) {
	pgroute, err = program(ctx, o.Pgroute, dir, "./cmd/pgroute")
	if err != nil {
		return "", "", err
	}
	booking, err = program(ctx, o.Booking, dir, "./examples/booking")
	return pgroute, booking, err
}

func program(ctx context.Context, given, dir, folder string) (string, error) {
	if given != "" {
		path, err := filepath.Abs(given)
		if err != nil {
			return "", fmt.Errorf("find %s: %w", given, err)
		}
		return path, nil
	}
	// The caller may be a test of another module that uses this one.
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		return "", fmt.Errorf("find the source of %s: %w", module, err)
	}
	path := filepath.Join(dir, filepath.Base(folder))
	cmd := exec.CommandContext(ctx, "go", "build", "-o", path, folder)
	cmd.Dir = strings.TrimSpace(string(root))
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w:\n%s", folder, err, out)
	}
	return path, nil
}
