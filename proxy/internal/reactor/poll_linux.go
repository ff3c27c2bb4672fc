package reactor

import (
	"errors"
	"unsafe"

	"golang.org/x/sys/unix"
)

// poller is an epoll instance, level-triggered, with an eventfd that wakes it.
type poller struct {
	ep, wake int
	events   []unix.EpollEvent
}

const (
	evIn  = unix.EPOLLIN | unix.EPOLLRDHUP
	evOut = unix.EPOLLOUT
	evErr = unix.EPOLLERR | unix.EPOLLHUP
)

func newPoller() (*poller, error) {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	wake, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		unix.Close(ep)
		return nil, err
	}
	p := &poller{ep: ep, wake: wake, events: make([]unix.EpollEvent, 256)}
	if err := p.add(wake, unix.EPOLLIN); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *poller) close() {
	unix.Close(p.ep)
	unix.Close(p.wake)
}

func (p *poller) add(fd int, mask uint32) error {
	return unix.EpollCtl(p.ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: mask, Fd: int32(fd)})
}

func (p *poller) modify(fd int, mask uint32) error {
	return unix.EpollCtl(p.ep, unix.EPOLL_CTL_MOD, fd, &unix.EpollEvent{Events: mask, Fd: int32(fd)})
}

// wait returns the events that are there, or waits up to ms milliseconds for
// some (-1: without a bound). It looks first without telling the scheduler,
// which is cheap and cannot block; only if nothing is there does it block in
// the way that lets the garbage collector and other goroutines go on.
func (p *poller) wait(ms int) []unix.EpollEvent {
	n, _, e := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.ep), uintptr(unsafe.Pointer(&p.events[0])),
		uintptr(len(p.events)), 0, 0, 0)
	if e == 0 && n > 0 || ms == 0 {
		return p.events[:max(int(n), 0)]
	}
	k, err := unix.EpollWait(p.ep, p.events, ms)
	if err != nil || k < 0 {
		return nil
	}
	return p.events[:k]
}

// interrupt wakes wait from any goroutine.
func (p *poller) interrupt() {
	one := [8]byte{1}
	unix.Write(p.wake, one[:])
}

// drain takes the wake-up back.
func (p *poller) drain() {
	var b [8]byte
	unix.Read(p.wake, b[:])
}

var errAgain = errors.New("again")

// read reads what is there into b. It never blocks, since the socket does
// not; n == 0 without an error is the end.
func read(fd int, b []byte) (int, error) {
	for {
		n, _, e := unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
		switch e {
		case 0:
			return int(n), nil
		case unix.EINTR:
		case unix.EAGAIN:
			return 0, errAgain
		default:
			return 0, e
		}
	}
}

// write writes as much of b as fits.
func write(fd int, b []byte) (int, error) {
	for {
		n, _, e := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)),
			unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT, 0, 0)
		switch e {
		case 0:
			return int(n), nil
		case unix.EINTR:
		case unix.EAGAIN:
			return 0, errAgain
		default:
			return 0, e
		}
	}
}

func closeFD(fd int)    { unix.Close(fd) }
func shutdownFD(fd int) { unix.Shutdown(fd, unix.SHUT_WR) }
func shutReadFD(fd int) { unix.Shutdown(fd, unix.SHUT_RD) }

// dupFD duplicates fd. The duplicate does not block, as the original.
func dupFD(fd int) (int, error) {
	n, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if err := unix.SetNonblock(n, true); err != nil {
		unix.Close(n)
		return -1, err
	}
	return n, nil
}

// yield puts the calling thread into the scheduling class for batch work, or
// back into the normal one. Both need no privilege, and a refusal costs nothing
// but speed.
func (l *Loop) yield(batch bool) {
	const normal, background = 0, 3 // SCHED_OTHER, SCHED_BATCH (sched.h)
	class := uintptr(normal)
	if batch {
		class = background
	}
	var param int32
	unix.RawSyscall(unix.SYS_SCHED_SETSCHEDULER, 0, class, uintptr(unsafe.Pointer(&param)))
}
