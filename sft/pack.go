package sft

import (
	"cmp"
	"fmt"
	"slices"
)

// Segment is tokens From to To of an example.
type Segment struct{ Example, From, To int }

// Packer fills rows of at most max tokens with examples of the given lengths. Attention never crosses from one segment of a row to the
// next: the row is a list of sequences, not one. Examples without a token are left out.
type Packer func(lengths []int, max int) ([][]Segment, error)

// BestFit packs by best-fit decreasing (TRL's bfd): the longest example first, each into the fullest row it still fits into. An
// example longer than a row is cut at its end.
func BestFit(lengths []int, max int) ([][]Segment, error) {
	return pack(lengths, max, func(example, length int) []Segment { return []Segment{{example, 0, min(length, max)}} })
}

// BestFitSplit is BestFit where an example longer than a row becomes several of at most a row each, and no token is lost (TRL's
// bfd_split).
func BestFitSplit(lengths []int, max int) ([][]Segment, error) {
	return pack(lengths, max, func(example, length int) (out []Segment) {
		for from := 0; from < length; from += max {
			out = append(out, Segment{example, from, min(from+max, length)})
		}
		return out
	})
}

// Wrap lays all examples end to end and cuts the line every max tokens (TRL's wrapped): full rows, examples torn anywhere.
func Wrap(lengths []int, max int) ([][]Segment, error) {
	if max < 1 {
		return nil, fmt.Errorf("sft: pack: rows of %d tokens", max)
	}
	var rows [][]Segment
	room := 0
	for example, length := range lengths {
		for from := 0; from < length; {
			if room == 0 {
				rows, room = append(rows, nil), max
			}
			n := min(room, length-from)
			last := &rows[len(rows)-1]
			*last = append(*last, Segment{example, from, from + n})
			from, room = from+n, room-n
		}
	}
	return rows, nil
}

// pack is best-fit decreasing over the pieces that cut makes of each example.
func pack(lengths []int, max int, cut func(example, length int) []Segment) ([][]Segment, error) {
	if max < 1 {
		return nil, fmt.Errorf("sft: pack: rows of %d tokens", max)
	}
	var pieces []Segment
	for i, n := range lengths {
		if n < 0 {
			return nil, fmt.Errorf("sft: pack: example %d has length %d", i, n)
		}
		if n > 0 {
			pieces = append(pieces, cut(i, n)...)
		}
	}
	slices.SortStableFunc(pieces, func(a, b Segment) int { return cmp.Compare(b.To-b.From, a.To-a.From) })
	var rows [][]Segment
	queues := make([][]int, max+1) // rows by the room that is left in them, the one that has had it longest first
	for _, p := range pieces {
		n, room := p.To-p.From, 0
		for room = n; room < max && len(queues[room]) == 0; room++ {
		}
		row := len(rows)
		if room < max {
			row, queues[room] = queues[room][0], queues[room][1:]
		} else {
			rows = append(rows, nil)
		}
		rows[row] = append(rows[row], p)
		queues[room-n] = append(queues[room-n], row)
	}
	return rows, nil
}

// Cut is a segment of a sequence. What it learns first has nothing before it and so no weight.
func (q Sequence) Cut(s Segment) Sequence {
	out := Sequence{IDs: q.IDs[s.From:s.To]}
	if q.Weights != nil {
		out.Weights = q.Weights[s.From:s.To]
	}
	return out
}
