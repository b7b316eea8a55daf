package bench

import (
	"context"
	"fmt"
	"slices"

	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
)

// Contract checks on the device that is timed, in the process that times it, that speed was not bought with bits: a small model's rows come
// out the same packed with another sequence, run into a cache in chunks, and decoded one by one, and so do their log-probs.
func Contract(ctx context.Context, dev *kernels.Device, bf16 bool) error {
	const n = 70
	m, err := fresh(dev, "1m", Load{Batch: 1, Prompt: n, New: 1, Prompts: 1, Group: 1, BF16: bf16})
	if err != nil {
		return err
	}
	defer m.Close()
	cache, err := m.NewCache(2 * n)
	if err != nil {
		return err
	}
	defer cache.Close()
	a, b := ids(1, n, 512), ids(2, n, 512)
	return dev.Do(ctx, func(s *kernels.Scope) error {
		s = s.NoGrad()
		packed := s.Rows(m.Forward(s, append(slices.Clone(b), a...), kernels.PackedSegs(n, n)), n, n)
		logp, _ := m.Head(s, packed, a, 1)
		want, wantLogp := make([]float32, packed.Len()), make([]float32, n)
		if err := s.Read(packed, want); err != nil {
			return err
		}
		if err := s.Read(logp, wantLogp); err != nil {
			return err
		}
		seq := cache.NewSeq()
		for at := 0; at < n; {
			rows := 1
			if at < 50 {
				rows = 17
			}
			rows = min(rows, n-at)
			hidden := cache.Extend(s, []*model.Seq{seq}, [][]int32{a[at : at+rows]})
			logp, _ := m.Head(s, hidden, a[at:at+rows], 1)
			got, gotLogp := make([]float32, hidden.Len()), make([]float32, rows)
			if err := s.Read(hidden, got); err != nil {
				return err
			}
			if err := s.Read(logp, gotLogp); err != nil {
				return err
			}
			width := len(want) / n
			if !slices.Equal(got, want[at*width:(at+rows)*width]) || !slices.Equal(gotLogp, wantLogp[at:at+rows]) {
				return fmt.Errorf("bench: %s breaks the execution contract: rows %d to %d differ between training and decoding; no time of it counts", dev, at, at+rows-1)
			}
			at += rows
		}
		return nil
	})
}
