package model_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/optim"
)

// trained is the device's peak after one training step over sequences of 128 tokens, with the optimiser that a trainer has.
func trained(t *testing.T, m *model.LM, rows int) int64 {
	opt, err := optim.New(m.Params(), optim.Default())
	require.NoError(t, err)
	var d draws = 1
	step(t, m, d.of(rows/128, 128, m.Config().VocabSize), 1)
	_, err = opt.Step(context.Background(), 1e-6)
	require.NoError(t, err)
	require.NoError(t, opt.Close())
	return m.Device().Stats().PeakBytes
}

// of are n sequences of one length.
func (d *draws) of(n, length, vocab int) [][]int32 {
	seqs := make([][]int32, n)
	for i := range seqs {
		seqs[i] = make([]int32, length)
		for j := range seqs[i] {
			seqs[i][j] = int32(d.below(vocab))
		}
	}
	return seqs
}

// The plan of a training step holds the device's peak from above, and within 20 % (what experts take depends on which are chosen): for every architecture, in bf16 and with an adapter, with
// everything kept and with layers computed again.
func TestPlanHoldsTraining(t *testing.T) {
	const rows = 1024
	for _, name := range variants {
		for _, again := range []bool{false, true} {
			dev := openFor(t, name, kernels.Options{})
			m := loadLM(t, dev, filepath.Join("testdata", "golden", name))
			m.Recompute(again)
			w := model.Work{Store: model.Kept(true, m.BF16()), BF16: m.BF16(), TrainRows: rows, Recompute: again}
			if c, ok := m.LoRA(); ok {
				w.LoRA = &c
			}
			p, err := m.Config().Plan(w)
			require.NoError(t, err)
			within(t, name, trained(t, m, rows), p.Training()-p.Scratch, 0.8)
		}
	}
}

// So does the plan of sampling: prompts of 256 tokens, run at once, and eight tokens after each.
func TestPlanHoldsSampling(t *testing.T) {
	const seqs, prompt = 8, 256
	for _, name := range variants {
		dev := openFor(t, name, kernels.Options{Threads: 1}) // lanes would overlap more or less
		m := loadLM(t, dev, filepath.Join("testdata", "golden", name))
		w := model.Work{Store: model.Kept(true, m.BF16()), BF16: m.BF16(), Positions: seqs * (prompt + model.PageRows), Prefill: seqs * prompt, Sequences: seqs}
		if c, ok := m.LoRA(); ok {
			w.LoRA = &c
		}
		p, err := m.Config().Plan(w)
		require.NoError(t, err)
		cache, err := m.NewCache(w.Positions)
		require.NoError(t, err)
		live := make([]*model.Seq, seqs)
		for i := range live {
			live[i] = cache.NewSeq()
		}
		var d draws = 1
		ids := d.of(seqs, prompt, m.Config().VocabSize)
		for range 8 {
			do(t, dev, func(s *kernels.Scope) {
				s = s.NoGrad()
				hidden := cache.Extend(s, live, ids)
				m.Head(s, s.Rows(hidden, 0, seqs), make([]int32, seqs), 1)
			})
			ids = d.of(seqs, 1, m.Config().VocabSize)
		}
		require.NoError(t, cache.Close())
		within(t, name, dev.Stats().PeakBytes, p.Sampling()-p.Scratch, 0.8)
	}
}

// within holds what was measured against what was planned: from above but for 2 %, since blocks below 256 KiB come in classes of sizes.
func within(t *testing.T, name string, peak, plan int64, least float64) {
	t.Helper()
	share := float64(peak) / float64(plan)
	t.Logf("%-20s peak %6.2f MB, plan %6.2f MB: %.3f", name, float64(peak)/1e6, float64(plan)/1e6, share)
	require.LessOrEqual(t, share, 1.02, name)
	require.GreaterOrEqual(t, share, least, name)
}

// qwen7B is Qwen2.5-7B's config.json: the public numbers.
const qwen7B = `{"model_type":"qwen2","hidden_act":"silu","vocab_size":152064,"hidden_size":3584,"intermediate_size":18944,"num_hidden_layers":28,"num_attention_heads":28,
	"num_key_value_heads":4,"max_position_embeddings":131072,"rms_norm_eps":1e-06,"rope_theta":1000000.0,"tie_word_embeddings":false,"initializer_range":0.02,
	"bos_token_id":151643,"eos_token_id":151643}`

