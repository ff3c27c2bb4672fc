package cluster

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// versionsDir is where scripts/versions.sh keeps the versions of PostgreSQL
// that the machine itself does not have, unless PGROUTE_PG_DIR says another.
const versionsDir = "/opt/pgroute/postgresql"

// binDir finds the PostgreSQL that can run a server: the one that the
// environment names, by PGROUTE_PG_BIN the folder of its programs or by
// PGROUTE_PG_VERSION its major version, else the newest of the machine.
func binDir() (string, error) {
	if dir := os.Getenv("PGROUTE_PG_BIN"); dir != "" {
		if !executable(filepath.Join(dir, "postgres")) {
			return "", fmt.Errorf("PGROUTE_PG_BIN=%s: no postgres there", dir)
		}
		return dir, nil
	}
	if version := os.Getenv("PGROUTE_PG_VERSION"); version != "" {
		return versionBinDir(version)
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil {
		return "", fmt.Errorf("look for postgres: %w", err)
	}
	best, bestMajor := "", 0
	for _, path := range found {
		dir := filepath.Dir(path)
		major, err := strconv.Atoi(filepath.Base(filepath.Dir(dir)))
		if err == nil && major > bestMajor && executable(path) {
			best, bestMajor = dir, major
		}
	}
	if best != "" {
		return best, nil
	}
	if path, err := exec.LookPath("postgres"); err == nil {
		return filepath.Dir(path), nil
	}
	return "", errors.New("PostgreSQL is not installed: no /usr/lib/postgresql/*/bin/postgres (Debian: apt-get install postgresql)")
}

// versionBinDir finds the programs of one major version: those of the machine,
// or those that scripts/versions.sh has unpacked.
func versionBinDir(version string) (string, error) {
	if _, err := strconv.Atoi(version); err != nil {
		return "", fmt.Errorf("PGROUTE_PG_VERSION=%s: not a major version such as 17", version)
	}
	unpacked := os.Getenv("PGROUTE_PG_DIR")
	if unpacked == "" {
		unpacked = versionsDir
	}
	for _, dir := range []string{filepath.Join("/usr/lib/postgresql", version, "bin"), filepath.Join(unpacked, version, "bin")} {
		if executable(filepath.Join(dir, "postgres")) {
			return dir, nil
		}
	}
	return "", fmt.Errorf("PGROUTE_PG_VERSION=%s: PostgreSQL %s is neither in /usr/lib/postgresql nor in %s (scripts/versions.sh --install %s)",
		version, version, unpacked, version)
}

// Tool finds a program such as pgbench, psql or pgbouncer: beside the newest
// PostgreSQL server, in PATH, or in the folders for system programs that a
// user's PATH often lacks.
func Tool(name string) (string, error) {
	if dir, err := binDir(); err == nil {
		if path := filepath.Join(dir, name); executable(path) {
			return path, nil
		}
	}
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin", "/usr/local/sbin", "/sbin"} {
		if path := filepath.Join(dir, name); executable(path) {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is not installed", name)
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// serverVersion is what `postgres --version` prints, and the major version in it.
func serverVersion(binDir string) (text string, major int, err error) {
	out, err := exec.Command(filepath.Join(binDir, "postgres"), "--version").Output()
	if err != nil {
		return "", 0, fmt.Errorf("ask postgres for its version: %w", err)
	}
	text = strings.TrimSpace(string(out)) // postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)
	_, rest, _ := strings.Cut(text, ") ")
	digits := rest
	if end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' }); end >= 0 {
		digits = rest[:end]
	}
	major, err = strconv.Atoi(digits)
	if err != nil {
		return "", 0, fmt.Errorf("postgres --version printed %q: no version number", text)
	}
	return text, major, nil
}
