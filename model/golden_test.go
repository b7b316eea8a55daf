package model_test

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/model/weights"
)

var families = []string{"qwen2", "qwen3", "llama3", "smollm2", "qwen3_moe", "gemma3", "deepseek_v3", "deepseek_v3_noqlora"}

// variants are the families, and some in bf16, also of class tile, or with an adapter on every linear layer, as [openFor] and [loadLM] understand them.
var variants = append(slices.Clone(families), "smollm2+bf16", "smollm2+bf16+tile", "qwen3_moe+bf16+tile", "qwen3_moe+bf16", "deepseek_v3+bf16", "qwen2+lora", "gemma3+lora", "deepseek_v3+lora", "qwen2+bf16+lora")

type golden struct {
	dir    string
	IDs    [][]int32 `json:"input_ids"`
	Greedy [][]int32 `json:"greedy"`
	tensor *weights.File
}

func loadGolden(t testing.TB, name string) golden {
	g := golden{dir: filepath.Join("testdata", "golden", name)}
	text, err := os.ReadFile(filepath.Join(g.dir, "expected.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &g))
	g.tensor, err = weights.Open(filepath.Join(g.dir, "expected.safetensors"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, g.tensor.Close()) })
	return g
}

// float64s reads an expected f64 array.
func (g golden) float64s(t testing.TB, name string) []float64 {
	x, err := g.tensor.Tensor(name)
	require.NoError(t, err)
	require.Equal(t, "F64", x.DType)
	out := make([]float64, x.Len())
	for i := range out {
		out[i] = math.Float64frombits(leUint64(x.Data[8*i:]))
	}
	return out
}

func leUint64(b []byte) (v uint64) {
	for i := range 8 {
		v |= uint64(b[i]) << (8 * i)
	}
	return v
}

func openCPU(t testing.TB, o ...kernels.Options) *kernels.Device {
	dev, err := kernels.Open("cpu", o...)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.Zero(t, dev.Stats().LiveTensors, "tensors alive at the end")
		require.NoError(t, dev.Close())
	})
	return dev
}

// openFor opens a device for a variant.
func openFor(t testing.TB, name string, o kernels.Options) *kernels.Device {
	if strings.HasSuffix(name, "+tile") {
		o.BF16 = "tile"
	}
	return openCPU(t, o)
}

func loadLM(t testing.TB, dev *kernels.Device, dir string) *model.LM {
	dir = strings.TrimSuffix(dir, "+tile")
	if base, ok := strings.CutSuffix(dir, "+lora"); ok {
		return adapt(t, loadLM(t, dev, base), everywhere())
	}
	dtype := kernels.F32
	if base, ok := strings.CutSuffix(dir, "+bf16"); ok {
		dir, dtype = base, kernels.BF16
	}
	m, err := model.Load(dev, dir, model.Options{DType: dtype})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m
}

func do(t testing.TB, dev *kernels.Device, fn func(s *kernels.Scope)) {
	require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
		fn(s)
		return s.Err()
	}))
}

func read(t testing.TB, s *kernels.Scope, x *kernels.Tensor) []float32 {
	v := make([]float32, x.Len())
	require.NoError(t, s.Read(x, v))
	return v
}

// pack lays sequences end to end.
func pack(seqs [][]int32) ([]int32, kernels.Segs) {
	var ids []int32
	var lengths []int
	for _, q := range seqs {
		ids, lengths = append(ids, q...), append(lengths, len(q))
	}
	return ids, kernels.PackedSegs(lengths...)
}

func maxDiff(got []float32, want []float64) float64 {
	worst := 0.0
	for i, w := range want {
		worst = math.Max(worst, math.Abs(float64(got[i])-w))
	}
	return worst
}

// Logits, log-probs and entropies against float64 transformers, all three sequences packed into one call.
func TestGoldenForward(t *testing.T) {
	goldenForward(t, func(t testing.TB) *kernels.Device { return openCPU(t) })
}

