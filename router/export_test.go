package router

// What only the tests of this package look at.

// NumReasons is how many reasons there are.
const NumReasons = int(numReasons)

// Answered returns the highest ticket that is answered.
func (r *Router) Answered() uint64 { return r.oracle.ring.last.Load() }

// Answer returns a floor that covers the ticket gen, and false if it is not known
// yet.
func (r *Router) Answer(gen uint64) (Floor, bool) { return r.oracle.ring.answer(gen) }
