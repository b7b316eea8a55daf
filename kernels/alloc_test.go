package kernels_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/gor1/gor1/kernels"
)

// Steps of every length leave no more memory behind than the longest of them used.
func TestMemoryOfChangingLengths(t *testing.T) {
	dev, err := kernels.Open("cpu")
	require.NoError(t, err)
	r := rand.New(rand.NewPCG(1, 2))
	for step := range 60 {
		rows := 1 + r.IntN(2000)
		require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
			x := s.Zeros(rows, 300)
			for range 40 {
				x = s.Sub(func(s *kernels.Scope) []*kernels.Tensor {
					_ = s.Zeros(rows, 100)
					return []*kernels.Tensor{s.Affine(x, 1, 1)}
				})[0]
			}
			return s.Err()
		}))
		stats := dev.Stats()
		require.Zero(t, stats.LiveBytes)
		require.LessOrEqual(t, stats.CachedBytes, stats.PeakBytes*5/4+64<<20, "step %d of %d rows", step, rows)
	}
	require.NoError(t, dev.Close())
	require.Zero(t, dev.Stats().CachedBytes)
}

// Blocks of all sizes, freed in any order, never overlap, and all memory is free in the end.
func TestBlocksDoNotOverlap(t *testing.T) {
	dev, err := kernels.Open("cpu")
	require.NoError(t, err)
	r := rand.New(rand.NewPCG(3, 4))
	type buffer struct {
		t    *kernels.Tensor
		mark float32
	}
	var all []buffer
	ends := func(b buffer) []float32 { // its first, a middle and its last value
		n := b.t.Len()
		var got []float32
		require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
			for _, at := range []int{0, n / 2, n - 1} {
				v := []float32{0}
				if err := s.Read(s.Rows(b.t, at, 1), v); err != nil {
					return err
				}
				got = append(got, v[0])
			}
			return s.Err()
		}))
		return got
	}
	sizes := []int{1, 60, 1000, 60_000, 66_000, 100_000, 400_000, 1_000_000, 9_000_000}
	for i := range 600 {
		if len(all) > 0 && (len(all) > 20 || r.IntN(3) == 0) {
			at := r.IntN(len(all))
			b := all[at]
			require.Equal(t, []float32{b.mark, b.mark, b.mark}, ends(b), "buffer of %d", b.t.Len())
			require.NoError(t, b.t.Free())
			all = append(all[:at], all[at+1:]...)
			continue
		}
		n := sizes[r.IntN(len(sizes))]
		n += r.IntN(n)
		b, err := dev.NewBuffer(kernels.F32, n)
		require.NoError(t, err)
		all = append(all, buffer{b, float32(i + 1)})
		require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
			s.CopyTo(b, s.Affine(b, 0, float32(i+1)))
			return s.Err()
		}))
	}
	for _, b := range all {
		require.Equal(t, []float32{b.mark, b.mark, b.mark}, ends(b))
		require.NoError(t, b.t.Free())
	}
	stats := dev.Stats()
	require.Zero(t, stats.LiveBytes)
	require.Equal(t, kernels.Reuse, stats.CachedBytes > 0)
	dev.Trim()
	require.Zero(t, dev.Stats().CachedBytes)
	require.NoError(t, dev.Close())
}

// Scopes of several goroutines share a device's memory.
func TestBlocksOfGoroutines(t *testing.T) {
	dev, err := kernels.Open("cpu")
	require.NoError(t, err)
	var all errgroup.Group
	for g := range 4 {
		all.Go(func() error {
			r := rand.New(rand.NewPCG(5, uint64(g)))
			for range 40 {
				err := dev.Do(context.Background(), func(s *kernels.Scope) error {
					n := 1 + r.IntN(200_000)
					x := s.Full(float32(g), n)
					for range 5 {
						x = s.Affine(x, 1, 1)
					}
					got := make([]float32, n)
					if err := s.Read(x, got); err != nil {
						return err
					}
					for i, v := range got {
						if v != float32(g+5) {
							return fmt.Errorf("goroutine %d: value %d of %d is %g", g, i, n, v)
						}
					}
					return nil
				})
				if err != nil {
					return err
				}
				_ = dev.Stats()
				dev.Trim()
			}
			return nil
		})
	}
	require.NoError(t, all.Wait())
	require.Zero(t, dev.Stats().LiveBytes)
	require.NoError(t, dev.Close())
}
