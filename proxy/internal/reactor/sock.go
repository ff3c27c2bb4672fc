package reactor

import (
	"github.com/pgroute/pgroute/internal/silence"
	"github.com/pgroute/pgroute/proxy/internal/tlsconn"
)

// A sock is one socket of a loop, of a client or a backend. It belongs to the
// loop from Adopt to its end; nobody else reads, writes or closes it (I3).
type sock struct {
	fd   int
	tls  *tlsconn.Conn // nil in the clear
	mask uint32        // what epoll watches
	dead bool

	// in is what was read and not consumed. While inScratch is true it lies in
	// the loop's scratch and must be moved before the next read.
	in        []byte
	inBase    []byte // the buffer that in lies in, when it is our own
	inScratch bool

	// out[outAt:] is what could not be written yet.
	out   []byte
	outAt int

	paused bool // not read, because what it sends cannot go on

	// bounded: it is a server's, by TCP, which may be silent for so long only.
	bounded bool
	bound   silence.Bound
}

const (
	// readChunk is the most that is read from one stream in one turn.
	readChunk = 64 << 10
	// highWater and lowWater are when reading a stream's peer stops and goes
	// on, in bytes queued for the stream.
	highWater = 256 << 10
	lowWater  = 64 << 10
)

func (s *sock) queued() int { return len(s.out) - s.outAt }

// consume drops n bytes of the input.
func (s *sock) consume(n int) { s.in = s.in[n:] }

// keep moves what is left of the input out of the scratch buffer, and returns
// a buffer that is not needed any more.
func (l *Loop) keep(s *sock) {
	if s.inScratch {
		s.inScratch = false
		if len(s.in) == 0 {
			s.in = nil
			return
		}
		b := l.buffer(len(s.in))
		s.in = append(b, s.in...)
		s.inBase = s.in[:0]
		return
	}
	if len(s.in) == 0 && s.inBase != nil {
		l.recycle(s.inBase)
		s.in, s.inBase = nil, nil
	}
}

// fill reads once from s into the scratch buffer, behind what is left from
// earlier. It returns false at the end of the stream or at an error.
func (l *Loop) fill(s *sock) (n int, ok bool) {
	var err error
	left := copy(l.scratch, s.in)
	if left < len(s.in) { // cannot happen while the bounds on input hold
		return 0, true
	}
	end := min(len(l.scratch)-tlsconn.Slack, left+readChunk)
	if s.tls == nil {
		n, err = read(s.fd, l.scratch[left:end])
	} else {
		n, err = l.open(s, l.scratch[left:end+tlsconn.Slack])
	}
	if err == errAgain {
		return 0, true
	}
	if err != nil || n == 0 {
		return 0, false
	}
	if s.inBase != nil {
		l.recycle(s.inBase)
		s.inBase = nil
	}
	s.in, s.inScratch = l.scratch[:left+n], true
	if s.bounded {
		s.bound.Received(uintptr(s.fd))
	}
	return n, true
}

// write writes what fits of b.
func (s *sock) write(b []byte) (int, error) {
	n, err := write(s.fd, b)
	if s.bounded {
		s.bound.Sends(uintptr(s.fd), n)
	}
	return n, err
}

// send writes b, or queues what does not fit. It returns false if the socket
// is broken.
func (l *Loop) send(s *sock, b []byte) bool {
	if s.dead {
		return false
	}
	if s.tls != nil {
		b = l.seal(s, b)
	}
	if s.queued() == 0 {
		n, err := s.write(b)
		if err != nil && err != errAgain {
			return false
		}
		if b = b[n:]; len(b) == 0 {
			return true
		}
	}
	l.queueRaw(s, b)
	l.watch(s)
	return true
}

// queue adds b to what is to be written.
func (l *Loop) queue(s *sock, b []byte) {
	if s.tls != nil {
		b = l.seal(s, b)
	}
	l.queueRaw(s, b)
}

// queueRaw is queue for what is written as it is.
func (l *Loop) queueRaw(s *sock, b []byte) {
	if s.out == nil {
		s.out = l.buffer(len(b))
	} else if s.outAt > 0 && len(s.out)+len(b) > cap(s.out) {
		s.out = s.out[:copy(s.out, s.out[s.outAt:])]
		s.outAt = 0
	}
	s.out = append(s.out, b...)
}

// flush writes what is queued. It returns false if the socket is broken.
func (l *Loop) flush(s *sock) bool {
	for s.queued() > 0 {
		n, err := s.write(s.out[s.outAt:min(len(s.out), s.outAt+4*readChunk)])
		if err == errAgain {
			break
		}
		if err != nil {
			return false
		}
		s.outAt += n
	}
	if s.queued() == 0 && s.out != nil {
		l.recycle(s.out)
		s.out, s.outAt = nil, 0
	}
	l.watch(s)
	return true
}

// watch tells epoll what s waits for, if that has changed.
func (l *Loop) watch(s *sock) {
	if s.dead {
		return
	}
	var mask uint32
	if !s.paused {
		mask = evIn
	}
	if s.queued() > 0 {
		mask |= evOut
	}
	if mask != s.mask {
		s.mask = mask
		l.poll.modify(s.fd, mask)
	}
}

func (l *Loop) pause(s *sock) {
	if !s.paused {
		s.paused = true
		l.watch(s)
	}
}

func (l *Loop) resume(s *sock) {
	if s.paused {
		s.paused = false
		l.watch(s)
	}
}

// bufferSize is the size of the buffers that are used again.
const bufferSize = 16 << 10

// buffer returns an empty buffer for at least n bytes.
func (l *Loop) buffer(n int) []byte {
	if n <= bufferSize {
		if k := len(l.free); k > 0 {
			b := l.free[k-1]
			l.free = l.free[:k-1]
			return b
		}
		return make([]byte, 0, bufferSize)
	}
	return make([]byte, 0, n)
}

// recycle takes a buffer back.
func (l *Loop) recycle(b []byte) {
	if cap(b) == bufferSize && len(l.free) < 64 {
		l.free = append(l.free, b[:0])
	}
}

// shut closes s.
func (l *Loop) shut(s *sock) {
	if s.dead {
		return
	}
	s.dead = true
	l.slots[s.fd] = slot{}
	closeFD(s.fd) // epoll forgets it with its last descriptor
	if s.out != nil {
		l.recycle(s.out)
	}
	if s.inBase != nil {
		l.recycle(s.inBase)
	}
	s.in, s.inBase, s.out, s.outAt, s.tls = nil, nil, nil, 0, nil
	s.inScratch = false
}
