package sft_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/optim"
	"github.com/gor1/gor1/sft"
)

func openCPU(t testing.TB) *kernels.Device {
	dev, err := kernels.Open("cpu")
	require.NoError(t, err)
	t.Cleanup(func() {
		require.Zero(t, dev.Stats().LiveTensors, "tensors alive at the end")
		require.NoError(t, dev.Close())
	})
	return dev
}

func loadQwen2(t testing.TB, dev *kernels.Device) *model.LM {
	m, err := model.Load(dev, filepath.Join("..", "model", "testdata", "golden", "qwen2"), model.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m
}

func trainer(t testing.TB, m *model.LM, c sft.Config) *sft.Trainer {
	tr, err := sft.New(m, c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, tr.Close()) })
	return tr
}

func values(t testing.TB, m *model.LM) map[string][]float32 {
	out := map[string][]float32{}
	for _, p := range m.Params() {
		v, err := p.Values()
		require.NoError(t, err)
		out[p.Name] = v
	}
	return out
}

func sameBits(t testing.TB, want, got map[string][]float32, what ...any) {
	t.Helper()
	require.Len(t, got, len(want))
	for name, w := range want {
		for i, x := range w {
			if math.Float32bits(x) != math.Float32bits(got[name][i]) {
				require.Failf(t, "bits differ", "%v: %s[%d] is %v, want %v", what, name, i, got[name][i], x)
			}
		}
	}
}

type goldenCase struct {
	Name   string `json:"name"`
	Config struct {
		Steps        int     `json:"max_steps"`
		Batch        int     `json:"per_device_train_batch_size"`
		Accumulation int     `json:"gradient_accumulation_steps"`
		LearningRate float64 `json:"learning_rate"`
		Decay        float64 `json:"weight_decay"`
		MaxNorm      float64 `json:"max_grad_norm"`
		Loss         string  `json:"loss_type"`
	} `json:"config"`
	Packed  [][]int `json:"packed_seq_lengths"`
	History []struct {
		Loss         float64 `json:"loss"`
		GradNorm     float64 `json:"grad_norm"`
		LearningRate float64 `json:"learning_rate"`
		Entropy      float64 `json:"entropy"`
		Accuracy     float64 `json:"mean_token_accuracy"`
	} `json:"log_history_f64_model"`
	Norms  map[string]float64 `json:"final_tensor_norms_f64"`
	Deltas map[string]float64 `json:"final_tensor_delta_norms_f64"`
}

type goldenRow struct {
	IDs    []int32 `json:"input_ids"`
	Labels []int32 `json:"labels"`
}

func (r goldenRow) sequence() sft.Sequence {
	q := sft.Sequence{IDs: r.IDs, Weights: make([]float32, len(r.IDs))}
	for i, l := range r.Labels {
		if l >= 0 {
			q.Weights[i] = 1
		}
	}
	return q
}

func loadGolden(t testing.TB) (rows []goldenRow, cases []goldenCase) {
	text, err := os.ReadFile(filepath.Join("testdata", "sft_steps.json"))
	require.NoError(t, err)
	var all struct {
		Rows  []goldenRow  `json:"rows"`
		Cases []goldenCase `json:"cases"`
	}
	require.NoError(t, json.Unmarshal(text, &all))
	require.Len(t, all.Cases, 6)
	return all.Rows, all.Cases
}

// batches are the sequences of each optimiser step.
func (c goldenCase) batches(t testing.TB, rows []goldenRow) [][]sft.Sequence {
	var out [][]sft.Sequence
	if c.Packed == nil {
		n := c.Config.Batch * max(1, c.Config.Accumulation)
		for chunk := range slices.Chunk(rows, n) {
			var b []sft.Sequence
			for _, r := range chunk {
				b = append(b, r.sequence())
			}
			out = append(out, b)
		}
		return out
	}
	for packed := range slices.Chunk(c.Packed, c.Config.Batch) {
		var b []sft.Sequence
		for _, length := range slices.Concat(packed...) {
			i := slices.IndexFunc(rows, func(r goldenRow) bool { return len(r.IDs) == length })
			require.GreaterOrEqual(t, i, 0)
			b = append(b, rows[i].sequence())
		}
		out = append(out, b)
	}
	return out
}

