package lab

import (
	"os/exec"
	"runtime"
)

// starter starts processes that the kernel ends when this one dies. It does so
// when the thread ends that started them (prctl(2), PR_SET_PDEATHSIG), hence
// one thread for all of them, which stays as long as they do.
type starter struct {
	jobs chan job
	done chan struct{} // closed when the thread has ended
}

type job struct {
	cmd *exec.Cmd
	err chan error
}

// newStarter starts the thread. close ends it.
func newStarter() *starter {
	s := &starter{jobs: make(chan job), done: make(chan struct{})}
	// close ends it and waits for it.
	go s.startLoop()
	return s
}

func (s *starter) startLoop() {
	// The thread is never unlocked, so that it ends with this goroutine and
	// serves nobody else.
	runtime.LockOSThread()
	defer close(s.done)
	for j := range s.jobs {
		j.err <- j.cmd.Start()
	}
}

// start starts cmd. It must not be called after close.
func (s *starter) start(cmd *exec.Cmd) error {
	cmd.SysProcAttr = childAttributes()
	j := job{cmd: cmd, err: make(chan error, 1)}
	s.jobs <- j
	return <-j.err
}

// close may be called when all processes have ended.
func (s *starter) close() {
	close(s.jobs)
	<-s.done
}
