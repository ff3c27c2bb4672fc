package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// fetchSuite is the Debian release whose PgBouncer (1.24) has prepared
// statements in transaction pooling.
const fetchSuite = "trixie"

// fetchKeyring holds the keys of all current Debian releases.
const fetchKeyring = "/usr/share/keyrings/debian-archive-keyring.gpg"

// fetchPackages are PgBouncer and what it is linked with, down to the C
// library, which is newer than the host's.
var fetchPackages = []string{
	"pgbouncer", "libc6", "libgcc-s1", "libcares2", "libevent-2.1-7t64", "libpam0g", "libssl3t64", "libsystemd0",
	"libcap2", "libaudit1", "libcap-ng0", "libzstd1", "zlib1g",
}

// fetchBouncer downloads that release's PgBouncer with the host's apt, in a
// state of apt's of its own, unpacks it below build/ and leaves the system as
// it is. The dynamic loader among the packages runs the program with the
// libraries among the packages.
func fetchBouncer(ctx context.Context) (bouncer, error) {
	dir, err := filepath.Abs(filepath.Join("build", "pgbouncer-"+fetchSuite))
	if err != nil {
		return bouncer{}, fmt.Errorf("fetch PgBouncer: %w", err)
	}
	lib := filepath.Join(dir, "usr/lib/x86_64-linux-gnu")
	command := []string{filepath.Join(lib, "ld-linux-x86-64.so.2"), "--library-path", lib, filepath.Join(dir, "usr/sbin/pgbouncer")}
	note := "Debian " + fetchSuite + "'s"
	if b, err := askBouncer(ctx, note, command...); err == nil {
		return b, nil // fetched before
	}
	if err := fetchDebian(ctx, dir); err != nil {
		return bouncer{}, fmt.Errorf("fetch PgBouncer: %w", err)
	}
	return askBouncer(ctx, note, command...)
}

// fetchDebian unpacks the packages into dir.
func fetchDebian(ctx context.Context, dir string) error {
	mirror, err := debianMirror(ctx)
	if err != nil {
		return err
	}
	state, err := os.MkdirTemp("", "pgroute-apt-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(state)
	for _, sub := range []string{"lists/partial", "cache/archives/partial", "debs"} {
		if err := os.MkdirAll(filepath.Join(state, sub), 0o755); err != nil {
			return err
		}
	}
	sources := filepath.Join(state, "sources.list")
	line := fmt.Sprintf("deb [arch=amd64 signed-by=%s] %s %s main\n", fetchKeyring, mirror, fetchSuite)
	if err := os.WriteFile(sources, []byte(line), 0o644); err != nil {
		return err
	}
	options := []string{
		"-qq", "-o", "Dir::Etc::sourcelist=" + sources, "-o", "Dir::Etc::sourceparts=/dev/null",
		"-o", "Dir::State::lists=" + filepath.Join(state, "lists"), "-o", "Dir::Cache=" + filepath.Join(state, "cache"),
		"-o", "Dir::State::status=/dev/null", "-o", "Debug::NoLocking=1", "-o", "Acquire::Languages=none",
	}
	if os.Geteuid() == 0 {
		// The state belongs to root; apt's own user could not write there.
		options = append(options, "-o", "APT::Sandbox::User=root")
	}
	debs := filepath.Join(state, "debs")
	if _, err := output(ctx, debs, "apt-get", append(options, "update")...); err != nil {
		return err
	}
	if _, err := output(ctx, debs, "apt-get", append(append(options, "download"), fetchPackages...)...); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(debs, "*.deb"))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, file := range files {
		if _, err := output(ctx, debs, "dpkg-deb", "-x", file, dir); err != nil {
			return err
		}
	}
	return nil
}

// debianMirror is the mirror that the host itself uses.
func debianMirror(ctx context.Context) (string, error) {
	out, err := output(ctx, "", "apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Origin: Debian")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(out) {
		if mirror := strings.TrimSuffix(strings.TrimSpace(line), "/"); mirror != "" && !strings.HasSuffix(mirror, "-security") {
			return mirror, nil
		}
	}
	return "", errors.New("apt knows no Debian mirror")
}

// output runs a program in dir and returns what it prints; the error carries
// what it complained about.
func output(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w: %s", name, args[len(args)-1], err, strings.TrimSpace(complaint.String()))
	}
	return out.String(), nil
}