// Loss, gradient norm and learning rate of each step, and where the weights end up, against trl with a float64 model.
func TestGoldenSteps(t *testing.T) {
	rows, cases := loadGolden(t)
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			dev := openCPU(t)
			m := loadQwen2(t, dev)
			before := values(t, m)
			config := sft.Default()
			config.LearningRate, config.Schedule = c.Config.LearningRate, optim.Cosine(0, c.Config.Steps, 0)
			config.Optim.Decay, config.Optim.MaxNorm = c.Config.Decay, c.Config.MaxNorm
			if c.Config.Loss == "dft" {
				config.Weigh = sft.DFT
			}
			tr := trainer(t, m, config)
			batches := c.batches(t, rows)
			for i := range c.Config.Steps {
				st, err := tr.Step(context.Background(), batches[i])
				require.NoError(t, err)
				want := c.History[i]
				t.Logf("step %d: loss %.7f (%+.1e), gradient %.6f (%+.1e)", i+1, st.Loss, st.Loss-want.Loss, st.GradNorm, st.GradNorm-want.GradNorm)
				require.InDelta(t, want.Loss, st.Loss, 2e-5)
				require.InEpsilon(t, want.GradNorm, st.GradNorm, 1e-5)
				require.InEpsilon(t, want.LearningRate, st.LearningRate, 1e-12)
			}
			require.Len(t, m.Params(), len(c.Norms))
			for name, v := range values(t, m) {
				norm, delta := 0.0, 0.0
				for i, x := range v {
					norm += float64(x) * float64(x)
					d := float64(x) - float64(before[name][i])
					delta += d * d
				}
				// Adam's first step is the gradient's sign, which rounding can turn where the gradient is next to nothing.
				require.InEpsilon(t, c.Norms[name], math.Sqrt(norm), 1e-5, name)
				require.InEpsilon(t, c.Deltas[name], math.Sqrt(delta), 2e-3, name)
			}
		})
	}
}

// Loss, entropy and token accuracy on texts, against what trl logs of the first batch, before the first update.
func TestMeasureEqualsTRL(t *testing.T) {
	rows, cases := loadGolden(t)
	m := loadQwen2(t, openCPU(t))
	for _, c := range cases {
		if c.Name != "nll" && c.Name != "packed_bfd" {
			continue
		}
		for _, micro := range []int{1, 20, 1000} {
			got, err := sft.Measure(context.Background(), m, c.batches(t, rows)[0], micro)
			require.NoError(t, err)
			t.Logf("%s: %+v", c.Name, got)
			require.InDelta(t, c.History[0].Loss, got.Loss, 2e-5)
			require.InDelta(t, c.History[0].Accuracy, got.Accuracy, 1e-7)
			require.InDelta(t, c.History[0].Entropy, got.Entropy, 1e-5)
		}
	}
	_, err := sft.Measure(context.Background(), m, nil, 10)
	require.ErrorContains(t, err, "every weight is 0")
}

// How many rows go through the model at once changes no bit of the weights, tied embeddings included.
func TestSplitChangesNothing(t *testing.T) {
	rows, cases := loadGolden(t)
	run := func(rowsAPass int) (map[string][]float32, []sft.Stats) {
		dev := openCPU(t)
		m := loadQwen2(t, dev)
		config := sft.Default()
		config.LearningRate, config.MicroTokens = 5e-4, rowsAPass
		tr := trainer(t, m, config)
		var all []sft.Stats
		for _, b := range cases[0].batches(t, rows) {
			st, err := tr.Step(context.Background(), b)
			require.NoError(t, err)
			all = append(all, st)
		}
		return values(t, m), all
	}
	want, stats := run(1000)
	for _, n := range []int{1, 20, 33, 50} {
		got, st := run(n)
		sameBits(t, want, got, n, "rows a pass")
		for i := range st {
			require.Equal(t, stats[i].GradNorm, st[i].GradNorm)
			require.InDelta(t, stats[i].Loss, st[i].Loss, 1e-5, "passes' losses are added in another order")
			require.Equal(t, []int{stats[i].Tokens, stats[i].Targets}, []int{st[i].Tokens, st[i].Targets})
		}
	}
}

// -sum(w logp)/total, and its gradient -w/total.
func TestLoss(t *testing.T) {
	dev := openCPU(t)
	require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
		logp := s.Leaf(s.FromF32([]float32{-1, -2, -4, -8}))
		loss := sft.Loss(s, logp, s.FromF32([]float32{1, 0, 0.5, 2}), 8)
		s.Backward([]*kernels.Tensor{loss}, nil)
		got, grad := make([]float32, 1), make([]float32, 4)
		require.NoError(t, s.Read(loss, got))
		require.NoError(t, s.Read(s.GradOf(logp), grad))
		require.Equal(t, []float32{19.0 / 8}, got)
		require.Equal(t, []float32{-1.0 / 8, 0, -0.5 / 8, -2.0 / 8}, grad)
		return s.Err()
	}))
}

