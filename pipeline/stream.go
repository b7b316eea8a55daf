package pipeline

import (
	"cmp"
	"encoding/binary"
	"slices"
	"sync"

	"github.com/gor1/gor1/kernels"
)

// Stream is the endless order in which rows are taken. Every epoch is a fresh permutation drawn from the seed alone, so that a
// position is all that a checkpoint must know of it.
type Stream[T any] struct {
	rows    []T
	seed    uint64
	shuffle bool

	mu    sync.Mutex
	epoch uint64 // that order is of
	order []int
}

// NewStream returns the endless order of rows; without shuffle each epoch takes them as they are.
func NewStream[T any](rows []T, seed uint64, shuffle bool) *Stream[T] {
	return &Stream[T]{rows: rows, seed: seed, shuffle: shuffle, epoch: ^uint64(0)}
}

// Len is the number of rows of an epoch.
func (s *Stream[T]) Len() int { return len(s.rows) }

// At is the row at a position, counted from 0, and its number in the data set. There must be at least one row.
func (s *Stream[T]) At(position uint64) (row T, number int) {
	n := uint64(len(s.rows))
	at := int(position % n)
	if s.shuffle {
		at = s.permutation(position / n)[at]
	}
	return s.rows[at], at
}

// permutation sorts the rows by random words, each a function of seed, epoch and row: no generator has a state.
func (s *Stream[T]) permutation(epoch uint64) []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.epoch == epoch {
		return s.order
	}
	type ticket struct {
		word uint64
		row  int
	}
	tickets := make([]ticket, len(s.rows))
	key := [2]uint32{uint32(s.seed), uint32(s.seed >> 32)}
	for i := range tickets {
		w := kernels.Philox(key, [4]uint32{uint32(i), uint32(epoch), uint32(epoch >> 32), 0x6f726472})
		tickets[i] = ticket{uint64(w[0])<<32 | uint64(w[1]), i}
	}
	slices.SortFunc(tickets, func(a, b ticket) int { return cmp.Or(cmp.Compare(a.word, b.word), cmp.Compare(a.row, b.row)) })
	s.order = make([]int, len(tickets))
	for i, t := range tickets {
		s.order[i] = t.row
	}
	s.epoch = epoch
	return s.order
}

// Fingerprint is a number that changes when a row does, as text tells it.
func (s *Stream[T]) Fingerprint(text func(T) string) uint64 {
	h := uint64(14695981039346656037) // FNV-1a
	add := func(b byte) { h = (h ^ uint64(b)) * 1099511628211 }
	for _, r := range s.rows {
		t := text(r)
		for _, b := range binary.LittleEndian.AppendUint64(nil, uint64(len(t))) {
			add(b)
		}
		for i := range len(t) {
			add(t[i])
		}
	}
	return h
}
