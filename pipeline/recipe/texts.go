package recipe

import (
	"context"
	"fmt"
	"iter"
	"os"
	"strconv"
	"strings"

	"github.com/gor1/gor1/data"
)

// sources are the data sets and their weights.
func (t Texts) sources() (names []string, weights []float64, err error) {
	switch {
	case len(t.Mix) == 0 && t.Dataset == "":
		return nil, nil, fmt.Errorf("recipe: dataset_name is missing: a file (jsonl, json, csv, parquet), a folder or a hub id")
	case len(t.Mix) == 0:
		return []string{t.Dataset}, []float64{1}, nil
	}
	for _, m := range t.Mix {
		name, text, weighed := strings.Cut(m, "=")
		w := 1.0
		if weighed {
			if w, err = strconv.ParseFloat(text, 64); err != nil || !(w > 0) {
				return nil, nil, fmt.Errorf("recipe: dataset_mixture: %q: want NAME=WEIGHT with a weight of more than 0", m)
			}
		}
		names, weights = append(names, name), append(weights, w)
	}
	return names, weights, nil
}

// read reads a split into memory.
func (t Texts) read(ctx context.Context, name, split string, from Sources) (data.Table, error) {
	set, err := data.Open(ctx, name, data.Options{Split: split, Config: t.Config, Hub: from.Data})
	if err != nil {
		return nil, err
	}
	return data.ReadAll(ctx, set, 0)
}

// oneFile tells whether a data set is a file: a split of its own, with no other to measure on.
func oneFile(name string) bool {
	info, err := os.Stat(name)
	return err == nil && !info.IsDir()
}

// inOrder is a table as a stream, in its own order.
type inOrder data.Table

// Rows gives the rows from a cursor on.
func (t inOrder) Rows(ctx context.Context, from data.Cursor) iter.Seq2[data.Row, error] {
	return func(yield func(data.Row, error) bool) {
		for i := from.Row; i < int64(len(t)); i++ {
			if err := ctx.Err(); err != nil {
				yield(data.Row{}, err)
				return
			}
			row := t[i]
			row.Next = data.Cursor{Row: i + 1}
			if !yield(row, nil) {
				return
			}
		}
	}
}
