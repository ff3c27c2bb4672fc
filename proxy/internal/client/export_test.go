package client

// Held counts the statements to which somebody refers. It panics if there is
// one to which fewer than nobody refers.
func (t *Statements) Held() int {
	n := 0
	for _, s := range t.byKey {
		if s.refs < 0 {
			panic("a statement was released too often: " + string(s.rest))
		}
		if s.refs > 0 {
			n++
		}
	}
	return n
}

// Bytes is what all statements take, also those of nobody.
func (t *Statements) Bytes() int {
	n := 0
	for _, s := range t.byKey {
		n += s.size()
	}
	return n
}

// MaxIdleBytes and MaxNameBytes bound what statements take.
const (
	MaxIdleBytes = maxIdleBytes
	MaxNameBytes = maxNameBytes
)

// Said is how much the transaction has said of channels and of settings.
func (m *Machine) Said() (channels, settings int) {
	if m.listen != nil {
		channels = len(m.listen.pending)
	}
	return channels, len(m.txChanges)
}
