package verify

import (
	"fmt"
	"math/rand/v2"
	"sync"
)

const (
	// Few keys at a time make clients meet; a key that has been used so often is
	// replaced by a new one, which keeps its history short enough to check.
	registerSlots, registerUses = 6, 240
	listSlots, listUses         = 6, 160
	// So many seats are on sale at a time.
	seatWindow = 12
	// accounts is how many there are, each with startBalance.
	accounts     = 8
	startBalance = 1_000_000_000
)

// keyring hands out the keys of one workload. It is safe for concurrent use.
type keyring struct {
	prefix string
	uses   int

	mu    sync.Mutex // guards the fields below
	next  int
	slots []slot
}

// slot is one of the keys in use.
type slot struct {
	key  string
	used int
	last string // the value that was read or written last
}

func newKeyring(prefix string, slots, uses int) *keyring {
	k := &keyring{prefix: prefix, uses: uses, slots: make([]slot, slots)}
	for i := range k.slots {
		k.slots[i].key = k.fresh()
	}
	return k
}

func (k *keyring) fresh() string {
	k.next++
	return fmt.Sprintf("%s%d", k.prefix, k.next)
}

// pick returns a key, and the last value that anybody noted for it.
func (k *keyring) pick(rng *rand.Rand) (key, last string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := &k.slots[rng.IntN(len(k.slots))]
	if s.used >= k.uses {
		*s = slot{key: k.fresh()}
	}
	s.used++
	return s.key, s.last
}

// note remembers the value of a key that is in use.
func (k *keyring) note(key, value string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i := range k.slots {
		if k.slots[i].key == key {
			k.slots[i].last = value
		}
	}
}

// retire replaces a key now: a seat that is sold.
func (k *keyring) retire(key string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i := range k.slots {
		// It stays on sale for a while, so that others are refused, or see it.
		if k.slots[i].key == key {
			k.slots[i].used = max(k.slots[i].used, k.uses-8)
		}
	}
}
