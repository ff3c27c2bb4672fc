package pgprobe

import (
	"syscall"
	"time"
)

// Nap implements router.Napper. The kernel wakes a thread 50 µs late; a timer of
// the runtime that is due in 0.2 ms fires after 1.1 ms in a process that is
// otherwise idle, because epoll_wait counts in milliseconds.
func (p *probe) Nap(d time.Duration) {
	ts := syscall.NsecToTimespec(int64(d))
	// A signal may end it early, which does no harm.
	_ = syscall.Nanosleep(&ts, nil)
}