// Weights count as what they weigh: doubling all changes nothing, a row of weight 0 is as good as absent.
func TestWeights(t *testing.T) {
	run := func(batch []sft.Sequence) (map[string][]float32, sft.Stats) {
		dev := openCPU(t)
		m, err := model.Tiny(dev, 3)
		require.NoError(t, err)
		defer m.Close()
		tr, err := sft.New(m, sft.Default())
		require.NoError(t, err)
		defer tr.Close()
		st, err := tr.Step(context.Background(), batch)
		require.NoError(t, err)
		return values(t, m), st
	}
	a, b := []int32{5, 6, 7, 8, 9}, []int32{9, 3, 2}
	plain, st := run([]sft.Sequence{{IDs: a}, {IDs: b}})
	require.Equal(t, 6, st.Tokens)
	require.Equal(t, 6, st.Targets)
	ones, _ := run([]sft.Sequence{{a, []float32{0, 1, 1, 1, 1}}, {b, []float32{7, 1, 1}}})
	sameBits(t, plain, ones, "nil is all ones, and the first token's weight does not count")
	doubled, std := run([]sft.Sequence{{a, []float32{2, 2, 2, 2, 2}}, {b, []float32{2, 2, 2}}})
	sameBits(t, plain, doubled, "twos")
	require.Equal(t, st.Loss, std.Loss)
	extra, ste := run([]sft.Sequence{{IDs: a}, {IDs: []int32{1}}, {}, {[]int32{1, 2, 3}, []float32{0, 0, 0}}, {IDs: b}})
	require.Equal(t, 6, ste.Targets)
	require.InDelta(t, st.Loss, ste.Loss, 1e-6)
	sameBits(t, plain, extra, "rows with nothing to learn")
	half, _ := run([]sft.Sequence{{a, []float32{0, 1, 1, 1, 0.5}}, {IDs: b}})
	require.NotEqual(t, plain, half)
}

func TestErrors(t *testing.T) {
	dev := openCPU(t)
	m, err := model.Tiny(dev, 1)
	require.NoError(t, err)
	defer m.Close()
	for name, change := range map[string]func(c *sft.Config){
		"learning rate 0":   func(c *sft.Config) { c.LearningRate = 0 },
		"learning rate NaN": func(c *sft.Config) { c.LearningRate = math.NaN() },
		"no rows":           func(c *sft.Config) { c.MicroTokens = 0 },
		"beta":              func(c *sft.Config) { c.Optim.Beta1 = 1 },
	} {
		c := sft.Default()
		change(&c)
		_, err := sft.New(m, c)
		require.ErrorContains(t, err, "sft: ", name)
	}
	tr := trainer(t, m, sft.Default())
	before := values(t, m)
	for name, c := range map[string]struct {
		batch []sft.Sequence
		says  string
	}{
		"nothing":     {nil, "nothing to learn"},
		"all short":   {[]sft.Sequence{{IDs: []int32{1}}, {}}, "nothing to learn"},
		"all 0":       {[]sft.Sequence{{[]int32{1, 2}, []float32{1, 0}}}, "nothing to learn"},
		"weights":     {[]sft.Sequence{{IDs: []int32{1, 2}}, {[]int32{1, 2, 3}, []float32{1}}}, "sequence 1 has 1 weights for 3 ids"},
		"NaN":         {[]sft.Sequence{{[]int32{1, 2}, []float32{0, float32(math.NaN())}}}, "sft: "},
		"infinite":    {[]sft.Sequence{{[]int32{1, 2}, []float32{0, float32(math.Inf(1))}}}, "not finite"},
		"id":          {[]sft.Sequence{{IDs: []int32{64, 2}}}, "id 64"},
		"target":      {[]sft.Sequence{{IDs: []int32{2, 64}}}, "id 64"},
		"negative id": {[]sft.Sequence{{IDs: []int32{2, -1, 2}}}, "id -1"},
		"too long":    {[]sft.Sequence{{IDs: make([]int32, 130)}}, "max_position_embeddings"},
	} {
		_, err := tr.Step(context.Background(), c.batch)
		require.ErrorContains(t, err, c.says, name)
		sameBits(t, before, values(t, m), name)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = tr.Step(ctx, []sft.Sequence{{IDs: []int32{1, 2, 3}}})
	require.ErrorIs(t, err, context.Canceled)
	sameBits(t, before, values(t, m), "cancelled")
	require.Zero(t, tr.Optimizer().Steps())
}

// A step that fails in its second pass leaves nothing of the first to the next step.
func TestFailedStepLeavesNothing(t *testing.T) {
	run := func(bad []sft.Sequence) map[string][]float32 {
		dev := openCPU(t)
		m, err := model.Tiny(dev, 1)
		require.NoError(t, err)
		defer m.Close()
		c := sft.Default()
		c.MicroTokens = 4
		tr, err := sft.New(m, c)
		require.NoError(t, err)
		defer tr.Close()
		if bad != nil {
			_, err := tr.Step(context.Background(), bad)
			require.ErrorContains(t, err, "id 99")
		}
		_, err = tr.Step(context.Background(), []sft.Sequence{{IDs: []int32{5, 6, 7}}})
		require.NoError(t, err)
		return values(t, m)
	}
	sameBits(t, run(nil), run([]sft.Sequence{{IDs: []int32{1, 2, 3, 4}}, {IDs: []int32{1, 99, 2}}}))
}

// It learns: ten texts by heart.
func TestLearns(t *testing.T) {
	dev := openCPU(t)
	m, err := model.Tiny(dev, 2)
	require.NoError(t, err)
	defer m.Close()
	c := sft.Default()
	c.LearningRate, c.Schedule = 1e-2, optim.Cosine(5, 60, 0.1)
	tr := trainer(t, m, c)
	var batch []sft.Sequence
	for i := range int32(10) {
		batch = append(batch, sft.Sequence{IDs: []int32{i, 20 + i*7%10, 40 + i*3%10, 1}})
	}
	var first, last sft.Stats
	for i := range 60 {
		last, err = tr.Step(context.Background(), batch)
		require.NoError(t, err)
		if i == 0 {
			first = last
		}
	}
	t.Logf("loss %.3f to %.4f", first.Loss, last.Loss)
	require.InDelta(t, math.Log(64), first.Loss, 0.5, "a fresh model knows nothing")
	require.Less(t, last.Loss, 0.05)
}

// residentBytes is the process's resident memory; 0 where the system does not tell.
func residentBytes() int64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	var size, resident int64
	if _, err := fmt.Sscan(string(text), &size, &resident); err != nil {
		return 0
	}
	return resident * int64(os.Getpagesize())
}

