package model_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/model/weights"
	"github.com/gor1/gor1/sft"
)

// goldenScorer is the checkpoint with the golden head.
func goldenScorer(t testing.TB, dev *kernels.Device) (*model.Scorer, golden, *weights.File) {
	g := loadGolden(t, "qwen2")
	m, err := model.Load(dev, g.dir, model.Options{})
	require.NoError(t, err)
	r, err := model.NewScorer(m, 0.02, 1)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, r.Close()) })
	file, err := weights.Open(filepath.Join("testdata", "scorer", "expected.safetensors"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, file.Close()) })
	params := r.Params()
	require.Equal(t, "score.weight", params[len(params)-1].Name)
	require.NoError(t, params[len(params)-1].Write(tensor(t, file, "score.weight")))
	return r, g, file
}

func tensor(t testing.TB, file *weights.File, name string) []float32 {
	x, err := file.Tensor(name)
	require.NoError(t, err)
	v, err := x.Float32()
	require.NoError(t, err)
	return v
}

// Scores, both losses and their gradients through the whole model against float64 transformers.
func TestGoldenScorer(t *testing.T) {
	dev := openCPU(t)
	r, g, file := goldenScorer(t, dev)
	ids, segs := pack(g.IDs)
	var last []int32
	for _, s := range segs {
		last = append(last, s.Start+s.Len-1)
	}
	g.tensor = file
	for kind, loss := range map[string]func(s *kernels.Scope, scoreN *kernels.Tensor) *kernels.Tensor{
		"pair": func(s *kernels.Scope, scoreN *kernels.Tensor) *kernels.Tensor {
			return sft.BradleyTerry(s, s.Gather(scoreN, []int32{0, 2}), s.Gather(scoreN, []int32{1, 0}), 2)
		},
		"point": func(s *kernels.Scope, scoreN *kernels.Tensor) *kernels.Tensor {
			return sft.Pointwise(s, scoreN, s.FromF32([]float32{1, 0, 0.3}), 3)
		},
	} {
		do(t, dev, func(s *kernels.Scope) {
			scoreN := r.Values(s, ids, segs, last)
			require.Less(t, maxDiff(read(t, s, scoreN), g.float64s(t, "scores_f64")), 2e-5)
			l := loss(s, scoreN)
			require.Less(t, maxDiff(read(t, s, l), g.float64s(t, kind+"_f64")), 1e-5)
			s.Backward([]*kernels.Tensor{l}, nil)
		})
		checked := 0
		for _, p := range r.Params() {
			if _, _, ok := file.Shape(kind + "." + p.Name); ok {
				require.InDeltaSlice(t, tensor(t, file, kind+"."+p.Name), gradient(t, p), 1e-5, p.Name)
				checked++
			}
			require.NoError(t, p.ZeroGrad())
		}
		require.Equal(t, 4, checked)
	}
}

// A scorer saved and loaded, or cloned, gives the same bits, of every family; an adapter's is merged. The decoder's own output head
// is neither trained nor saved.
func TestScorerSaveLoad(t *testing.T) {
	for _, name := range variants {
		t.Run(name, func(t *testing.T) {
			dev := openFor(t, name, kernels.Options{})
			m, err := loadLM(t, dev, filepath.Join("testdata", "golden", name)).Clone()
			require.NoError(t, err)
			r, err := model.NewScorer(m, 0.3, 7)
			require.NoError(t, err)
			defer r.Close()
			require.Same(t, m, r.LM())
			d := draws(1)
			ids, segs := pack(d.sequences(5, 12, m.Config().VocabSize))
			values := func(r *model.Scorer) (v []float32) {
				do(t, dev, func(s *kernels.Scope) { v = read(t, s, r.Values(s, ids, segs, []int32{0, 3, segs[4].Start})) })
				return v
			}
			want, dir := values(r), t.TempDir()
			require.NotZero(t, want[0])
			require.NoError(t, r.Save(dir))
			again, err := model.LoadScorer(dev, dir, model.Options{MaxPositions: 64, DType: dtypeOf(m)})
			require.NoError(t, err)
			defer again.Close()
			switch {
			case m.Base() == nil:
				sameBits(t, want, values(again))
			case m.BF16(): // the merged weight is rounded, the adapter's product was not
				require.InDeltaSlice(t, want, values(again), 0.05)
			default:
				require.InDeltaSlice(t, want, values(again), 1e-4)
			}
			clone, err := r.Clone()
			require.NoError(t, err)
			defer clone.Close()
			sameBits(t, want, values(clone))
			for _, p := range r.Params() {
				require.NotEqual(t, "lm_head.weight", p.Name)
			}
			_, err = model.Load(dev, dir, model.Options{})
			require.Error(t, err, "a scorer is not a language model")
			_, err = model.LoadScorer(dev, filepath.Join("testdata", "golden", "qwen2"), model.Options{})
			require.ErrorContains(t, err, "score.weight is missing")
		})
	}
}

// A pass changes no bit of a preference step, and a zero head scores everything 0.
func TestScorerBits(t *testing.T) {
	dev := openCPU(t)
	train := func(micro int) (out []float32) {
		m, err := model.Tiny(dev, 1)
		require.NoError(t, err)
		r, err := model.NewScorer(m, 0, 1)
		require.NoError(t, err)
		defer r.Close()
		d := draws(4)
		seqs := d.sequences(24, 20, 64)
		v, err := sft.Scores(context.Background(), r, seqs, 50)
		require.NoError(t, err)
		require.Equal(t, make([]float64, 24), v)
		c := sft.Default()
		c.MicroTokens, c.LearningRate = micro, 1e-2
		tr, err := sft.NewPreference(r, c)
		require.NoError(t, err)
		defer tr.Close()
		for range 3 {
			var pairs []sft.Pair
			var points []sft.Labelled
			for i := 0; i < len(seqs); i += 2 {
				pairs = append(pairs, sft.Pair{Chosen: seqs[i], Rejected: seqs[i+1]})
				points = append(points, sft.Labelled{IDs: seqs[i], Label: float32(i % 4 / 2)})
			}
			_, err = tr.StepPairs(context.Background(), pairs)
			require.NoError(t, err)
			_, err = tr.StepLabelled(context.Background(), points)
			require.NoError(t, err)
		}
		for _, p := range r.Params() {
			v, err := p.Values()
			require.NoError(t, err)
			out = append(out, v...)
		}
		return out
	}
	want := train(4096)
	sameBits(t, want, train(1))
	sameBits(t, want, train(37))
}
