package model_test

import (
	"context"
	"math"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/optim"
)

// In bf16 a model computes something else than in fp32, though not much else; its weights, and what Save writes, stay what they are; and its
// copies compute as it does.
func TestBF16(t *testing.T) {
	dev := openCPU(t)
	for _, name := range []string{"smollm2", "qwen3", "gemma3", "qwen2"} {
		full, half := loadLM(t, dev, filepath.Join("testdata", "golden", name)), loadLM(t, dev, filepath.Join("testdata", "golden", name+"+bf16"))
		require.True(t, half.BF16())
		require.False(t, full.BF16())
		seqs := trainable(3, full.Config().VocabSize)
		ids, segs := pack(seqs)
		a, b := hidden(t, full, ids, segs), hidden(t, half, ids, segs)
		require.NotEqual(t, bitsOf(a), bitsOf(b))
		diff, size := 0.0, 0.0
		for i := range a {
			diff, size = diff+math.Pow(float64(a[i]-b[i]), 2), size+math.Pow(float64(a[i]), 2)
		}
		require.Less(t, math.Sqrt(diff/size), 0.03, "%s: roundings of 2^-9 each (experts are left out: a rounding may choose another one)", name)
		for _, p := range full.Params() {
			want, err := p.Values()
			require.NoError(t, err)
			got, err := half.Param(p.Name).Values()
			require.NoError(t, err)
			sameBits(t, want, got, p.Name)
		}
		clone, err := half.Clone()
		require.NoError(t, err)
		sameBits(t, b, hidden(t, clone, ids, segs), name, "clone")
		require.NoError(t, clone.Close())

		dir := t.TempDir()
		require.NoError(t, half.Save(dir))
		again, err := model.Load(dev, dir, model.Options{DType: kernels.BF16})
		require.NoError(t, err)
		sameBits(t, b, hidden(t, again, ids, segs), name, "saved and loaded")
		require.NoError(t, again.Close())
	}
	_, err := model.Load(dev, filepath.Join("testdata", "golden", "smollm2"), model.Options{DType: kernels.F16})
	require.ErrorContains(t, err, "Options.DType is f16; f32 and bf16 are computed")
}

// Steps much smaller than bf16's spacing are not lost: the master is fp32, and training in bf16 learns what training in fp32 does.
func TestBF16Trains(t *testing.T) {
	dev := openCPU(t)
	losses := map[bool][]float64{}
	for _, half := range []bool{false, true} {
		m, err := model.Tiny(dev, 5)
		require.NoError(t, err)
		if half {
			require.NoError(t, m.UseBF16())
			require.ErrorContains(t, m.Param("model.norm.weight").UseBF16(), "want a matrix")
		}
		opt, err := optim.New(m.Params(), optim.Default())
		require.NoError(t, err)
		ids := []int32{3, 9, 27, 17, 51, 25, 11, 33, 35, 41, 59, 49, 19, 57, 43, 1}
		for range 60 {
			require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
				rows := make([]int32, len(ids)-1)
				for i := range rows {
					rows[i] = int32(i)
				}
				logp, _ := m.LogProbs(s, ids[:len(rows)], kernels.PackedSegs(len(rows)), rows, ids[1:], 1)
				loss := s.Affine(s.Sum(logp), -1/float32(len(rows)), 0)
				s.Backward([]*kernels.Tensor{loss}, nil)
				losses[half] = append(losses[half], float64(read(t, s, loss)[0]))
				return s.Err()
			}))
			_, err := opt.Step(context.Background(), 2e-3)
			require.NoError(t, err)
		}
		require.NoError(t, opt.Close())
		require.NoError(t, m.Close())
	}
	full, half := losses[false], losses[true]
	require.Less(t, full[59], 0.1*full[0])
	require.InDelta(t, full[59], half[59], 0.1*full[59]+0.02)
	t.Logf("loss %.4f -> %.4f in fp32, %.4f -> %.4f in bf16", full[0], full[59], half[0], half[59])
}

func dtypeOf(m *model.LM) kernels.DType {
	if m.BF16() {
		return kernels.BF16
	}
	return kernels.F32
}

// A model in bf16 trains as an fp32 master does whose roundings are computed with, bit for bit: 50 steps of AdamW with decay and clipping, tied heads and experts
// among them, halfway saved, loaded and continued. Its merge with an adapter is that of the fp32 weights.
func TestBF16TrainsAsMaster(t *testing.T) {
	ctx := context.Background()
	for _, name := range []string{"smollm2", "qwen2", "deepseek_v3"} {
		dev := openCPU(t)
		master, half := loadLM(t, dev, filepath.Join("testdata", "golden", name)), loadLM(t, dev, filepath.Join("testdata", "golden", name+"+bf16"))
		c := optim.Default()
		c.Decay, c.MaxNorm = 0.1, 0.5
		theirs, err := optim.New(master.Params(), c)
		require.NoError(t, err)
		ours, err := optim.New(half.Params(), c)
		require.NoError(t, err)
		for i := range 50 {
			seqs := trainable(draws(i+1), master.Config().VocabSize)[:4]
			fresh, err := master.Clone()
			require.NoError(t, err)
			require.NoError(t, fresh.UseBF16())
			for _, m := range []*model.LM{fresh, half} {
				ids, segs := pack(seqs)
				rows, targets := model.NextTokens(ids, segs)
				do(t, dev, func(s *kernels.Scope) {
					logp, _ := m.LogProbs(s, ids, segs, rows, targets, 1)
					s.Backward([]*kernels.Tensor{s.Affine(s.Mean(logp), -1, 0)}, nil)
				})
			}
			do(t, dev, func(s *kernels.Scope) {
				for j, p := range master.Params() {
					to, err := p.Grads()
					require.NoError(t, err)
					from, err := fresh.Params()[j].Grads()
					require.NoError(t, err)
					for k := range to {
						s.CopyTo(to[k], from[k])
					}
				}
			})
			require.NoError(t, fresh.Close())
			want, err := theirs.Step(ctx, 1e-3)
			require.NoError(t, err)
			got, err := ours.Step(ctx, 1e-3)
			require.NoError(t, err)
			require.Equal(t, want, got, "%s: norm of step %d", name, i)
			require.Positive(t, want)
			if i == 25 {
				dir := t.TempDir()
				require.NoError(t, half.Save(dir))
				state, err := ours.State()
				require.NoError(t, err)
				require.NoError(t, ours.Close())
				half = loadLM(t, dev, dir+"+bf16")
				ours, err = optim.New(half.Params(), c)
				require.NoError(t, err)
				require.NoError(t, ours.SetState(state))
			}
			if i%7 == 0 || i > 47 {
				for j, p := range master.Params() {
					want, err := p.Values()
					require.NoError(t, err)
					got, err := half.Params()[j].Values()
					require.NoError(t, err)
					sameBits(t, want, got, name, p.Name, "step", i)
				}
			}
		}
		require.NoError(t, ours.Close())
		require.NoError(t, theirs.Close())

		merged := func(base *model.LM) map[string][]float32 {
			a := adapt(t, base, everywhere())
			m, err := a.Merged()
			require.NoError(t, err)
			defer func() { require.NoError(t, m.Close()) }()
			out := map[string][]float32{}
			for _, p := range m.Params() {
				out[p.Name], err = p.Values()
				require.NoError(t, err)
			}
			return out
		}
		want, got := merged(master), merged(half)
		for p, v := range want {
			sameBits(t, v, got[p], name, p, "merged")
		}
	}
}
