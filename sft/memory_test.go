package sft_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/sft"
)

// A step that runs out of memory is an error that names operation and bytes and has no effect: the next step that fits gives the weights of a run
// that never failed, and the same step in smaller passes works.
func TestStepOutOfMemory(t *testing.T) {
	batch := make([]sft.Sequence, 16)
	for i := range batch {
		batch[i].IDs = make([]int32, 100)
		for j := range batch[i].IDs {
			batch[i].IDs[j] = int32((i*7 + j*j) % 64)
		}
	}
	run := func(limit int64, fail bool) (weights []float32, peak int64) {
		dev, err := kernels.Open("cpu", kernels.Options{Memory: limit})
		require.NoError(t, err)
		m, err := model.Tiny(dev, 1)
		require.NoError(t, err)
		step := func(c sft.Config, batch []sft.Sequence) error {
			trainer, err := sft.New(m, c)
			require.NoError(t, err)
			_, err = trainer.Step(context.Background(), batch)
			require.NoError(t, trainer.Close())
			return err
		}
		small := sft.Default()
		small.MicroTokens = 200
		if fail {
			err := step(sft.Default(), batch)
			require.ErrorIs(t, err, kernels.ErrMemory)
			require.Regexp(t, `kernels: \w+: .*\d+ bytes are wanted, Options.Memory allows \d+`, err.Error())
		}
		require.NoError(t, step(small, batch[:2]))
		require.NoError(t, step(small, batch))
		for _, p := range m.Params() {
			v, err := p.Values()
			require.NoError(t, err)
			weights = append(weights, v...)
		}
		peak = dev.Stats().PeakBytes
		require.NoError(t, m.Close())
		require.Zero(t, dev.Stats().LiveTensors)
		require.NoError(t, dev.Close())
		return weights, peak
	}
	want, peak := run(0, false)
	got, _ := run(peak*11/10, true) // blocks that are taken again may be up to twice as large as asked
	require.Equal(t, want, got)
}
