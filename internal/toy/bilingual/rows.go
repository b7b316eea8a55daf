package bilingual

import (
	"context"
	"encoding/json"
	"io"
	"path/filepath"

	"github.com/gor1/gor1/data"
	"github.com/gor1/gor1/run"
)

const rowsFile = "rows.jsonl"

// WriteRows writes an SFT set into a stage's directory and returns its path.
func WriteRows(dir *run.Run, rows []Row) (path string, err error) {
	err = dir.WriteFile(rowsFile, func(w io.Writer) error {
		enc := json.NewEncoder(w)
		enc.SetEscapeHTML(false)
		for _, r := range rows {
			if err := enc.Encode(r); err != nil {
				return err
			}
		}
		return nil
	})
	return filepath.Join(dir.Dir(), rowsFile), err
}

// ReadRows reads SFT sets and gives all rows in an endless shuffled order.
func ReadRows(ctx context.Context, seed uint64, paths ...string) (n int, rows data.Stream, err error) {
	var all data.Table
	for _, p := range paths {
		set, err := data.Open(ctx, p, data.Options{})
		if err != nil {
			return 0, nil, err
		}
		t, err := data.ReadAll(ctx, set, 0)
		if err != nil {
			return 0, nil, err
		}
		all = append(all, t...)
	}
	return len(all), data.Shuffle(all, seed, 0), nil
}

// TokensByDomain counts what a set teaches: the tokens of its completions, by domain.
func TokensByDomain(rows []Row) map[string]float64 {
	n := map[string]float64{}
	for _, r := range rows {
		n["tokens: "+r.Domain] += float64(len(Ids(r.Completion)) - 1)
	}
	return n
}
