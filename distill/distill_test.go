package distill_test

import (
	"compress/gzip"
	"context"
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/distill"
	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/model/weights"
	"github.com/gor1/gor1/optim"
	"github.com/gor1/gor1/sft"
)

func openCPU(t testing.TB, o ...kernels.Options) *kernels.Device {
	dev, err := kernels.Open("cpu", o...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, dev.Close()) })
	return dev
}

type goldenCase struct {
	ID, Fn, Batch, Reduction string
	Beta                     float64
	Temperature              float32
	Masked                   bool        `json:"labels_mask"`
	Items                    *float64    `json:"num_items_in_batch"`
	SoftCap                  float32     `json:"student_final_logit_softcapping"`
	Loss                     *float64    `json:"loss_f64"`
	LossSum                  *float64    `json:"loss_sum_f64"`
	EntropySum               *float64    `json:"student_entropy_sum_f64"`
	ForwardKL                [][]float64 `json:"forward_kl_teacher_student_per_position"`
	ReverseKL                [][]float64 `json:"reverse_kl_student_teacher_per_position"`
}

type golden struct {
	inputs, grads *weights.File
}

func (g golden) array(t *testing.T, f *weights.File, name string) ([]float32, []int) {
	a, err := f.Tensor(name)
	require.NoError(t, err, name)
	v, err := a.Float32()
	require.NoError(t, err)
	return v, a.Shape
}

func (g golden) labels(t *testing.T, batch string) []int64 {
	a, err := g.inputs.Tensor(batch + ".labels")
	require.NoError(t, err)
	out := make([]int64, a.Len())
	for i := range out {
		out[i] = int64(binary.LittleEndian.Uint64(a.Data[8*i:]))
	}
	return out
}

