package kernels

import (
	"fmt"
	"sort"
)

// Seg is one sequence inside packed rows.
type Seg struct {
	Start, Len int32
	// Parent is the number of the sequence whose rows stand before this one's (a group's shared prompt), or -1. A parent
	// has no parent itself.
	Parent int32
}

// Segs describes packed rows: all sequences end to end, in canonical order (dataset row, sample, position), with no
// padding. Every row belongs to exactly one sequence. A row's position is its offset in its sequence, the parent's rows
// counted before it.
type Segs []Seg

// PackedSegs describes sequences of the given lengths laid end to end, without parents.
func PackedSegs(lengths ...int) Segs {
	segs := make(Segs, len(lengths))
	start := int32(0)
	for i, n := range lengths {
		segs[i] = Seg{Start: start, Len: int32(n), Parent: -1}
		start += int32(n)
	}
	return segs
}

// Rows is the number of packed rows described.
func (g Segs) Rows() int {
	if len(g) == 0 {
		return 0
	}
	last := g[len(g)-1]
	return int(last.Start + last.Len)
}

// At describes rows gathered from those that g describes: a run of them that ascends within one sequence is a sequence, without a parent.
func (g Segs) At(rows []int32) Segs {
	var lengths []int
	for i, at, last := 0, -1, -1; i < len(rows); i++ {
		if at = sort.Search(len(g), func(j int) bool { return g[j].Start > rows[i] }); i == 0 || at != last || rows[i] <= rows[i-1] {
			lengths = append(lengths, 0)
		}
		lengths[len(lengths)-1]++
		last = at
	}
	return PackedSegs(lengths...)
}

// Positions returns each row's position in its sequence, the parent's rows counted.
func (g Segs) Positions() []int32 {
	pos := make([]int32, 0, g.Rows())
	for _, s := range g {
		first := int32(0)
		if s.Parent >= 0 {
			first = g[s.Parent].Len
		}
		for i := int32(0); i < s.Len; i++ {
			pos = append(pos, first+i)
		}
	}
	return pos
}

// Validate reports the first rule that g breaks: sequences lie end to end from row 0, are not empty, and a parent is an
// earlier sequence without a parent.
func (g Segs) Validate() error {
	next := int32(0)
	for i, s := range g {
		switch {
		case s.Start != next:
			return fmt.Errorf("kernels: segs: sequence %d starts at row %d, want %d", i, s.Start, next)
		case s.Len <= 0:
			return fmt.Errorf("kernels: segs: sequence %d has %d rows", i, s.Len)
		case s.Parent >= int32(i) || s.Parent < -1:
			return fmt.Errorf("kernels: segs: sequence %d has parent %d, want an earlier one or -1", i, s.Parent)
		case s.Parent >= 0 && g[s.Parent].Parent >= 0:
			return fmt.Errorf("kernels: segs: parent %d of sequence %d has a parent itself", s.Parent, i)
		}
		next = s.Start + s.Len
	}
	return nil
}
