package lsn

// Hold takes the watermark's lock, so that a test can stop a registration at
// the one place where an Advance may slip past it.
func (m *Watermark) Hold() (release func()) {
	m.mu.Lock()
	return m.mu.Unlock
}