// Loss and gradients of all of TRL's cases: forward, reverse and mixed divergences, every reduction, temperatures, a soft-cap.
func TestEqualsTRL(t *testing.T) {
	var g golden
	var err error
	g.inputs, err = weights.Open("testdata/inputs.safetensors")
	require.NoError(t, err)
	defer g.inputs.Close()
	g.grads, err = weights.Open("testdata/grads.safetensors")
	require.NoError(t, err)
	defer g.grads.Close()
	f, err := os.Open("testdata/cases.jsonl.gz")
	require.NoError(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	dev := openCPU(t)
	checked, worst, worstGrad := 0, 0.0, 0.0
	for d := json.NewDecoder(z); d.More(); {
		var c goldenCase
		require.NoError(t, d.Decode(&c))
		a, b := g.check(t, dev, c)
		worst, worstGrad = math.Max(worst, a), math.Max(worstGrad, b)
		checked++
	}
	require.Equal(t, 164, checked)
	t.Logf("%d cases: loss within %.1e of float64, gradients within %.1e", checked, worst, worstGrad)
}

// check runs one case and returns how far loss and gradients are off, relative to 1 or their size.
func (g golden) check(t *testing.T, dev *kernels.Device, c goldenCase) (off, offGrad float64) {
	labels := g.labels(t, c.Batch)
	n := len(labels)
	chunked := strings.HasPrefix(c.Fn, "_chunked") || strings.Contains(c.Fn, "._chunked")
	require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
		leaf := func(name string, flatten bool) *kernels.Tensor {
			v, shape := g.array(t, g.inputs, c.Batch+"."+name)
			if flatten {
				shape = []int{n, shape[len(shape)-1]}
			}
			return s.Leaf(s.FromF32(v, shape...))
		}
		var student, teacher distill.Head
		if chunked {
			student = distill.Head{Hidden: leaf("student_hidden", true), Weight: leaf("student_head", false), SoftCap: c.SoftCap}
			teacher = distill.Head{Hidden: leaf("teacher_hidden", true), Weight: leaf("teacher_head", false)}
		} else { // the head is the identity: hidden rows are logits
			student, teacher = distill.Head{Hidden: leaf("student_logits", true)}, distill.Head{Hidden: leaf("teacher_logits", true)}
			v := student.Hidden.Dim(1)
			eye := make([]float32, v*v)
			for i := range v {
				eye[i*v+i] = 1
			}
			student.Weight = s.FromF32(eye, v, v)
			teacher.Weight = student.Weight
		}
		if c.ForwardKL != nil {
			for d, want := range map[kernels.Divergence][][]float64{distill.Forward: c.ForwardKL, distill.Reverse: c.ReverseKL} {
				for i := range n {
					one := make([]float32, n)
					one[i] = 1
					loss, _, _ := distill.KL(s, student, teacher, make([]int32, n), s.FromF32(one), 1, c.Temperature, d)
					var got [1]float32
					require.NoError(t, s.Read(loss, got[:]))
					off = math.Max(off, math.Abs(float64(got[0])-want[i/5][i%5]))
				}
			}
			require.Less(t, off, 1e-5, c.ID)
			return s.Err()
		}
		weight, counted := make([]float32, n), 0.0
		for i, l := range labels {
			if !c.Masked && !chunked || l >= 0 {
				weight[i] = 1
				counted++
			}
		}
		total := counted
		switch {
		case c.Items != nil:
			total = *c.Items
		case c.Reduction == "sum" || c.Reduction == "none":
			total = 1
		case c.Reduction == "mean":
			total = counted * float64(student.Hidden.Dim(1))
		case c.Reduction == "batchmean" && !c.Masked:
			total = 2
		}
		loss, _, entropyT := distill.KL(s, student, teacher, make([]int32, n), s.FromF32(weight), total, c.Temperature, kernels.Divergence(c.Beta))
		s.Backward([]*kernels.Tensor{loss}, nil)
		var got [1]float32
		entropy := make([]float32, n)
		require.NoError(t, s.Read(loss, got[:]))
		require.NoError(t, s.Read(entropyT, entropy))
		want := c.Loss
		if want == nil {
			want = c.LossSum
		}
		off = math.Abs(float64(got[0])-*want) / math.Max(1, math.Abs(*want))
		require.Less(t, off, 5e-6, "%s: %v, want %v", c.ID, got[0], *want)
		if c.EntropySum != nil {
			sum := 0.0
			for i, w := range weight {
				sum += float64(w) * float64(entropy[i])
			}
			require.InDelta(t, *c.EntropySum, sum, 2e-4, c.ID)
		}
		leaves := map[string]*kernels.Tensor{"student_logits": student.Hidden}
		if chunked {
			leaves = map[string]*kernels.Tensor{"student_hidden": student.Hidden, "student_head": student.Weight}
		}
		for name, l := range leaves {
			want, _ := g.array(t, g.grads, c.ID+".grad_"+name)
			got := make([]float32, len(want))
			require.NoError(t, s.Read(s.GradOf(l), got))
			for i := range want {
				offGrad = math.Max(offGrad, math.Abs(float64(got[i]-want[i])))
			}
		}
		require.Less(t, offGrad, 1e-5, c.ID)
		none := make([]float32, teacher.Hidden.Len())
		require.NoError(t, s.Read(s.GradOf(teacher.Hidden), none))
		require.Equal(t, make([]float32, len(none)), none, "no gradient flows to the teacher")
		return s.Err()
	}))
	return off, offGrad
}

func tiny(t testing.TB, dev *kernels.Device, seed uint64) *model.LM {
	m, err := model.Tiny(dev, seed)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m
}

var batch = []distill.Example{
	{Sequence: sft.Sequence{IDs: []int32{3, 9, 27, 17, 51}}}, {Sequence: sft.Sequence{IDs: []int32{5, 10, 20, 40}, Weights: []float32{0, 0, 1, 1}}},
	{Sequence: sft.Sequence{IDs: []int32{7, 7, 8}}, Teacher: 1}, {Sequence: sft.Sequence{IDs: []int32{60, 2}}},
}

// A student comes to do what its teachers do, each on its own texts; how the batch is split into passes changes no bit.
func TestTrainer(t *testing.T) {
	trainer(t, openCPU(t), 60, 5)
}

// In bf16 of class tile too, whose weight gradients take 32 rows at once.
func TestTrainerInClassTile(t *testing.T) {
	trainer(t, openCPU(t, kernels.Options{BF16: "tile"}), 5, 1)
}

