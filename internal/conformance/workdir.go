package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
)

// serverDir holds Debian's PostgreSQL of the suites' own minor version, below
// build/conformance; binDir and testDir are in it.
const (
	serverDir = "server/usr"
	binDir    = "lib/postgresql/15/bin"
	testDir   = "lib/postgresql/15/lib/pgxs/src/test"
)

// A workdir is a temporary folder for the runs, and the way to what they run.
// PostgreSQL's programs refuse to run as root, and the server reads and writes
// files of the regression suite; so everything here belongs to whom the
// servers run as.
type workdir struct {
	fetched  string // build/conformance
	dir      string
	proxy    string // the program
	server   string // PostgreSQL's tree, where the servers' user may read it
	uid, gid int    // of the servers, if we are root; else -1
	parallel int    // tests of the regression suite at once
}

func newWorkdir(fetched string) (*workdir, error) {
	w := &workdir{fetched: fetched, uid: -1, gid: -1, parallel: 20}
	dir, err := os.MkdirTemp("", "pgroute-conformance-")
	if err != nil {
		return nil, err
	}
	w.dir = dir
	if os.Geteuid() != 0 {
		return w, nil
	}
	owner, err := user.Lookup("postgres")
	if err == nil {
		w.uid, err = strconv.Atoi(owner.Uid)
	}
	if err == nil {
		w.gid, err = strconv.Atoi(owner.Gid)
	}
	if err == nil {
		err = w.own(dir)
	}
	if err != nil {
		w.remove()
		return nil, fmt.Errorf("prepare a folder for the servers' user: %w", err)
	}
	return w, nil
}

// unpack copies PostgreSQL to where the servers' user may run it.
func (w *workdir) unpack() error {
	w.server = filepath.Join(w.dir, "usr")
	return w.copyTree(serverDir, w.server)
}

// bin and test name PostgreSQL's programs, and those that run its suites.
func (w *workdir) bin() string { return filepath.Join(w.server, binDir) }

func (w *workdir) test(name string) string { return filepath.Join(w.server, testDir, name) }

// remove removes the folder; what is left of it harms nobody.
func (w *workdir) remove() { _ = os.RemoveAll(w.dir) }

// has says whether build/conformance has a file.
func (w *workdir) has(name string) bool {
	_, err := os.Stat(filepath.Join(w.fetched, name))
	return err == nil
}

// folder returns a new, empty folder.
func (w *workdir) folder(name string) (string, error) {
	dir, err := os.MkdirTemp(w.dir, strings.ReplaceAll(name, ":", "")+"-")
	if err != nil {
		return "", err
	}
	return dir, w.own(dir)
}

// copyTree copies a folder of build/conformance.
func (w *workdir) copyTree(name, to string) error {
	if err := os.CopyFS(to, os.DirFS(filepath.Join(w.fetched, name))); err != nil {
		return err
	}
	return w.own(to)
}

// copyFile copies a file of build/conformance.
func (w *workdir) copyFile(name, to string) (err error) {
	from, err := os.Open(filepath.Join(w.fetched, name))
	if err != nil {
		return err
	}
	defer from.Close()
	into, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	if _, err = io.Copy(into, from); err != nil {
		into.Close()
		return err
	}
	if err = into.Close(); err != nil {
		return err
	}
	return w.own(to)
}

// own gives a file, or a folder with all that is in it, to the servers' user.
func (w *workdir) own(path string) error {
	if w.uid < 0 {
		return nil
	}
	return filepath.WalkDir(path, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, w.uid, w.gid)
	})
}

// buildProxy builds pgroute from the module in root.
func (w *workdir) buildProxy(ctx context.Context, root string) error {
	w.proxy = filepath.Join(w.dir, "pgroute")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", w.proxy, "./cmd/pgroute")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build pgroute: %w\n%s", err, out)
	}
	return nil
}

// keep writes what a run left for people to read into build/conformance/kept.
func (w *workdir) keep(t *target, kind string, content []byte) error {
	path, err := w.kept(t, kind)
	if err != nil {
		return err
	}
	return os.WriteFile(path, content, 0o644)
}

// kept is where something of a run is kept.
func (w *workdir) kept(t *target, kind string) (string, error) {
	dir := filepath.Join(w.fetched, "kept")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	way := directly
	if t.proxy != nil {
		way = throughProxy
	}
	return filepath.Join(dir, t.database+"-"+way.String()+"."+kind), nil
}
