package model_test

import (
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
)

// The contract of exactness, over whole models: every comparison here is of bits.

// draws is a small deterministic source for shapes and tokens.
type draws uint64

func (d *draws) below(n int) int {
	*d += 0x9e3779b97f4a7c15
	x := uint64(*d)
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return int((x ^ x>>31) % uint64(n))
}

// sequences are n token sequences of 1 to max tokens.
func (d *draws) sequences(n, max, vocab int) [][]int32 {
	seqs := make([][]int32, n)
	for i := range seqs {
		seqs[i] = make([]int32, 1+d.below(max))
		for j := range seqs[i] {
			seqs[i][j] = int32(d.below(vocab))
		}
	}
	return seqs
}

func bitsOf(v []float32) []uint32 {
	b := make([]uint32, len(v))
	for i, x := range v {
		b[i] = math.Float32bits(x)
	}
	return b
}

// sameBits compares without printing thousands of numbers.
func sameBits(t testing.TB, want, got []float32, what ...any) {
	t.Helper()
	require.Len(t, got, len(want), what...)
	for i := range want {
		if math.Float32bits(want[i]) != math.Float32bits(got[i]) {
			require.Failf(t, "bits differ", "%v: element %d of %d: %v (%08x), want %v (%08x)", what, i, len(want), got[i], math.Float32bits(got[i]), want[i],
				math.Float32bits(want[i]))
		}
	}
}

func hidden(t testing.TB, m *model.LM, ids []int32, segs kernels.Segs) (out []float32) {
	do(t, m.Device(), func(s *kernels.Scope) { out = read(t, s, m.Forward(s, ids, segs)) })
	return out
}

// alone are the hidden rows of each sequence run on its own.
func alone(t testing.TB, m *model.LM, seqs [][]int32) [][]float32 {
	out := make([][]float32, len(seqs))
	for i, q := range seqs {
		out[i] = hidden(t, m, q, kernels.PackedSegs(len(q)))
	}
	return out
}

// A row does not see its neighbours: a ragged pack in any order gives what each sequence gives alone.
func TestPackedEqualsAlone(t *testing.T) {
	for _, name := range variants {
		t.Run(name, func(t *testing.T) {
			dev := openFor(t, name, kernels.Options{})
			m := loadLM(t, dev, filepath.Join("testdata", "golden", name))
			d := draws(1)
			for _, n := range []int{2, 7, 16} {
				seqs := d.sequences(n, 40, m.Config().VocabSize)
				want := alone(t, m, seqs)
				ids, segs := pack(seqs)
				got, width := hidden(t, m, ids, segs), m.Config().HiddenSize
				for i, g := range segs {
					sameBits(t, want[i], got[int(g.Start)*width:int(g.Start+g.Len)*width], "sequence", i, "of", n)
				}
			}
		})
	}
}

// One long sequence crosses the attention's 256-key blocks; packed after another it starts at an odd offset.
func TestPackedEqualsAloneLong(t *testing.T) {
	dev := openCPU(t)
	m := loadLM(t, dev, filepath.Join("testdata", "golden", "llama3"))
	d := draws(2)
	long := make([]int32, 511)
	for i := range long {
		long[i] = int32(d.below(m.Config().VocabSize))
	}
	seqs := [][]int32{long[:3], long, long[:257]}
	want := alone(t, m, seqs)
	ids, segs := pack(seqs)
	got, width := hidden(t, m, ids, segs), m.Config().HiddenSize
	for i, g := range segs {
		sameBits(t, want[i], got[int(g.Start)*width:int(g.Start+g.Len)*width], "sequence", i)
	}
}

// Children of a shared prompt give the rows that prompt and child give laid out as one sequence.
func TestSharedPromptEqualsWhole(t *testing.T) {
	dev := openCPU(t)
	m := loadLM(t, dev, filepath.Join("testdata", "golden", "qwen3"))
	d := draws(3)
	for range 5 {
		seqs := d.sequences(4, 30, m.Config().VocabSize)
		prompt, children := seqs[0], seqs[1:]
		ids, segs := pack(seqs)
		for i := range children {
			segs[i+1].Parent = 0
		}
		got, width := hidden(t, m, ids, segs), m.Config().HiddenSize
		for i, c := range children {
			whole := append(append([]int32(nil), prompt...), c...)
			want := hidden(t, m, whole, kernels.PackedSegs(len(whole)))
			g := segs[i+1]
			sameBits(t, want[len(prompt)*width:], got[int(g.Start)*width:int(g.Start+g.Len)*width], "child", i)
			sameBits(t, want[:len(prompt)*width], got[:len(prompt)*width], "prompt")
		}
	}
}