// trainer takes steps, after which the divergence is so many times less.
func trainer(t *testing.T, dev *kernels.Device, steps int, less float64) {
	teachers := []distill.Model{tiny(t, dev, 8), tiny(t, dev, 9)}
	train := func(micro int, d kernels.Divergence) (first, last distill.Stats, weights []float32) {
		c := distill.Config{Divergence: d, LearningRate: 3e-3, Optim: optim.Default(), MicroTokens: micro, Likelihood: 0.01}
		student := tiny(t, dev, 1)
		if dev.BF16() == "tile" {
			require.NoError(t, student.UseBF16())
		}
		tr, err := distill.New(student, teachers, c)
		require.NoError(t, err)
		defer tr.Close()
		for step := range steps {
			st, err := tr.Step(context.Background(), batch)
			require.NoError(t, err)
			if step == 0 {
				first = st
			}
			last = st
		}
		for _, p := range student.Params() {
			v, err := p.Values()
			require.NoError(t, err)
			weights = append(weights, v...)
		}
		return first, last, weights
	}
	for _, d := range []kernels.Divergence{distill.Forward, distill.Reverse, distill.JSD} {
		first, last, want := train(2048, d)
		require.Less(t, last.Divergence, first.Divergence/less, "%v", d)
		require.Positive(t, last.Likelihood)
		require.Equal(t, 8, last.Targets-1)
		for _, micro := range []int{1, 7} {
			_, _, got := train(micro, d)
			require.Equal(t, want, got, "passes of %d rows", micro)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	dev := openCPU(t)
	student := tiny(t, dev, 1)
	other, err := model.New(dev, model.Config{
		ModelType: "qwen3", VocabSize: 65, HiddenSize: 32, IntermediateSize: 64, Layers: 1, Heads: 4, KVHeads: 2, HeadDim: 16, MaxPositions: 128,
		NormEps: 1e-6, InitializerRange: 0.1, TieEmbeddings: true, QKNorm: true, BOS: 0, EOS: []int{1}, PAD: -1, Rope: model.Rope{Type: "default", Theta: 10000},
	}, 1, nil)
	require.NoError(t, err)
	defer other.Close()
	c := distill.OnPolicy()
	_, err = distill.New(student, nil, c)
	require.ErrorContains(t, err, "at least one teacher")
	_, err = distill.New(student, []distill.Model{other}, c)
	require.ErrorContains(t, err, "vocabulary of 65, the student one of 64: distributions over different tokens cannot be compared")
	c.Divergence = 2
	_, err = distill.New(student, []distill.Model{student}, c)
	require.ErrorContains(t, err, "divergence 2")
	tr, err := distill.New(student, []distill.Model{tiny(t, dev, 2)}, distill.OnPolicy())
	require.NoError(t, err)
	defer tr.Close()
	_, err = tr.Step(context.Background(), batch)
	require.ErrorContains(t, err, "names teacher 1 of 1")
	_, err = tr.Step(context.Background(), nil)
	require.ErrorContains(t, err, "nothing to learn")
	_, err = tr.Step(context.Background(), []distill.Example{{Sequence: sft.Sequence{IDs: []int32{1, 2}, Weights: []float32{1}}}})
	require.ErrorContains(t, err, "1 weights for 2 ids")
}

// What a pass allocates does not grow with the vocabulary, from SmolLM2's 49,152 words to Gemma's 262,144: no [T, V] is stored.
func TestMemoryOfVocabulary(t *testing.T) {
	peak := func(vocabulary int) int64 {
		const rows, width = 512, 8
		dev := openCPU(t)
		var heads [2]*kernels.Param
		for i := range heads {
			values := make([]float32, vocabulary*width)
			for j := range values {
				values[j] = float32((i+1)*(j%7)) / 100
			}
			w, err := dev.NewParam("head", values, vocabulary, width)
			require.NoError(t, err)
			defer func() { require.NoError(t, w.Free()) }()
			heads[i] = w
		}
		_, err := heads[0].Grad()
		require.NoError(t, err)
		var beside int64
		for range 2 { // the first pass packs the weights, which stay
			require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
				x := s.Leaf(s.Full(0.1, rows, width))
				loss, _, _ := distill.KL(s, distill.Head{Hidden: x, Weight: heads[0].Tensor}, distill.Head{Hidden: s.Full(0.2, rows, width), Weight: heads[1].Frozen().Tensor}, make([]int32, rows), s.Full(1, rows), rows, 1, distill.Reverse)
				s.Backward([]*kernels.Tensor{loss}, nil)
				return s.Err()
			}))
			stats := dev.Stats()
			beside = stats.PeakBytes - stats.LiveBytes
		}
		return beside
	}
	small, large := peak(49_152), peak(262_144)
	require.InEpsilon(t, small, large, 0.01, "%d and %d bytes; [T, V] would be %d and %d", small, large, 4*512*49_152, 4*512*262_144)
}
