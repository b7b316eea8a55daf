package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/gor1/gor1/data"
	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/sft"
)

// Feed turns a stream of rows into packed rows of sequences, window by window. Where it is can be saved and gone back to exactly.
type Feed struct {
	Rows    data.Stream // endless, or at least as long as the training: data.Shuffle, data.Repeat and data.Mix make one
	Prepare func(row data.Row) (sft.Sequence, error)
	Pack    sft.Packer // nil: every example is a row of its own
	Max     int        // tokens of a packed row
	Window  int        // rows of the stream that are packed together; 0: 1,000
	Seed    uint64     // of the packed rows' order in their window: a packer sorts them by length
}

// FeedState is where a Feed is: plain data for a checkpoint.
type FeedState struct {
	Cursor  data.Cursor `json:"cursor"`  // where the window at hand begins
	Window  int64       `json:"window"`  // its number
	Taken   int         `json:"taken"`   // packed rows of it that were used
	Dropped int64       `json:"dropped"` // rows in which nothing was to be learnt, in the windows before
}

// ErrEnd is wrapped by the error of a feed whose stream has ended.
var ErrEnd = errors.New("the data has ended")

// feeder reads a feed. Its state moves on commit, so that a step that failed is taken again with the same rows.
type feeder struct {
	Feed
	state *FeedState

	rows    [][]sft.Sequence // of the window at hand; nil: not read yet
	after   data.Cursor      // where the next window begins
	dropped int64            // in the window at hand
	pending FeedState        // what commit will make the state
}

// next gives the sequences of the next n packed rows.
func (f *feeder) next(ctx context.Context, n int) ([]sft.Sequence, error) {
	f.pending = *f.state
	if f.rows == nil {
		if err := f.read(ctx); err != nil {
			return nil, err
		}
	}
	var out []sft.Sequence
	for range n {
		if f.pending.Taken == len(f.rows) {
			f.pending = FeedState{Cursor: f.after, Window: f.pending.Window + 1, Dropped: f.pending.Dropped + f.dropped}
			if err := f.read(ctx); err != nil {
				return nil, err
			}
		}
		out = append(out, f.rows[f.pending.Taken]...)
		f.pending.Taken++
	}
	return out, nil
}

func (f *feeder) commit() { *f.state = f.pending }

// read reads the window at the pending cursor.
func (f *feeder) read(ctx context.Context) error {
	window := f.Window
	if window == 0 {
		window = 1000
	}
	var all []sft.Sequence
	read := 0
	f.dropped, f.after = 0, f.pending.Cursor
	for row, err := range f.Rows.Rows(ctx, f.pending.Cursor) {
		if err != nil {
			return err
		}
		f.after = row.Next
		q, err := f.Prepare(row)
		switch {
		case errors.Is(err, sft.ErrNothing):
			f.dropped++
		case err != nil:
			return err
		default:
			all = append(all, q)
		}
		if read++; read == window {
			break
		}
	}
	rows, err := f.pack(all)
	switch {
	case err != nil:
		return err
	case len(rows) > 0:
		f.rows = rows
		return nil
	case read == window || read > 0 && f.pending.Window == 0: // the last few rows of a stream may well be empty
		return fmt.Errorf("pipeline: in %d rows in a row nothing is left to learn: raise max_length, or look at the columns", read)
	}
	return fmt.Errorf("pipeline: %w after %d windows of rows", ErrEnd, f.pending.Window)
}

// pack lays examples into rows, in an order drawn from the seed and the window's number. A row of nothing but prompts, which a packer that
// cuts examples can make, is left out: a batch of it would have nothing to learn.
func (f *feeder) pack(all []sft.Sequence) ([][]sft.Sequence, error) {
	rows := make([][]sft.Sequence, 0, len(all))
	if f.Pack == nil {
		for _, q := range all {
			rows = append(rows, []sft.Sequence{q})
		}
		return rows, nil
	}
	lengths := make([]int, len(all))
	for i, q := range all {
		lengths[i] = len(q.IDs)
	}
	segments, err := f.Pack(lengths, f.Max)
	if err != nil {
		return nil, err
	}
	order := make([]int, len(segments))
	words := make([]uint32, len(segments))
	for i := range order {
		order[i] = i
		words[i] = kernels.Philox([2]uint32{uint32(f.Seed), uint32(f.Seed >> 32)}, [4]uint32{uint32(i), uint32(f.pending.Window), uint32(f.pending.Window >> 32), 0x7061636b})[0]
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Or(cmp.Compare(words[a], words[b]), cmp.Compare(a, b)) })
	for _, i := range order {
		var row []sft.Sequence
		total := 0.0
		for _, s := range segments[i] {
			q := all[s.Example].Cut(s)
			w, err := q.Weight()
			if err != nil {
				return nil, fmt.Errorf("pipeline: example %d of the window has %w", s.Example, err)
			}
			row, total = append(row, q), total+w
		}
		if total > 0 {
			rows = append(rows, row)
		}
	}
	return rows, nil
}

// Count is how many packed rows one pass over a stream that ends gives, and how many tokens they have in all.
func (f Feed) Count(ctx context.Context, once data.Stream) (rows int, tokens int64, err error) {
	var state FeedState
	f.Rows = once
	r := feeder{Feed: f, state: &state}
	for {
		q, err := r.next(ctx, 1)
		if errors.Is(err, ErrEnd) {
			return rows, tokens, nil
		}
		if err != nil {
			return rows, tokens, err
		}
		r.commit()
		rows++
		for _, s := range q {
			tokens += int64(len(s.IDs))
		}
	}
}
