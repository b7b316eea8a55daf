package model_test

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/model/weights"
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
	for _, name := range families {
		t.Run(name, func(t *testing.T) {
			dev := openCPU(t)
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
	for _, name := range families {
		t.Run(name, func(t *testing.T) {
			dev := openCPU(t)
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
				require.Less(t, math.Sqrt(diff), 2e-6*math.Sqrt(norm)+1e-7, name)
			}
		})
	}
}

// extend feeds sequences to a cache in chunks that cut decides, several sequences a call, and collects the hidden rows.
func extend(t testing.TB, m *model.LM, seqs [][]int32, cut func(i, left int) int) [][]float32 {
	cache, err := m.NewCache(len(seqs) * 528)
	require.NoError(t, err)
	defer func() { require.NoError(t, cache.Close()) }()
	all, width := cache.FreePages(), m.Config().HiddenSize
	states, fed, out := make([]*model.Seq, len(seqs)), make([]int, len(seqs)), make([][]float32, len(seqs))
	for i := range states {
		states[i] = cache.NewSeq()
	}
	for {
		var who []*model.Seq
		var ids [][]int32
		var index []int
		for i, q := range seqs {
			if n := min(cut(i, len(q)-fed[i]), len(q)-fed[i]); n > 0 {
				who, ids, index = append(who, states[i]), append(ids, q[fed[i]:fed[i]+n]), append(index, i)
				fed[i] += n
			}
		}
		if len(who) == 0 {
			break
		}
		do(t, m.Device(), func(s *kernels.Scope) {
			rows := read(t, s, cache.Extend(s, who, ids))
			for k, i := range index {
				out[i] = append(out[i], rows[:len(ids[k])*width]...)
				rows = rows[len(ids[k])*width:]
			}
		})
	}
	for i, q := range states {
		require.Equal(t, len(seqs[i]), q.Len())
		cache.Drop(q)
	}
	require.Equal(t, all, cache.FreePages())
	return out
}

// Prefill, chunks of any size and one token at a time fill the cache with the same bits, which are the training forward's.
func TestCacheEqualsForward(t *testing.T) {
	for _, name := range families {
		t.Run(name, func(t *testing.T) {
			dev := openCPU(t)
			m := loadLM(t, dev, filepath.Join("testdata", "golden", name))
			d := draws(4)
			seqs := d.sequences(5, 70, m.Config().VocabSize)
			want := alone(t, m, seqs)
			for how, cut := range map[string]func(i, left int) int{
				"prefill":       func(_, left int) int { return left },
				"decode":        func(int, int) int { return 1 },
				"chunks of 7":   func(int, int) int { return 7 },
				"chunks of 16":  func(int, int) int { return model.PageRows },
				"chunks, mixed": func(i, _ int) int { return 1 + (i*5)%23 },
				"prefill, then decode": func(i, left int) int {
					return max(1, left-9)
				},
			} {
				got := extend(t, m, seqs, cut)
				for i := range seqs {
					sameBits(t, want[i], got[i], how, "sequence", i)
				}
			}
		})
	}
}

func TestCacheEqualsForwardLong(t *testing.T) {
	dev := openCPU(t)
	m := loadLM(t, dev, filepath.Join("testdata", "golden", "qwen2"))
	d := draws(5)
	seqs := d.sequences(2, 1, m.Config().VocabSize)
	for len(seqs[0]) < 300 {
		seqs[0] = append(seqs[0], int32(d.below(m.Config().VocabSize)))
	}
	want := alone(t, m, seqs)
	for _, chunk := range []int{1, 100, 299} {
		got := extend(t, m, seqs, func(int, int) int { return chunk })
		for i := range seqs {
			sameBits(t, want[i], got[i], "chunks of", chunk, "sequence", i)
		}
	}
}

// A fork, at a page's border or inside one, goes on as if its whole text were its own; so does the sequence it left.
func TestForkEqualsForward(t *testing.T) {
	dev := openCPU(t)
	m, err := model.Tiny(dev, 6)
	require.NoError(t, err)
	defer m.Close()
	d := draws(6)
	for _, at := range []int{0, 1, 15, 16, 17, 31, 32, 40} {
		texts := d.sequences(3, 1, 64)
		for i := range texts {
			for len(texts[i]) < 40+20 {
				texts[i] = append(texts[i], int32(d.below(64)))
			}
			copy(texts[i][:at], texts[0])
		}
		want, width := alone(t, m, texts), m.Config().HiddenSize
		cache, err := m.NewCache(600)
		require.NoError(t, err)
		pages := cache.FreePages()
		seqs := []*model.Seq{cache.NewSeq()}
		do(t, dev, func(s *kernels.Scope) {
			cache.Extend(s, seqs, [][]int32{texts[0][:40]})
			seqs = append(seqs, cache.Fork(s, seqs[0], at), cache.Fork(s, seqs[0], at))
			rows := read(t, s, cache.Extend(s, seqs, [][]int32{texts[0][40:], texts[1][at:], texts[2][at:]}))
			sameBits(t, want[0][40*width:], rows[:20*width], "stem, fork at", at)
			rows = rows[20*width:]
			for i := 1; i < 3; i++ {
				n := (60 - at) * width
				sameBits(t, want[i][at*width:], rows[:n], "fork", i, "at", at)
				rows = rows[n:]
			}
		})
		for _, q := range seqs {
			cache.Drop(q)
		}
		require.Equal(t, pages, cache.FreePages())
		require.NoError(t, cache.Close())
	}
}

// Pages that forks share outlive the sequence they came from: what is cached after it was dropped lands elsewhere.
func TestForkOutlivesStem(t *testing.T) {
	dev := openCPU(t)
	m, err := model.Tiny(dev, 6)
	require.NoError(t, err)
	defer m.Close()
	text := make([]int32, 50)
	for i := range text {
		text[i] = int32(i)
	}
	want, width := hidden(t, m, text, kernels.PackedSegs(50)), m.Config().HiddenSize
	cache, err := m.NewCache(200)
	require.NoError(t, err)
	defer func() { require.NoError(t, cache.Close()) }()
	pages := cache.FreePages()
	stem, other := cache.NewSeq(), cache.NewSeq()
	do(t, dev, func(s *kernels.Scope) {
		cache.Extend(s, []*model.Seq{stem}, [][]int32{text[:45]})
		fork := cache.Fork(s, stem, 40)
		again := cache.Fork(s, fork, 33)
		cache.Drop(stem)
		cache.Extend(s, []*model.Seq{other}, [][]int32{make([]int32, 100)})
		rows := read(t, s, cache.Extend(s, []*model.Seq{fork, again}, [][]int32{text[40:], text[33:]}))
		sameBits(t, want[40*width:], rows[:10*width])
		sameBits(t, want[33*width:], rows[10*width:])
		for _, q := range []*model.Seq{fork, other, again} {
			cache.Drop(q)
		}
	})
	require.Equal(t, pages, cache.FreePages())
}

// A cache that is too small says so, and dropping a sequence makes room again.
func TestCacheFull(t *testing.T) {
	dev := openCPU(t)
	m, err := model.Tiny(dev, 7)
	require.NoError(t, err)
	defer m.Close()
	cache, err := m.NewCache(2 * model.PageRows)
	require.NoError(t, err)
	defer cache.Close()
	a, b := cache.NewSeq(), cache.NewSeq()
	do(t, dev, func(s *kernels.Scope) { cache.Extend(s, []*model.Seq{a}, [][]int32{make([]int32, 17)}) })
	require.Zero(t, cache.FreePages())
	err = dev.Do(t.Context(), func(s *kernels.Scope) error {
		cache.Extend(s, []*model.Seq{b}, [][]int32{{1}})
		return s.Err()
	})
	require.ErrorIs(t, err, model.ErrCacheFull)
	err = dev.Do(t.Context(), func(s *kernels.Scope) error {
		cache.Fork(s, a, 5)
		return s.Err()
	})
	require.ErrorIs(t, err, model.ErrCacheFull)
	cache.Drop(a)
	cache.Drop(b)
	require.Equal(t, 2, cache.FreePages())
	do(t, dev, func(s *kernels.Scope) { cache.Extend(s, []*model.Seq{b}, [][]int32{{1}}) })
}

// The sampler's log-prob and entropy of a token are the trainer's, at any temperature, whatever was decoded beside it.
func TestSampledLogProbIsTrained(t *testing.T) {
	for _, name := range families {
		t.Run(name, func(t *testing.T) {
			dev := openCPU(t)
			m := loadLM(t, dev, filepath.Join("testdata", "golden", name))
			for _, temperature := range []float32{1, 0.6, 1.7} {
				seqs := (&[]draws{8}[0]).sequences(5, 20, m.Config().VocabSize)
				cache, err := m.NewCache(1000)
				require.NoError(t, err)
				states, next := make([]*model.Seq, len(seqs)), append([][]int32(nil), seqs...)
				for i := range states {
					states[i] = cache.NewSeq()
				}
				texts := make([][]int32, len(seqs))
				sampledP, sampledH := make([][]float32, len(seqs)), make([][]float32, len(seqs))
				for i := range texts {
					texts[i] = append([]int32(nil), seqs[i]...)
				}
				for step := range 12 {
					do(t, dev, func(s *kernels.Scope) {
						rows := cache.Extend(s, states, next)
						last, at := make([]int32, len(seqs)), 0
						o := kernels.SampleOptions{Key: [2]uint32{9, 0}}
						for i := range seqs {
							at += len(next[i])
							last[i] = int32(at - 1)
							o.Temp, o.Counter = append(o.Temp, temperature), append(o.Counter, [4]uint32{0, uint32(i), 0, uint32(step)})
						}
						token, logp, entropy := m.Sample(s, s.Gather(rows, last), o)
						ids := make([]int32, len(seqs))
						require.NoError(t, s.Read(token, ids))
						p, h := read(t, s, logp), read(t, s, entropy)
						for i, id := range ids {
							texts[i] = append(texts[i], id)
							sampledP[i], sampledH[i] = append(sampledP[i], p[i]), append(sampledH[i], h[i])
							next[i] = []int32{id}
						}
					})
				}
				require.NoError(t, cache.Close())
				ids, segs := pack(texts)
				var rows, targets []int32
				for i, g := range segs {
					for j := len(seqs[i]); j < len(texts[i]); j++ {
						rows, targets = append(rows, g.Start+int32(j)-1), append(targets, texts[i][j])
					}
				}
				do(t, dev, func(s *kernels.Scope) {
					logp, entropy := m.LogProbs(s, ids, segs, rows, targets, temperature)
					p, h := read(t, s, logp), read(t, s, entropy)
					for i := range seqs {
						sameBits(t, sampledP[i], p[12*i:12*i+12], "log-prob, sequence", i)
						sameBits(t, sampledH[i], h[12*i:12*i+12], "entropy, sequence", i)
					}
				})
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
	for _, name := range families {
		t.Run(name, func(t *testing.T) {
			dev := openCPU(t)
			m := loadLM(t, dev, filepath.Join("testdata", "golden", name))
			seqs := trainable(10, m.Config().VocabSize)
			want := step(t, m, seqs, 1)
			if m.Config().TieEmbeddings {
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
	for _, name := range families {
		t.Run(name, func(t *testing.T) {
			want := compute(t, name, kernels.Options{Threads: 1})
			for _, o := range []kernels.Options{{Threads: 2}, {Threads: 4}, {Threads: 3, ISA: "portable"}, {ISA: "avx2"}, {ISA: "avx512"}, {ISA: "neon"}} {
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

// A folder that Save wrote holds the tensors of the one it was loaded from, byte for byte, and the same model.
func TestSaveLoad(t *testing.T) {
	for _, name := range families {
		t.Run(name, func(t *testing.T) {
			dev, from, dir := openCPU(t), filepath.Join("testdata", "golden", name), t.TempDir()
			m := loadLM(t, dev, from)
			require.NoError(t, m.Save(dir))
			again := loadLM(t, dev, dir)
			require.Equal(t, m.Config(), again.Config())
			a, err := weights.Open(from)
			require.NoError(t, err)
			defer a.Close()
			b, err := weights.Open(dir)
			require.NoError(t, err)
			defer b.Close()
			require.Equal(t, a.Names(), b.Names())
			for _, n := range a.Names() {
				x, err := a.Tensor(n)
				require.NoError(t, err)
				y, err := b.Tensor(n)
				require.NoError(t, err)
				require.Equal(t, x, y, n)
			}
			require.FileExists(t, filepath.Join(dir, "generation_config.json"))
			twice := t.TempDir()
			require.NoError(t, again.Save(twice))
			for _, f := range []string{"config.json", "generation_config.json", "model.safetensors"} {
				x, err := os.ReadFile(filepath.Join(dir, f))
				require.NoError(t, err)
				y, err := os.ReadFile(filepath.Join(twice, f))
				require.NoError(t, err)
				require.Equal(t, x, y, f)
			}
		})
	}
}

// A clone is equal and separate; CopyFrom makes it equal again.
func TestClone(t *testing.T) {
	dev := openCPU(t)
	m, err := model.Tiny(dev, 12)
	require.NoError(t, err)
	defer m.Close()
	c, err := m.Clone()
	require.NoError(t, err)
	defer c.Close()
	ids, segs := pack(trainable(12, 64))
	want := hidden(t, m, ids, segs)
	sameBits(t, want, hidden(t, c, ids, segs))
	p := m.Params()[1]
	v, err := p.Values()
	require.NoError(t, err)
	for i := range v {
		v[i] += 0.5
	}
	require.NoError(t, p.Write(v))
	sameBits(t, want, hidden(t, c, ids, segs), "the clone did not change")
	changed := hidden(t, m, ids, segs)
	require.NotEqual(t, bitsOf(want), bitsOf(changed))
	require.NoError(t, c.CopyFrom(m))
	sameBits(t, changed, hidden(t, c, ids, segs))

	other := loadLM(t, dev, filepath.Join("testdata", "golden", "qwen2"))
	require.ErrorContains(t, c.CopyFrom(other), "model.embed_tokens.weight")
}

// Fresh weights are a function of the seed, near normal, and of the wanted spread.
func TestNewBySeed(t *testing.T) {
	dev := openCPU(t)
	values := func(seed uint64, init model.Init) map[string][]float32 {
		m, err := model.New(dev, tinyConfig(t, dev), seed, init)
		require.NoError(t, err)
		defer m.Close()
		out := map[string][]float32{}
		for _, p := range m.Params() {
			v, err := p.Values()
			require.NoError(t, err)
			out[p.Name] = v
		}
		return out
	}
	a := values(1, nil)
	require.Equal(t, a, values(1, nil))
	require.NotEqual(t, a, values(2, nil))
	require.NotEqual(t, a, values(1<<32, nil), "all 64 bits of the seed count")
	var n, sum, square, fourth float64
	for name, v := range a {
		for _, x := range v {
			if filepath.Base(name) == "norm.weight" || len(v) <= 32 {
				require.Equal(t, float32(1), x, name)
				continue
			}
			n, sum, square, fourth = n+1, sum+float64(x), square+float64(x*x), fourth+math.Pow(float64(x), 4)
		}
	}
	require.InDelta(t, 0, sum/n, 0.005)
	require.InDelta(t, 0.1, math.Sqrt(square/n), 0.002)
	require.InDelta(t, 2.9, fourth/n/math.Pow(square/n, 2), 0.1, "kurtosis of 12 uniforms: 2.9")
	require.Equal(t, a["model.norm.weight"], values(1, func(string, []int) float64 { return 0 })["model.norm.weight"])
	for _, x := range values(1, func(string, []int) float64 { return 0 })["model.embed_tokens.weight"] {
		require.Zero(t, x)
	}
}

func tinyConfig(t testing.TB, dev *kernels.Device) model.Config {
	m, err := model.Tiny(dev, 0)
	require.NoError(t, err)
	defer m.Close()
	return m.Config()
}
