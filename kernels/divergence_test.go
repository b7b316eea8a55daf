package kernels_test

import (
	"bufio"
	"context"
	"encoding/json"
	"math"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model/weights"
)

// Divergences of two heads, entropies, and gradients in hidden rows and weight, against TRL's distillation loss.
func TestDivergenceEqualsTRL(t *testing.T) {
	open := func(name string) func(tensor string) ([]float32, []int) {
		f, err := weights.Open("testdata/divergence/" + name)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, f.Close()) })
		return func(tensor string) ([]float32, []int) {
			x, err := f.Tensor(tensor)
			require.NoError(t, err)
			v, err := x.Float32()
			require.NoError(t, err)
			return v, x.Shape
		}
	}
	inputs, grads := open("inputs.safetensors"), open("grads.safetensors")
	file, err := os.Open("testdata/divergence/cases.jsonl")
	require.NoError(t, err)
	defer file.Close()
	dev := openCPU(t)
	checked, worst, worstGrad := 0, 0.0, 0.0
	for lines := bufio.NewScanner(file); lines.Scan(); checked++ {
		var c struct {
			ID, Batch         string
			Beta, Temperature float32
			Items             *float64 `json:"num_items_in_batch"`
			SoftCap           float32  `json:"student_final_logit_softcapping"`
			Loss              float64
			Entropy           float64 `json:"student_entropy_sum"`
			Valid             float64 `json:"n_valid"`
		}
		require.NoError(t, json.Unmarshal(lines.Bytes(), &c))
		x, xs := inputs(c.Batch + ".student_hidden")
		w, ws := inputs(c.Batch + ".student_head")
		y, ys := inputs(c.Batch + ".teacher_hidden")
		u, us := inputs(c.Batch + ".teacher_head")
		counted := []float32{0, 0, 1, 1, 1, 1, 1, 1, 1, 0}
		n, over := xs[0]*xs[1], c.Valid
		if c.Items != nil {
			over = *c.Items
		}
		require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
			xt, wt := s.Leaf(s.FromF32(x, n, xs[2])), s.Leaf(s.FromF32(w, ws...))
			_, ent, kl := s.HeadKL(xt, wt, make([]int32, n), kernels.HeadOther{X: s.FromF32(y, n, ys[2]), W: s.FromF32(u, us...), Divergence: kernels.Divergence(c.Beta)},
				kernels.HeadOptions{SoftCap: c.SoftCap, Temp: s.Full(c.Temperature, n)})
			mask := s.FromF32(counted)
			loss, entropy := s.Affine(s.Sum(s.Mul(kl, mask)), float32(1/over), 0), s.Sum(s.Mul(ent, mask))
			s.Backward([]*kernels.Tensor{loss}, nil)
			var v, h [1]float32
			require.NoError(t, s.Read(loss, v[:]))
			require.NoError(t, s.Read(entropy, h[:]))
			worst = max(worst, math.Abs(float64(v[0])-c.Loss))
			require.InDelta(t, c.Loss, float64(v[0]), 5e-6, c.ID)
			require.InDelta(t, c.Entropy, float64(h[0]), 2e-5, c.ID)
			for leaf, name := range map[*kernels.Tensor]string{xt: "hidden", wt: "head"} {
				want, _ := grads(c.ID + ".grad_student_" + name)
				got := make([]float32, len(want))
				require.NoError(t, s.Read(s.GradOf(leaf), got))
				for i := range want {
					worstGrad = max(worstGrad, math.Abs(float64(got[i]-want[i])))
					require.InDelta(t, want[i], got[i], 5e-6, "%s %s %d", c.ID, name, i)
				}
			}
			return nil
		}))
	}
	t.Logf("%d cases; largest difference: loss %.2g, gradient %.2g", checked, worst, worstGrad)
	require.Equal(t, 40, checked)
}
