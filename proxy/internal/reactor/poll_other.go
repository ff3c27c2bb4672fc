//go:build !linux

package reactor

import "errors"

// Other systems than Linux compile, so that one can develop on them; they do
// not serve.
var errNoEpoll = errors.New("pgroute serves on Linux only: its event loops use epoll")

type event struct {
	Events uint32
	Fd     int32
}

type poller struct{ wake int }

const (
	evIn  = 1
	evOut = 2
	evErr = 4
)

func newPoller() (*poller, error) { return nil, errNoEpoll }

func (p *poller) close()                   {}
func (p *poller) add(int, uint32) error    { return errNoEpoll }
func (p *poller) modify(int, uint32) error { return errNoEpoll }
func (p *poller) wait(int) []event         { return nil }
func (p *poller) interrupt()               {}
func (p *poller) drain()                   {}

var errAgain = errors.New("again")

func read(int, []byte) (int, error)  { return 0, errNoEpoll }
func write(int, []byte) (int, error) { return 0, errNoEpoll }
func closeFD(int)                    {}
func shutdownFD(int)                 {}
func shutReadFD(int)                 {}
func dupFD(int) (int, error)         { return -1, errNoEpoll }

func peerAddr(int) (addr string, port int) { return "", 0 }

func (l *Loop) yield(bool) {}
