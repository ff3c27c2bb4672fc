package lab

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
)

// A folder is a temporary folder that goes with this process, however that
// ends: a guard waits for the end of its input, which the death of its owner
// causes too, and removes the folder.
type folder struct {
	dir   string
	guard *exec.Cmd
	alarm io.WriteCloser
}

// A process that dies at the same time may still write into the folder, so the
// guard tries more than once.
const guardScript = `cat >/dev/null
i=0; while [ $i -lt 20 ]; do rm -rf -- "$1" && break; sleep 0.1; i=$((i+1)); done`

func newFolder() (*folder, error) {
	dir, err := os.MkdirTemp("", "pgroute-lab-")
	if err != nil {
		return nil, fmt.Errorf("make a folder: %w", err)
	}
	f := &folder{dir: dir, guard: exec.Command("/bin/sh", "-c", guardScript, "pgroute-lab-guard", dir)}
	f.guard.Dir = "/"
	f.guard.SysProcAttr = guardAttributes()
	if f.alarm, err = f.guard.StdinPipe(); err == nil {
		err = f.guard.Start()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start the guard of a folder: %w", err), os.Remove(dir))
	}
	return f, nil
}

// close removes the folder.
func (f *folder) close() error {
	if err := f.alarm.Close(); err != nil {
		return fmt.Errorf("end the guard of a folder: %w", err)
	}
	_ = f.guard.Wait() // whether the folder is gone says everything
	if err := os.RemoveAll(f.dir); err != nil {
		return fmt.Errorf("remove a folder: %w", err)
	}
	return nil
}
