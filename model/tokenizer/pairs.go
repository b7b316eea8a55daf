package tokenizer

import "math/rand/v2"

// pairs maps two ids to two numbers: an open-addressing table, twice as fast here as a Go map. The
// random multiplier keeps a crafted file from making keys collide; no result depends on it.
type pairs struct {
	slots []pairSlot
	mul   uint64
	shift uint
}

type pairSlot struct {
	key  uint64 // left<<32 | right, plus one: 0 is empty
	a, b uint32
}

// newPairs makes a table for at most n entries.
func newPairs(n int) *pairs {
	bits := uint(4)
	for 1<<bits < 2*n {
		bits++
	}
	return &pairs{make([]pairSlot, 1<<bits), rand.Uint64() | 1, 64 - bits}
}

func (p *pairs) slot(left, right uint32) *pairSlot {
	key := (uint64(left)<<32 | uint64(right)) + 1
	mask := uint64(len(p.slots) - 1)
	for i := (key ^ key>>29) * p.mul >> p.shift; ; i = (i + 1) & mask {
		if s := &p.slots[i]; s.key == key || s.key == 0 {
			return s
		}
	}
}

// set stores (a, b) for the key, over an earlier value.
func (p *pairs) set(left, right, a, b uint32) {
	*p.slot(left, right) = pairSlot{(uint64(left)<<32 | uint64(right)) + 1, a, b}
}

// get returns the values stored for the key.
func (p *pairs) get(left, right uint32) (a, b uint32, ok bool) {
	s := p.slot(left, right)
	return s.a, s.b, s.key != 0
}
