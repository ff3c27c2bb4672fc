package simulation

import (
	"fmt"
	"math/bits"
	"strings"
)

// maxWrites bounds the writes of one schedule.
const maxWrites = 256

// set is a set of writes, by their numbers.
type set [maxWrites / 64]uint64

func (s *set) add(id int)     { s[id/64] |= 1 << (id % 64) }
func (s set) has(id int) bool { return s[id/64]&(1<<(id%64)) != 0 }

func (s *set) join(o set) {
	for i := range s {
		s[i] |= o[i]
	}
}

func (s set) and(o set) set {
	for i := range s {
		s[i] &= o[i]
	}
	return s
}

func (s set) without(o set) set {
	for i := range s {
		s[i] &^= o[i]
	}
	return s
}

func (s set) empty() bool { return s == set{} }

func (s set) each(f func(id int)) {
	for i, word := range s {
		for ; word != 0; word &= word - 1 {
			f(i*64 + bits.TrailingZeros64(word))
		}
	}
}

func (s set) String() string {
	var ids []string
	s.each(func(id int) { ids = append(ids, fmt.Sprintf("w%d", id)) })
	if ids == nil {
		return "nothing"
	}
	return strings.Join(ids, " ")
}

// dice is a source of numbers of one actor: what one actor rolls does not
// depend on how often others have rolled.
type dice uint64

// roll mixes a seed with the numbers that tell an actor from all others.
func roll(seed uint64, who ...uint64) dice {
	d := dice(seed)
	for _, x := range who {
		d = dice(d.next() ^ x*0x9e3779b97f4a7c15)
	}
	return d
}

func (d *dice) next() uint64 {
	*d += 0x9e3779b97f4a7c15
	z := uint64(*d)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// n returns a number below most.
func (d *dice) n(most int) int { return int(d.next() >> 1 % uint64(most)) }

// one is true once in n times.
func (d *dice) one(n int) bool { return d.n(n) == 0 }
