package lsn

// Hold takes the watermark's lock, so that a test can stop a registration at
// the one place where an Advance may slip past it.
func (m *Watermark) Hold() (release func()) {
	m.mu.Lock()
	return m.mu.Unlock
}

// Waiting returns how many registrations there are.
func (m *Watermark) Waiting() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.waiters)
}

// Highest returns the highest target that somebody waits for, and false when
// nobody waits.
func (m *Watermark) Highest() (LSN, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	highest := m.waiters.highest()
	return highest, highest != 0
}

func (h waitHeap) highest() LSN {
	var highest LSN
	for i := range h {
		highest = max(highest, h[i].target)
	}
	return highest
}