// 2,000 steps of a model of 50,000 parameters leave as many tensors and bytes as 100 did, and the process no larger.
func TestMemoryIsFlat(t *testing.T) {
	dev := openCPU(t)
	m, err := model.New(dev, model.Config{
		ModelType: "qwen3", VocabSize: 160, HiddenSize: 48, IntermediateSize: 80, Layers: 2, Heads: 4, KVHeads: 2, HeadDim: 16, MaxPositions: 64,
		NormEps: 1e-6, InitializerRange: 0.05, TieEmbeddings: true, QKNorm: true, BOS: -1, PAD: -1, Rope: model.Rope{Type: "default", Theta: 10000},
	}, 1, nil)
	require.NoError(t, err)
	defer m.Close()
	require.InDelta(t, 50_000, m.Config().ParamCount(), 3000)
	c := sft.Default()
	c.MicroTokens = 8
	tr := trainer(t, m, c)
	var at kernels.Stats
	var rss int64
	for step := range 2000 {
		batch := make([]sft.Sequence, 2)
		for i := range batch {
			batch[i].IDs = make([]int32, 3+(step+i)%5) // lengths change from step to step
			for j := range batch[i].IDs {
				batch[i].IDs[j] = int32((step*31 + i*7 + j*j) % 160)
			}
		}
		_, err := tr.Step(context.Background(), batch)
		require.NoError(t, err)
		if step == 99 {
			debug.FreeOSMemory()
			at, rss = dev.Stats(), residentBytes()
		}
	}
	end := dev.Stats()
	require.Equal(t, at.LiveTensors, end.LiveTensors)
	require.Equal(t, at.LiveBytes, end.LiveBytes)
	require.Equal(t, at.PeakBytes, end.PeakBytes)
	require.Equal(t, at.CachedBytes, end.CachedBytes)
	debug.FreeOSMemory()
	grown := residentBytes() - rss
	t.Logf("%d tensors, %d bytes alive; resident %+d bytes", end.LiveTensors, end.LiveBytes, grown)
	require.Less(t, grown, int64(2<<20))
}

func Example() {
	dev, err := kernels.Open("cpu")
	if err != nil {
		panic(err)
	}
	policy, err := model.Tiny(dev, 1)
	if err != nil {
		panic(err)
	}
	config := sft.Default()
	config.LearningRate = 1e-2
	trainer, err := sft.New(policy, config)
	if err != nil {
		panic(err)
	}
	// A prompt of two tokens, which is not learnt, and a completion of three.
	text := sft.Sequence{IDs: []int32{7, 8, 30, 31, 1}, Weights: []float32{0, 0, 1, 1, 1}}
	var losses []string
	for range 30 {
		stats, err := trainer.Step(context.Background(), []sft.Sequence{text})
		if err != nil {
			panic(err)
		}
		losses = append(losses, fmt.Sprintf("%.0f", stats.Loss))
	}
	fmt.Println(strings.Join([]string{losses[0], losses[29]}, " -> "))
	// Output: 4 -> 0
}