// Full fine-tuning of 7 billion parameters, with 256 sequences of 2,048 positions cached, fits one GPU of 141 GB as it is meant to be kept there, and
// does not in fp32 as it is kept today; each part is counted by hand.
func TestPlanOf7B(t *testing.T) {
	c, err := model.ParseConfig([]byte(qwen7B))
	require.NoError(t, err)
	const (
		gb = int64(1e9)
		n  = 2*152064*3584 + 28*(2*3584*3584+2*512*3584+3*3584*18944+3584+2*512+2*3584) + 3584
	)
	require.EqualValues(t, 7_615_616_512, n, "what its card says: 7.61 billion")
	require.EqualValues(t, n, c.ParamCount())
	w := model.Work{Store: model.SplitStore(false), TrainRows: 8192, Recompute: true, Prefill: 4096, Sequences: 256, Positions: 256 * 2048}
	p, err := c.Plan(w)
	require.NoError(t, err)
	tables := int64(4 * 131072 * 128)
	require.EqualValues(t, 4*n+tables, p.Weights)
	require.Zero(t, p.Forward+p.Backward)
	require.EqualValues(t, 4*n, p.Gradients)
	require.EqualValues(t, 4*n, p.Moments)
	require.EqualValues(t, 2*2*28*4*128, p.SeqKV)
	require.EqualValues(t, 256*2048*p.SeqKV, p.KV)
	require.Less(t, p.Peak(), 141*gb)
	require.Greater(t, p.Room(141*gb), int64(700_000))
	require.Contains(t, w.Store.Missing, "not implemented")
	t.Logf("split, fp32 gradients: %.1f GB training, %.1f sampling, room for %d cached positions", float64(p.Training())/1e9, float64(p.Sampling())/1e9, p.Room(141*gb))

	w.Store = model.SplitStore(true)
	less, err := c.Plan(w)
	require.NoError(t, err)
	require.EqualValues(t, 2*n, less.Gradients)
	w.Recompute = false
	kept, err := c.Plan(w)
	require.NoError(t, err)
	require.Greater(t, kept.Activations, 5*less.Activations)
	w.Store, w.Recompute = model.Kept(false, false), true
	today, err := c.Plan(w)
	require.NoError(t, err)
	require.EqualValues(t, 16*n+tables, today.Weights+today.Gradients+today.Moments)
	require.Empty(t, w.Store.Missing)
	require.Greater(t, today.Peak(), 141*gb)
	require.Zero(t, today.Room(gb))
	t.Logf("bf16 gradients %.1f GB, without checkpoints %.1f; fp32 as today %.1f training, %.1f sampling", float64(less.Peak())/1e9, float64(kept.Peak())/1e9, float64(today.Training())/1e9, float64(today.Sampling())/1e9)
}

// A plan is a function of the work: more rows, sequences, models never take less, and an adapter that fits nothing is an error.
func TestPlanGrows(t *testing.T) {
	c, err := model.ParseConfig([]byte(qwen7B))
	require.NoError(t, err)
	base := model.Work{Store: model.Kept(true, false), TrainRows: 1024, Prefill: 512, Sequences: 4, Positions: 4096}
	p, err := c.Plan(base)
	require.NoError(t, err)
	for name, more := range map[string]func(w *model.Work){
		"rows": func(w *model.Work) { w.TrainRows *= 2 }, "reference": func(w *model.Work) { w.References++ }, "exact KL": func(w *model.Work) { w.ExactKL = true },
		"bf16": func(w *model.Work) { w.BF16 = true },
	} {
		w := base
		more(&w)
		q, err := c.Plan(w)
		require.NoError(t, err)
		require.Greater(t, q.Training(), p.Training(), name)
	}
	lora := base
	lora.LoRA = &model.LoRAConfig{R: 16, Alpha: 32, Targets: []string{model.AllLinear}}
	q, err := c.Plan(lora)
	require.NoError(t, err)
	require.Less(t, q.Always(), p.Always()*7/10)
	lora.LoRA = &model.LoRAConfig{R: 16, Alpha: 32, Targets: []string{"nothing"}}
	_, err = c.Plan(lora)
	require.ErrorContains(t, err, "match no linear layer")
}