func goldenForward(t *testing.T, open func(t testing.TB) *kernels.Device) {
	for _, name := range families {
		t.Run(name, func(t *testing.T) {
			g, dev := loadGolden(t, name), open(t)
			m := loadLM(t, dev, g.dir)
			ids, segs := pack(g.IDs)
			rows, targets := model.NextTokens(ids, segs)
			do(t, dev, func(s *kernels.Scope) {
				hidden := m.Forward(s, ids, segs)
				logits := read(t, s, m.Logits(s, hidden))
				logpT, _ := m.LogProbs(s, ids, segs, rows, targets, 1)
				logp := read(t, s, logpT)
				all := make([]int32, len(ids)) // entropies at every row, whatever the target
				_, entT := m.Head(s, hidden, all, 1)
				ent := read(t, s, entT)
				v, at := m.Config().VocabSize, 0
				var worst [3]float64
				for i, seg := range segs {
					n := int(seg.Len)
					key := "seq" + string(rune('0'+i))
					worst[0] = max(worst[0], maxDiff(logits[int(seg.Start)*v:], g.float64s(t, key+".logits_f64")))
					worst[1] = max(worst[1], maxDiff(logp[at:], g.float64s(t, key+".logp_f64")))
					worst[2] = max(worst[2], maxDiff(ent[seg.Start:], g.float64s(t, key+".entropy_f64")))
					at += n - 1
				}
				t.Logf("max abs difference: logits %.2g, log-prob %.2g, entropy %.2g", worst[0], worst[1], worst[2])
				require.Less(t, worst[0], 5e-5)
				require.Less(t, worst[1], 3e-5)
				require.Less(t, worst[2], 3e-5)
			})
		})
	}
}

// The gradient of the mean NLL, by parameter name.
func TestGoldenGradients(t *testing.T) {
	goldenGradients(t, func(t testing.TB) *kernels.Device { return openCPU(t) })
}

func goldenGradients(t *testing.T, open func(t testing.TB) *kernels.Device) {
	for _, name := range families {
		t.Run(name, func(t *testing.T) {
			g, dev := loadGolden(t, name), open(t)
			m := loadLM(t, dev, g.dir)
			expected, err := weights.Open(filepath.Join(g.dir, "grads_f32.safetensors"))
			require.NoError(t, err)
			defer expected.Close()
			ids, segs := pack(g.IDs)
			rows, targets := model.NextTokens(ids, segs)
			do(t, dev, func(s *kernels.Scope) {
				logp, _ := m.LogProbs(s, ids, segs, rows, targets, 1)
				s.Backward([]*kernels.Tensor{s.Neg(s.Mean(logp))}, nil)
			})
			require.Len(t, m.Params(), len(expected.Names()))
			for _, p := range m.Params() {
				x, err := expected.Tensor(p.Name)
				require.NoError(t, err)
				want, err := x.Float32()
				require.NoError(t, err)
				got := gradient(t, p)
				worst, norm := 0.0, 0.0
				for i, w := range want {
					worst = max(worst, math.Abs(float64(got[i])-float64(w)))
					norm += float64(w) * float64(w)
				}
				require.Less(t, worst, max(2e-5, 1e-5*math.Sqrt(norm)), p.Name)
			}
		})
	}
}

// gradient is a parameter's, all uses added up.
func gradient(t testing.TB, p *kernels.Param) []float32 {
	grads, err := p.Grads()
	require.NoError(t, err)
	sum := make([]float32, p.Len())
	do(t, p.Device(), func(s *kernels.Scope) {
		for _, g := range grads {
			for i, v := range read(t, s, g) {
				sum[i] += v
			}
		}
	})
	return sum
}

// Greedy continuation through the cache equals transformers' generate.
func TestGoldenGreedy(t *testing.T) {
	goldenGreedy(t, func(t testing.TB) *kernels.Device { return openCPU(t) })
}

func goldenGreedy(t *testing.T, open func(t testing.TB) *kernels.Device) {
	for _, name := range families {
		t.Run(name, func(t *testing.T) {
			g, dev := loadGolden(t, name), open(t)
			m := loadLM(t, dev, g.dir)
			cache, err := m.NewCache(512)
			require.NoError(t, err)
			defer cache.Close()
			for i, prompt := range g.IDs {
				var got []int32
				seq, next := cache.NewSeq(), prompt
				for range g.Greedy[i] {
					do(t, dev, func(s *kernels.Scope) {
						hidden := cache.Extend(s, []*model.Seq{seq}, [][]int32{next})
						token, _, _ := m.Sample(s, s.Rows(hidden, hidden.Dim(0)-1, 1), kernels.SampleOptions{Temp: []float32{0}, Counter: make([][4]uint32, 1)})
						id := make([]int32, 1)
						require.NoError(t, s.Read(token, id))
						next = id
					})
					got = append(got, next...)
				}
				require.Equal(t, g.Greedy[i], got)
			}
		})
	}
}

// Both spellings of a configuration mean the same model.
func TestConfigSpellings(t *testing.T) {
	for _, name := range families {
		dir := filepath.Join("testdata", "golden", name)
		now, err := os.ReadFile(filepath.Join(dir, "config.json"))
		require.NoError(t, err)
		old, err := os.ReadFile(filepath.Join(dir, "config_legacy.json"))
		require.NoError(t, err)
		a, err := model.ParseConfig(now)
		require.NoError(t, err)
		b, err := model.ParseConfig(old)
		require.NoError(t, err)
		require.Equal(t, a, b, name)
	}
}
