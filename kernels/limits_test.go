package kernels_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/kernels"
)

// smallStep is a training step of a layer and a head over w, by way of most kinds of operations; it returns what it computed.
func smallStep(dev *kernels.Device, w *kernels.Param) ([]float32, error) {
	const t, d = 96, 64
	out := make([]float32, t)
	err := dev.Do(context.Background(), func(s *kernels.Scope) error {
		layer := func(s *kernels.Scope, in ...*kernels.Tensor) []*kernels.Tensor {
			h := s.RMSNorm(in[0], s.Full(1, d), 1e-6)
			q := s.Reshape(s.Linear(h, w.Tensor, nil), t, 4, 16)
			h = s.Reshape(s.Attention(q, q, q, kernels.PackedSegs(40, 56), kernels.AttnOptions{Scale: 0.25}), t, d)
			return []*kernels.Tensor{s.Add(in[0], s.SwiGLU(h, s.Linear(h, w.Tensor, nil)))}
		}
		x := s.Leaf(s.FromF32(fixed(2, t*d, 1), t, d))
		again := s.Checkpoint(layer, layer(s, x)[0])
		if s.Err() != nil {
			return nil
		}
		x = again[0]
		logp, ent := s.Head(x, w.Tensor, make([]int32, t), kernels.HeadOptions{})
		s.Backward([]*kernels.Tensor{s.Sum(logp), s.Sum(ent)}, nil)
		g, err := w.Grad()
		if err != nil {
			return err
		}
		s.AdamW(w.Tensor, s.Zeros(d, d), s.Zeros(d, d), g, kernels.AdamWOptions{LR: 1e-3, Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, Scale: 1, Step: 1})
		return s.Read(logp, out)
	})
	return out, err
}

// Wherever memory runs out in a step, it is an error that names the operation, the line and the bytes, nothing is left behind, and the device
// computes on as if nothing had been.
func memoryRunsOut(t *testing.T, open func(o kernels.Options) *kernels.Device) {
	attempt := func(limit int64) (out []float32, peak int64, err error) {
		dev := open(kernels.Options{Memory: limit})
		w, err := dev.NewParam("w", fixed(1, 64*64, 0.1), 64, 64)
		require.NoError(t, err)
		_, err = w.Grad()
		require.NoError(t, err)
		before := dev.Stats().LiveTensors
		out, err = smallStep(dev, w)
		peak = dev.Stats().PeakBytes
		require.LessOrEqual(t, dev.Stats().LiveTensors, before+1, "the packed weight may stay")
		x := make([]float32, 2)
		require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error { return s.Read(s.Square(s.FromF32([]float32{2, 3})), x) }))
		require.Equal(t, []float32{4, 9}, x)
		require.NoError(t, w.Free())
		require.Zero(t, dev.Stats().LiveTensors)
		return out, peak, err
	}
	want, peak, err := attempt(0)
	require.NoError(t, err)
	got, _, err := attempt(peak)
	require.NoError(t, err)
	require.Equal(t, bits(want), bits(got))
	for least, i := int64(64<<10), int64(0); i <= 40; i++ {
		limit := least + (peak-1-least)*i/40
		_, _, err := attempt(limit)
		require.ErrorIs(t, err, kernels.ErrMemory, "limit %d of %d", limit, peak)
		require.Regexp(t, `kernels: \w+: .*out of memory: \d+ bytes are wanted, Options.Memory allows \d+; \d+ bytes are in use.* \(kernels/limits_test.go:\d+\)`, err.Error())
		require.NotContains(t, err.Error(), "\n")
	}
	dev := open(kernels.Options{})
	err = dev.Do(context.Background(), func(s *kernels.Scope) error {
		s.Zeros(1 << 39)
		return nil
	})
	require.ErrorIs(t, err, kernels.ErrMemory, "two terabytes: %v", err)
	require.ErrorContains(t, err, "2199023255552")
	require.ErrorContains(t, err, "Zeros")
	_, err = dev.NewBuffer(kernels.F32, 1<<39)
	require.ErrorIs(t, err, kernels.ErrMemory)
	require.Zero(t, dev.Stats().LiveTensors)
}

func TestMemoryRunsOut(t *testing.T) {
	memoryRunsOut(t, func(o kernels.Options) *kernels.Device {
		dev, err := kernels.Open("cpu", o)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, dev.Close()) })
		if o.Memory > 0 {
			require.Equal(t, o.Memory, dev.Memory())
		}
		return dev
	})
	_, err := kernels.Open("cpu", kernels.Options{Memory: -1})
	require.ErrorContains(t, err, "Options.Memory is -1 bytes")
}

func TestTorchMemoryRunsOut(t *testing.T) {
	memoryRunsOut(t, func(o kernels.Options) *kernels.Device { return openTorch(t, o) })
}

// bf16 is computed or refused: a device that would round nothing says so before anything is computed.
func TestBF16Refused(t *testing.T) {
	dev := kernels.WithoutBF16(openCPU(t))
	require.Empty(t, dev.BF16())
	w, err := dev.NewParam("w", make([]float32, 4), 2, 2)
	require.NoError(t, err)
	require.EqualError(t, w.UseBF16(), "kernels: w in bf16: device cpu computes products in fp32 only; leave bf16 out there, or use cpu")
	require.False(t, w.IsBF16())
	require.NoError(t, w.Free())
}
