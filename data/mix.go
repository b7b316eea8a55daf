package data

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
)

// Part is one source of a mixture.
type Part struct {
	Stream Stream
	Weight float64 // its share of the rows, relative to the other parts'; more than 0
}

// Mix draws each row from one of the parts with a probability in proportion to its weight. Draw n is a function of seed and n. A
// part that has ended is drawn no more, the others keep their proportions, and the mixture ends with the last one: so each row
// comes once. For fixed shares all along, give endless parts (Repeat, Shuffle with 0 epochs).
func Mix(seed uint64, parts ...Part) Stream {
	return streamFunc(func(ctx context.Context, from Cursor) iter.Seq2[Row, error] {
		if err := checkParts(parts, from); err != nil {
			return failed(err)
		}
		return func(yield func(Row, error) bool) {
			places := slices.Clone(from.Inner)
			if places == nil {
				places = make([]Cursor, len(parts))
			}
			next := make([]func() (Row, error, bool), len(parts)) // started when first drawn
			for n := from.Row; ; n++ {
				i, ok := draw(seed, uint64(n), parts, places)
				if !ok {
					return
				}
				if next[i] == nil {
					pull, stop := iter.Pull2(parts[i].Stream.Rows(ctx, places[i]))
					defer stop()
					next[i] = pull
				}
				row, err, more := next[i]()
				if !more {
					places[i].Done = true
					n-- // the same draw again, among the others
					continue
				}
				places[i] = row.Next
				row.Next = Cursor{Row: n + 1, Inner: slices.Clone(places)}
				if !yield(row, err) || err != nil {
					return
				}
			}
		}
	})
}

// draw picks the part of draw n among those that have not ended.
func draw(seed, n uint64, parts []Part, places []Cursor) (int, bool) {
	total, last := 0.0, -1
	for i, p := range parts {
		if !places[i].Done {
			total += p.Weight
			last = i
		}
	}
	u := float64(mix(mix(seed)+n)>>11) / (1 << 53) * total
	for i, p := range parts {
		if places[i].Done {
			continue
		}
		if u < p.Weight {
			return i, true
		}
		u -= p.Weight
	}
	return last, last >= 0 // rounding
}

func checkParts(parts []Part, from Cursor) error {
	if len(parts) == 0 {
		return errors.New("data: mix: no parts")
	}
	for i, p := range parts {
		if !(p.Weight > 0) || math.IsInf(p.Weight, 0) {
			return fmt.Errorf("data: mix: the weight of part %d is %v, want a number above 0", i, p.Weight)
		}
	}
	if !from.start() && (len(from.Inner) != len(parts) || from.Source != "") {
		return fmt.Errorf("data: the cursor is not one of a Mix of %d parts; build the stream as it was when the cursor was saved", len(parts))
	}
	return nil
}