// A vocabulary of 262,144 words takes no more than one of 32,768 beside what belongs to the weights, in a training step and in sampling; with the kernels'
// scratch, which the device does not count, less than 2 % of the peak of a model of 135 million parameters.
func TestMemoryOfVocabulary(t *testing.T) {
	config := func(vocabulary int) model.Config {
		return model.Config{
			ModelType: "llama", VocabSize: vocabulary, HiddenSize: 32, IntermediateSize: 64, Layers: 2, Heads: 2, KVHeads: 1, HeadDim: 16, MaxPositions: 256,
			NormEps: 1e-6, InitializerRange: 0.02, TieEmbeddings: true, BOS: -1, PAD: -1, Rope: model.Rope{Type: "default", Theta: 10000},
		}
	}
	beside := func(vocabulary int) (training, sampling int64) {
		dev := openCPU(t)
		m, err := model.New(dev, config(vocabulary), 1, nil)
		require.NoError(t, err)
		opt, err := optim.New(m.Params(), optim.Default())
		require.NoError(t, err)
		var d draws = 1
		ids, segs := pack(d.of(2, 32, vocabulary))
		rows, targets := model.NextTokens(ids, segs)
		sample := func(s *kernels.Scope) {
			s = s.NoGrad()
			m.Sample(s, m.Forward(s, ids, segs), kernels.SampleOptions{Counter: make([][4]uint32, len(ids))})
		}
		train := func(s *kernels.Scope) {
			logp, _ := m.LogProbs(s, ids, segs, rows, targets, 1)
			s.Backward([]*kernels.Tensor{s.Sum(logp)}, nil)
		}
		do(t, dev, sample) // packs the weights
		do(t, dev, sample)
		sampling = dev.Stats().PeakBytes - dev.Stats().LiveBytes
		do(t, dev, train) // makes the gradients
		do(t, dev, train)
		training = dev.Stats().PeakBytes - dev.Stats().LiveBytes
		require.NoError(t, opt.Close())
		require.NoError(t, m.Close())
		return training, sampling
	}
	smallT, smallS := beside(32_768)
	largeT, largeS := beside(262_144)
	t.Logf("beside weights, packed copies, gradients and moments: training %d and %d bytes, sampling %d and %d; [T, V] would be %d more", smallT, largeT, smallS, largeS, 4*64*(262_144-32_768))
	require.InEpsilon(t, smallT, largeT, 0.001)
	require.InEpsilon(t, smallS, largeS, 0.001)

	smol := model.Config{
		ModelType: "llama", HiddenSize: 576, IntermediateSize: 1536, Layers: 30, Heads: 9, KVHeads: 3, HeadDim: 64, MaxPositions: 2048, NormEps: 1e-5, TieEmbeddings: true,
		BOS: -1, PAD: -1, Rope: model.Rope{Type: "default", Theta: 10000},
	}
	for name, w := range map[string]model.Work{
		"training": {Store: model.Kept(true, false), TrainRows: 2048, Recompute: true}, "sampling": {Store: model.Kept(true, false), Positions: 64 * 512, Prefill: 4096, Sequences: 64},
	} {
		rest := func(vocabulary int) (peak, rest int64) {
			smol.VocabSize = vocabulary
			p, err := smol.Plan(w)
			require.NoError(t, err)
			return p.Peak(), p.Peak() - p.Always() + p.Scratch
		}
		peak, small := rest(32_768)
		_, large := rest(262_144)
		t.Logf("135 million parameters, %s: %.2f %% of the peak", name, 100*float64(large-small)/float64(peak))
		require.Less(t, float64(large-small), 0.02*float64(peak))
	}
}

// Sequences take their positions and less than a page more each, half a page in the mean: under 4 % where they are 512 positions long in the mean. A
// group's prompt is there once.
func TestKVWaste(t *testing.T) {
	dev := openCPU(t)
	tiny, err := model.Tiny(dev, 1)
	require.NoError(t, err)
	long := tiny.Config()
	require.NoError(t, tiny.Close())
	long.MaxPositions = 2048
	m, err := model.New(dev, long, 1, nil)
	require.NoError(t, err)
	defer m.Close()
	for _, c := range []struct{ mean, groups, samples int }{{32, 8, 4}, {600, 2, 4}} {
		var d draws = 7
		cache, err := m.NewCache(c.groups * c.samples * 2 * (2*c.mean + model.PageRows))
		pages := cache.FreePages()
		require.NoError(t, err)
		var seqs []*model.Seq
		want := 0
		do(t, dev, func(s *kernels.Scope) {
			s = s.NoGrad()
			for range c.groups {
				prompt, length := cache.NewSeq(), 1+d.below(2*c.mean/3)
				cache.Extend(s, []*model.Seq{prompt}, d.of(1, length, 64))
				want += length / model.PageRows * model.PageRows // whole pages are shared
				for range c.samples {
					q := cache.Fork(s, prompt, length)
					n := 1 + d.below(2*c.mean-2*length/3)
					cache.Extend(s, []*model.Seq{q}, d.of(1, n, 64))
					want += length%model.PageRows + n
					seqs = append(seqs, q)
				}
				cache.Drop(prompt)
			}
		})
		held, room := cache.Usage(seqs)
		require.Equal(t, want, held)
		require.Equal(t, pages-cache.FreePages(), room/model.PageRows, "the pages that the cache gave")
		total := 0
		for _, q := range seqs {
			total += q.Len()
		}
		waste := float64(room-held) / float64(len(seqs))
		t.Logf("mean length %d: %.1f positions of waste a sequence, %.2f %% of what is held", total/len(seqs), waste, 100*float64(room-held)/float64(held))
		require.Less(t, waste, float64(model.PageRows)*5/8, "half a page, and what a small sample may differ")
		if total/len(seqs) >= 512 {
			require.Less(t, float64(room-held), 0.04*float64(held))
		}
		for _, q := range seqs {
			cache.Drop(q)
		}
		held, room = cache.Usage(nil)
		require.Zero(t, held+room)
		require.NoError(t, cache.Close())
	}
}
