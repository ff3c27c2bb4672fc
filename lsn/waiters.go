package lsn

// A Waiter waits for a Watermark. Its dynamic type must be comparable;
// normally it is a pointer.
type Waiter interface {
	// Wake ends one registration, the one that was made with seq. err is nil
	// when the watermark reached the target, and otherwise says why it will
	// not. Wake is called outside of the watermark's locks, so it may call the
	// watermark's methods, but it holds up whoever raised the watermark and
	// every later waiter: it should only post a message. It may be called
	// from several goroutines at once for different registrations.
	Wake(seq uint64, err error)
}

// waiting is one registration.
type waiting struct {
	target LSN
	// order is the number of the registration: among equal targets the first
	// to come is the first to be woken.
	order  uint64
	seq    uint64
	waiter Waiter
}

func (a waiting) before(b waiting) bool {
	if a.target != b.target {
		return a.target < b.target
	}
	return a.order < b.order
}

// waitHeap is a binary heap with the next registration to wake at index 0.
// (container/heap would box every element.)
type waitHeap []waiting

func (h *waitHeap) push(w waiting) {
	*h = append(*h, w)
	h.up(len(*h) - 1)
}

// pop removes and returns the first registration of a heap that has one.
func (h *waitHeap) pop() waiting {
	return h.remove(0)
}

// remove removes and returns the registration at index i, which exists.
func (h *waitHeap) remove(i int) waiting {
	s := *h
	last := len(s) - 1
	removed := s[i]
	s[i] = s[last]
	s[last] = waiting{} // the slot is reused and must not keep the waiter alive
	*h = s[:last]
	if i < last {
		// What came from the end may belong above or below i, not both.
		h.down(i)
		h.up(i)
	}
	return removed
}

// find returns the index of the registration of w with seq, or -1.
func (h waitHeap) find(w Waiter, seq uint64) int {
	for i := range h {
		if h[i].seq == seq && h[i].waiter == w {
			return i
		}
	}
	return -1
}

func (h waitHeap) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !h[i].before(h[parent]) {
			return
		}
		h[i], h[parent] = h[parent], h[i]
		i = parent
	}
}

func (h waitHeap) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(h) {
			return
		}
		if right := child + 1; right < len(h) && h[right].before(h[child]) {
			child = right
		}
		if !h[child].before(h[i]) {
			return
		}
		h[i], h[child] = h[child], h[i]
		i = child
	}
}
