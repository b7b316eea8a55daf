package data

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
)

// Cursor is a place in a stream, between two rows. The zero Cursor is the beginning. It is plain data: save it as JSON beside the
// state of the training and give it back to Rows of a stream made in the same way, and the rest are the same rows.
type Cursor struct {
	Source string   `json:"source,omitempty"` // of a Dataset: a hash of its files' names and sizes
	Epoch  int64    `json:"epoch,omitempty"`  // whole passes done
	Row    int64    `json:"row,omitempty"`    // rows done: of the file, of the pass, or of the mixture
	File   int      `json:"file,omitempty"`   // index among the Dataset's files
	Line   int64    `json:"line,omitempty"`   // lines done of the file
	Offset int64    `json:"offset,omitempty"` // bytes done of the file, decompressed
	Done   bool     `json:"done,omitempty"`   // within a Mix: the part has ended
	Inner  []Cursor `json:"inner,omitempty"`  // places in the streams underneath
}

// start says whether the cursor is the beginning.
func (c Cursor) start() bool {
	return c.Source == "" && c.Epoch == 0 && c.Row == 0 && c.File == 0 && c.Offset == 0 && !c.Done && len(c.Inner) == 0
}

// inner gives the cursor of the only stream underneath.
func (c Cursor) inner(what string) (Cursor, error) {
	if c.start() {
		return Cursor{}, nil
	}
	if len(c.Inner) != 1 || c.Source != "" {
		return Cursor{}, fmt.Errorf("data: the cursor is not one of a %s; build the stream as it was when the cursor was saved", what)
	}
	return c.Inner[0], nil
}

// Stream is rows in a fixed order. Every call of Rows gives the rows from the cursor on; each row's Next is the cursor behind it.
// An error ends the iteration, as does a context that ends. No goroutine or file outlives the iteration.
type Stream interface {
	Rows(ctx context.Context, from Cursor) iter.Seq2[Row, error]
}

// streamFunc is a Stream made of its method.
type streamFunc func(ctx context.Context, from Cursor) iter.Seq2[Row, error]

// Rows calls f.
func (f streamFunc) Rows(ctx context.Context, from Cursor) iter.Seq2[Row, error] { return f(ctx, from) }

// failed is a stream that gives an error.
func failed(err error) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) { yield(Row{}, err) }
}

// Repeat gives the rows of a stream epochs times; 0 means for ever. A pass without rows is an error, so that nothing spins.
func Repeat(s Stream, epochs int64) Stream {
	return streamFunc(func(ctx context.Context, from Cursor) iter.Seq2[Row, error] {
		place, err := from.inner("Repeat")
		if err != nil {
			return failed(err)
		}
		return func(yield func(Row, error) bool) {
			for epoch := from.Epoch; epochs == 0 || epoch < epochs; epoch++ {
				rows := 0
				for row, err := range s.Rows(ctx, place) {
					rows++
					row.Next = Cursor{Epoch: epoch, Inner: []Cursor{row.Next}}
					if !yield(row, err) || err != nil {
						return
					}
				}
				if rows == 0 && place.start() {
					yield(Row{}, errors.New("data: repeat: a whole pass over the data gave no rows; look at the filter and the files"))
					return
				}
				place = Cursor{}
			}
		}
	})
}

// ErrDrop is returned by the function of Map for a row that is to be left out.
var ErrDrop = errors.New("data: drop this row")

// Map changes every row with f, which must depend on nothing but the row. Where f returns ErrDrop the row is left out; any other
// error ends the stream. The row's place and cursor stay.
func Map(s Stream, f func(Row) (Row, error)) Stream {
	return streamFunc(func(ctx context.Context, from Cursor) iter.Seq2[Row, error] {
		return func(yield func(Row, error) bool) {
			for row, err := range s.Rows(ctx, from) {
				if err == nil {
					place, next := row.Place, row.Next
					row, err = f(row)
					row.Place, row.Next = place, next
				}
				if errors.Is(err, ErrDrop) {
					continue
				}
				if !yield(row, err) || err != nil {
					return
				}
			}
		}
	})
}

// Table is rows in memory.
type Table []Row

// ReadAll reads a stream's rows from the beginning into memory; limit is the most it may give (0: no limit, never for an endless
// stream), and more is an error.
func ReadAll(ctx context.Context, s Stream, limit int) (Table, error) {
	var t Table
	for row, err := range s.Rows(ctx, Cursor{}) {
		if err != nil {
			return nil, err
		}
		if limit > 0 && len(t) == limit {
			return nil, fmt.Errorf("data: more than %d rows; stream them, or raise the limit", limit)
		}
		t = append(t, row)
	}
	return t, nil
}

// Len is the number of rows.
func (t Table) Len() int { return len(t) }

// At returns row i.
func (t Table) At(i int) (Row, error) { return t[i], nil }

// Rename makes a function for Map that gives columns the names that a trainer wants: {"question": "prompt"} makes question the
// prompt. A column that is missing, or whose new name is taken by one that stays, is an error.
func Rename(names map[string]string) func(Row) (Row, error) {
	return func(r Row) (Row, error) {
		fields := slices.Clone(r.Fields)
		found := 0
		taken := make(map[string]bool, len(fields))
		for i, f := range fields {
			if to, ok := names[f.Name]; ok {
				fields[i].Name = to
				found++
			}
			if taken[fields[i].Name] {
				return r, r.fail(f.Name, "cannot be renamed: the row would have two columns called %q; rename the other one as well", fields[i].Name)
			}
			taken[fields[i].Name] = true
		}
		if found < len(names) {
			for from := range names {
				if _, err := r.value(from); err != nil {
					if _, there := r.Fields.Get(from); !there {
						return r, err
					}
				}
			}
		}
		r.Fields = fields
		return r, nil
	}
}
