package kernels

import (
	"cmp"
	"slices"
	"unsafe"
)

// arena cuts pieces out of large segments of a backend's memory. A step asks for other sizes than the one before it, since lengths
// vary: a request takes the smallest free piece that it fits in, what is left of that stays free, and free neighbours grow together again.
// So the memory kept is about the most that was in use at once; a block that lives long keeps its segment, the rest of which serves other requests.
type arena struct {
	free     []*piece // by size, then address
	reserved int64    // bytes of all segments
}

// piece is a part of a segment; its neighbours are the parts before and behind it.
type piece struct {
	p          unsafe.Pointer
	bytes      int64
	used       bool
	prev, next *piece
}

const (
	segmentBytes = 32 << 20 // of the least segment: several pieces fit in it
	pageBytes    = 2 << 20  // segments are multiples of a large page
	leastRest    = 4 << 10  // a smaller rest is not cut off
)

func bySize(a, b *piece) int {
	return cmp.Or(cmp.Compare(a.bytes, b.bytes), cmp.Compare(uintptr(a.p), uintptr(b.p)))
}

func (a *arena) insert(x *piece) {
	i, _ := slices.BinarySearchFunc(a.free, x, bySize)
	a.free = slices.Insert(a.free, i, x)
}

func (a *arena) remove(x *piece) {
	i, _ := slices.BinarySearchFunc(a.free, x, bySize)
	a.free = slices.Delete(a.free, i, i+1)
}

// take returns a free piece of the given size, or nil where none is large enough.
func (a *arena) take(bytes int64) *piece {
	i, _ := slices.BinarySearchFunc(a.free, bytes, func(x *piece, n int64) int { return cmp.Or(cmp.Compare(x.bytes, n), 1) })
	if i == len(a.free) {
		return nil
	}
	x := a.free[i]
	a.free = slices.Delete(a.free, i, i+1)
	return a.cut(x, bytes)
}

// grow adds a segment and takes a piece of it.
func (a *arena) grow(p unsafe.Pointer, segment, bytes int64) *piece {
	a.reserved += segment
	return a.cut(&piece{p: p, bytes: segment}, bytes)
}

// cut leaves what x has beyond the given size in the arena.
func (a *arena) cut(x *piece, bytes int64) *piece {
	x.used = true
	if x.bytes-bytes < leastRest {
		return x
	}
	rest := &piece{p: unsafe.Add(x.p, bytes), bytes: x.bytes - bytes, prev: x, next: x.next}
	if rest.next != nil {
		rest.next.prev = rest
	}
	x.next, x.bytes = rest, bytes
	a.insert(rest)
	return x
}

// give takes a piece back and joins it with its free neighbours.
func (a *arena) give(x *piece) {
	x.used = false
	if n := x.next; n != nil && !n.used {
		a.remove(n)
		x.bytes += n.bytes
		if x.next = n.next; x.next != nil {
			x.next.prev = x
		}
	}
	if b := x.prev; b != nil && !b.used {
		a.remove(b)
		b.bytes += x.bytes
		if b.next = x.next; b.next != nil {
			b.next.prev = b
		}
		x = b
	}
	a.insert(x)
}

// spare takes a segment of which nothing is in use out of the arena, for its memory to be released; nil: there is none.
func (a *arena) spare() unsafe.Pointer {
	for i, x := range a.free {
		if x.prev == nil && x.next == nil {
			a.free = slices.Delete(a.free, i, i+1)
			a.reserved -= x.bytes
			return x.p
		}
	}
	return nil
}

// segment is the size of a new segment for a request.
func segment(bytes int64) int64 { return max(segmentBytes, (bytes+pageBytes-1)/pageBytes*pageBytes) }
