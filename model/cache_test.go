package model_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
)

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
	for _, name := range variants {
		t.Run(name, func(t *testing.T) {
			dev := openFor(t, name, kernels.Options{})
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

// Truncated anywhere, as often as it may be, beside forks that share its pages and are truncated too, a sequence goes on as a fresh one of its
// text does, and all pages come back.
func TestTruncateEqualsForward(t *testing.T) {
	dev := openCPU(t)
	for _, name := range []string{"qwen2", "deepseek_v3", "gemma3", "qwen3_moe"} {
		m := loadLM(t, dev, filepath.Join("testdata", "golden", name))
		d := draws(9)
		width, words := m.Config().HiddenSize, m.Config().VocabSize
		for range 6 {
			cache, err := m.NewCache(40 * model.PageRows)
			require.NoError(t, err)
			pages := cache.FreePages()
			seqs, texts := []*model.Seq{cache.NewSeq()}, [][]int32{nil}
			for range 25 {
				i := d.below(len(seqs))
				do(t, dev, func(s *kernels.Scope) {
					switch at := d.below(seqs[i].Len() + 1); {
					case len(seqs) < 5 && d.below(3) == 0:
						seqs, texts = append(seqs, cache.Fork(s, seqs[i], at)), append(texts, append([]int32(nil), texts[i][:at]...))
					case d.below(2) == 0:
						cache.Truncate(s, seqs[i], at)
						texts[i] = texts[i][:at]
					default:
						for range min(1+d.below(20), 70-len(texts[i])) {
							texts[i] = append(texts[i], int32(d.below(words)))
						}
						cache.Extend(s, seqs[i:i+1], [][]int32{texts[i][seqs[i].Len():]})
					}
				})
				require.Equal(t, len(texts[i]), seqs[i].Len())
			}
			for i, q := range seqs {
				texts[i] = append(texts[i], int32(i))
				want := hidden(t, m, texts[i], kernels.PackedSegs(len(texts[i])))
				do(t, dev, func(s *kernels.Scope) {
					row := read(t, s, cache.Extend(s, []*model.Seq{q}, [][]int32{texts[i][len(texts[i])-1:]}))
					sameBits(t, want[len(want)-width:], row, name, "sequence", i)
				})
			}
			held, room := cache.Usage(seqs)
			require.LessOrEqual(t, held, room)
			require.Equal(t, pages-cache.FreePages(), room/model.PageRows, "pages that no sequence is in are free")
			for _, q := range seqs {
				cache.Drop(q)
			}
			require.Equal(t, pages, cache.FreePages())
			require.NoError(t, cache.Close())
		}
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
	a, b, fork := cache.NewSeq(), cache.NewSeq(), cache.NewSeq()
	do(t, dev, func(s *kernels.Scope) { cache.Extend(s, []*model.Seq{a}, [][]int32{make([]int32, 17)}) })
	require.Zero(t, cache.FreePages())
	err = dev.Do(t.Context(), func(s *kernels.Scope) error {
		cache.Extend(s, []*model.Seq{b}, [][]int32{{1}})
		return s.Err()
	})
	require.ErrorIs(t, err, model.ErrCacheFull)
	require.Zero(t, b.Len(), "nothing changed")
	err = dev.Do(t.Context(), func(s *kernels.Scope) error {
		cache.Fork(s, a, 5)
		return s.Err()
	})
	require.ErrorIs(t, err, model.ErrCacheFull)
	do(t, dev, func(s *kernels.Scope) { fork = cache.Fork(s, a, 16) })
	err = dev.Do(t.Context(), func(s *kernels.Scope) error {
		cache.Truncate(s, a, 5)
		return s.Err()
	})
	require.ErrorIs(t, err, model.ErrCacheFull, "the fork has the page too")
	require.Equal(t, 17, a.Len(), "nothing changed")
	cache.Drop(fork)
	cache.Drop(a)
	cache.Drop(b)
	require.Equal(t, 2, cache.FreePages())
	do(t, dev, func(s *kernels.Scope) { cache.Extend(s, []*model.Seq{b}, [][]int32{{1}}) })
}

// The sampler's log-prob and entropy of a token are the trainer's, at any temperature, whatever was decoded beside it.
func TestSampledLogProbIsTrained(t *testing.T) {
	for _, name := range variants {
		t.Run(name, func(t *testing.T) {
			dev := openFor(t, name, kernels.Options{})
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

// Sequences that were forked from one prompt read its keys and values once, all of them together; what more of them cost is
// their own positions: B(s-p), and of those the part of a page that was copied.
func TestForksReadTheirPromptOnce(t *testing.T) {
	t.Run("f32", func(t *testing.T) { forksReadTheirPromptOnce(t, false) })
	t.Run("bf16", func(t *testing.T) { forksReadTheirPromptOnce(t, true) })
}

func forksReadTheirPromptOnce(t *testing.T, half bool) {
	dev, err := kernels.Open("cpu", kernels.Options{Threads: 1}) // each lane of a small model would read it once
	require.NoError(t, err)
	small, err := model.Tiny(dev, 3)
	require.NoError(t, err)
	c := small.Config()
	require.NoError(t, small.Close())
	c.MaxPositions = 512
	m, err := model.New(dev, c, 3, nil)
	require.NoError(t, err)
	size := 4
	if half {
		require.NoError(t, m.UseBF16())
		size = 2
	}
	const steps = 20
	read := func(prompt, forks int) (bytes int64) {
		cache, err := m.NewCache(prompt + forks*(steps+2*model.PageRows))
		require.NoError(t, err)
		seqs, ids := make([]*model.Seq, forks), make([][]int32, forks)
		require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
			whole := cache.NewSeq()
			cache.Extend(s, []*model.Seq{whole}, [][]int32{make([]int32, prompt)})
			for i := range seqs {
				seqs[i], ids[i] = cache.Fork(s, whole, prompt), []int32{int32(i)}
			}
			return nil
		}))
		before, err := dev.KVBytesRead()
		require.NoError(t, err)
		for range steps {
			require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
				cache.Extend(s, seqs, ids)
				return nil
			}))
		}
		after, err := dev.KVBytesRead()
		require.NoError(t, err)
		require.NoError(t, cache.Close())
		return after - before
	}
	position := int64(2 * size * c.Layers * c.KVHeads * c.HeadDim)
	require.Equal(t, position, m.CacheBytes())
	for _, prompt := range []int{256, 400, 416, 427} {
		one := read(prompt, 1)
		require.Equal(t, position*steps*(2*int64(prompt)+steps+1)/2, one, "prompt of %d", prompt)
		own := position * steps * (int64(prompt%model.PageRows)*2 + steps + 1) / 2
		for _, forks := range []int{2, 5, 40} {
			require.Equal(t, own*int64(forks-1), read(prompt, forks)-one, "%d forks of a prompt of %d", forks, prompt)
		}
	}
	require.NoError(t, m.Close())
	require.NoError(t, dev.Close())
}