// A shared prompt's gradients are those of the prompt laid out before each child, to rounding: the order of sums differs.
func TestSharedPromptGradients(t *testing.T) {
	for _, name := range variants {
		t.Run(name, func(t *testing.T) {
			dev := openFor(t, name, kernels.Options{})
			m := loadLM(t, dev, filepath.Join("testdata", "golden", name))
			d := draws(9)
			seqs := d.sequences(5, 25, m.Config().VocabSize)
			prompt, children := seqs[0], seqs[1:]
			backward := func(ids []int32, segs kernels.Segs, rows, targets []int32) (logp []float32, grads map[string][]float32) {
				grads = map[string][]float32{}
				do(t, dev, func(s *kernels.Scope) {
					logpT, entropyT := m.LogProbs(s, ids, segs, rows, targets, 1)
					logp = read(t, s, logpT)
					s.Backward([]*kernels.Tensor{s.Mean(logpT), s.Mean(entropyT)}, nil)
				})
				for _, p := range m.Params() {
					grads[p.Name] = gradient(t, p)
					require.NoError(t, p.ZeroGrad())
				}
				return logp, grads
			}
			ids, segs := pack(seqs)
			var whole [][]int32
			var sharedRows, wholeRows, targets []int32
			start := int32(0)
			for i, c := range children {
				segs[i+1].Parent = 0
				whole = append(whole, append(append([]int32(nil), prompt...), c...))
				for j, target := range c {
					before := segs[i+1].Start + int32(j) - 1
					if j == 0 {
						before = int32(len(prompt)) - 1 // the prompt's last row predicts each child's first token
					}
					sharedRows = append(sharedRows, before)
					wholeRows = append(wholeRows, start+int32(len(prompt)+j-1))
					targets = append(targets, target)
				}
				start += int32(len(prompt) + len(c))
			}
			wholeIDs, wholeSegs := pack(whole)
			wantP, want := backward(wholeIDs, wholeSegs, wholeRows, targets)
			gotP, got := backward(ids, segs, sharedRows, targets)
			sameBits(t, wantP, gotP, "log-probs")
			for name, w := range want {
				norm, diff := 0.0, 0.0
				for i := range w {
					e := float64(got[name][i]) - float64(w[i])
					norm, diff = norm+float64(w[i])*float64(w[i]), diff+e*e
				}
				bound := 2e-6
				if m.BF16() { // the prompt's gradient is rounded once as a sum, or part by part
					bound = 5e-3
				}
				require.Less(t, math.Sqrt(diff), bound*math.Sqrt(norm)+1e-7, name)
			}
		})
	}
}

// step runs one forward and backward over seqs cut into parts and returns every gradient.
func step(t testing.TB, m *model.LM, seqs [][]int32, parts int) map[string][]float32 {
	total := 0
	for _, q := range seqs {
		total += len(q) - 1
	}
	for part := range parts {
		lo, hi := part*len(seqs)/parts, (part+1)*len(seqs)/parts
		ids, segs := pack(seqs[lo:hi])
		rows, targets := model.NextTokens(ids, segs)
		do(t, m.Device(), func(s *kernels.Scope) {
			logp, entropy := m.LogProbs(s, ids, segs, rows, targets, 1)
			loss := s.Affine(s.Sum(logp), float32(-1/float64(total)), 0)
			bonus := s.Affine(s.Sum(entropy), float32(-0.01/float64(total)), 0)
			s.Backward([]*kernels.Tensor{loss, bonus}, nil)
		})
	}
	out := map[string][]float32{}
	for _, p := range m.Params() {
		grads, err := p.Grads()
		require.NoError(t, err)
		do(t, m.Device(), func(s *kernels.Scope) {
			for use, g := range grads {
				out[fmt.Sprint(p.Name, " use ", use)] = read(t, s, g)
			}
		})
		require.NoError(t, p.ZeroGrad())
	}
	return out
}

func sameGradients(t testing.TB, want, got map[string][]float32, what ...any) {
	t.Helper()
	require.Len(t, got, len(want))
	for name, w := range want {
		sameBits(t, w, got[name], append(what, name)...)
	}
}

// trainable are 64 sequences of 2 tokens and more: each has something to predict.
func trainable(seed draws, vocab int) [][]int32 {
	seqs := seed.sequences(64, 11, vocab)
	for i := range seqs {
		seqs[i] = append(seqs[i], int32(seed.below(vocab)))
	}
	return seqs
}

// A batch split into micro-batches gives the gradients of the whole, tied embeddings included.
func TestMicroBatches(t *testing.T) {
	for _, name := range variants {
		t.Run(name, func(t *testing.T) {
			dev := openFor(t, name, kernels.Options{})
			m := loadLM(t, dev, filepath.Join("testdata", "golden", name))
			seqs := trainable(10, m.Config().VocabSize)
			want := step(t, m, seqs, 1)
			if m.Config().TieEmbeddings && m.Base() == nil {
				require.Contains(t, want, "model.embed_tokens.weight use 1")
			}
			for _, parts := range []int{2, 7, 64} {
				sameGradients(t, want, step(t, m, seqs, parts), parts, "micro-batches:")
			}
		})
	}
}

// Threads and instruction sets change no bit of hidden rows, log-probs or gradients.
func TestThreadsAndInstructionSets(t *testing.T) {
	type result struct {
		hidden []float32
		grads  map[string][]float32
	}
	compute := func(t *testing.T, name string, o kernels.Options) result {
		dev := openCPU(t, o)
		if o.Threads > 0 {
			require.Equal(t, o.Threads, dev.Threads())
		}
		m := loadLM(t, dev, filepath.Join("testdata", "golden", name))
		seqs := trainable(11, m.Config().VocabSize)
		ids, segs := pack(seqs)
		return result{hidden(t, m, ids, segs), step(t, m, seqs, 1)}
	}
	for _, name := range variants {
		t.Run(name, func(t *testing.T) {
			class := "dot"
			if strings.HasSuffix(name, "+tile") {
				class = "tile"
			}
			want := compute(t, name, kernels.Options{Threads: 1, BF16: class})
			for _, o := range []kernels.Options{{Threads: 2}, {Threads: 4}, {Threads: 3, ISA: "portable"}, {ISA: "avx2"}, {ISA: "avx512"}, {ISA: "neon"}} {
				o.BF16 = class // one class on all
				if dev, err := kernels.Open("cpu", o); err != nil {
					require.NotEqual(t, "portable", o.ISA)
					continue // an instruction set this machine has not
				} else {
					require.NoError(t, dev.Close())
				}
				got := compute(t, name, o)
				sameBits(t, want.hidden, got.hidden, o, "hidden")
				sameGradients(t, want.grads, got.grads, o)
			}
		})
	}
}
