package model_test

import (
	"encoding/json"
	"fmt"
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

var adapters = []string{"attn_r4", "all_linear_rslora", "patterns", "layers_to_transform"}

// adapt adds an adapter to every linear layer of m, with no zero in it.
func adapt(t testing.TB, m *model.LM, c model.LoRAConfig) *model.LM {
	a, err := m.WithLoRA(c, 5)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, a.Close()) })
	d := draws(77)
	for _, p := range a.Params() {
		v, err := p.Values()
		require.NoError(t, err)
		for i := range v {
			v[i] = float32(d.below(2001)-1000) / 4000
		}
		require.NoError(t, p.Write(v))
	}
	return a
}

func everywhere() model.LoRAConfig {
	return model.LoRAConfig{R: 3, Alpha: 1.5, Targets: []string{model.AllLinear}}
}

func loadAdapter(t testing.TB, m *model.LM, dir string) *model.LM {
	a, err := m.LoadAdapter(dir)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, a.Close()) })
	return a
}

func logits(t testing.TB, m *model.LM, ids []int32, segs kernels.Segs) (out []float32) {
	do(t, m.Device(), func(s *kernels.Scope) { out = read(t, s, m.Logits(s.NoGrad(), m.Forward(s.NoGrad(), ids, segs))) })
	return out
}

// Logits, gradients and merged weights of adapters that peft saved.
func TestGoldenLoRA(t *testing.T) {
	for _, name := range adapters {
		t.Run(name, func(t *testing.T) {
			g, dev := loadGolden(t, "qwen2"), openCPU(t)
			base := loadLM(t, dev, g.dir)
			dir := filepath.Join("testdata", "lora", name)
			m := loadAdapter(t, base, dir)
			file, err := weights.Open(filepath.Join(dir, "expected.safetensors"))
			require.NoError(t, err)
			defer file.Close()
			g.tensor = file
			ids, segs := pack(g.IDs)

			merged, err := m.Merged()
			require.NoError(t, err)
			defer merged.Close()
			got, mergedGot, v := logits(t, m, ids, segs), logits(t, merged, ids, segs), m.Config().VocabSize
			for i, seg := range segs {
				want := g.float64s(t, fmt.Sprintf("seq%d.logits_adapter_f64_ref", i))
				at := int(seg.Start) * v
				t.Logf("max abs difference: logits %.2g, merged %.2g", maxDiff(got[at:], want), maxDiff(mergedGot[at:], want))
				require.Less(t, maxDiff(got[at:], want), 5e-5)
				require.Less(t, maxDiff(mergedGot[at:], want), 5e-5)
			}

			rows, targets := model.NextTokens(ids, segs)
			do(t, dev, func(s *kernels.Scope) {
				logp, _ := m.LogProbs(s, ids, segs, rows, targets, 1)
				s.Backward([]*kernels.Tensor{s.Neg(s.Mean(logp))}, nil)
			})
			grads := 0
			for _, name := range file.Names() {
				x, err := file.Tensor(name)
				require.NoError(t, err)
				if module, ok := strings.CutPrefix(name, "grad.base_model.model."); ok {
					want, err := x.Float32()
					require.NoError(t, err)
					require.InDeltaSlice(t, want, gradient(t, m.Param(module)), 1e-5, module)
					grads++
				}
				if weight, ok := strings.CutPrefix(name, "merged."); ok {
					want, err := x.Float32()
					require.NoError(t, err)
					values, err := merged.Param(weight).Values()
					require.NoError(t, err)
					require.InDeltaSlice(t, want, values, 1e-6, weight)
				}
			}
			require.Len(t, m.Params(), grads, "every adapter array has a golden gradient")
		})
	}
}

// A fresh adapter changes no bit; saved and loaded, cloned or copied, an adapter is the same; merging and unmerging give the
// function and the base back, to rounding.
func TestLoRASaveLoadMerge(t *testing.T) {
	for _, name := range families {
		t.Run(name, func(t *testing.T) {
			dev := openCPU(t)
			base := loadLM(t, dev, filepath.Join("testdata", "golden", name))
			d := draws(3)
			ids, segs := pack(d.sequences(4, 12, base.Config().VocabSize))
			fresh, err := base.WithLoRA(everywhere(), 1)
			require.NoError(t, err)
			defer fresh.Close()
			require.Same(t, base, fresh.Base())
			sameBits(t, logits(t, base, ids, segs), logits(t, fresh, ids, segs), "fresh adapter")

			m := adapt(t, base, everywhere())
			want := logits(t, m, ids, segs)
			require.NotEqual(t, want, logits(t, base, ids, segs))
			dir := t.TempDir()
			require.NoError(t, m.Save(dir))
			files, err := os.ReadDir(dir)
			require.NoError(t, err)
			require.Len(t, files, 2)
			sameBits(t, want, logits(t, loadAdapter(t, base, dir), ids, segs), "loaded")
			clone, err := m.Clone()
			require.NoError(t, err)
			defer clone.Close()
			sameBits(t, want, logits(t, clone, ids, segs), "clone")
			require.NoError(t, fresh.CopyFrom(m))
			sameBits(t, want, logits(t, fresh, ids, segs), "copy")
			require.ErrorContains(t, base.CopyFrom(m), "different bases")

			merged, err := m.Merged()
			require.NoError(t, err)
			defer merged.Close()
			require.Nil(t, merged.Base())
			require.InDeltaSlice(t, want, logits(t, merged, ids, segs), 2e-4)
			back, err := m.Unmerged(merged)
			require.NoError(t, err)
			defer back.Close()
			for _, p := range base.Params() {
				a, err := p.Values()
				require.NoError(t, err)
				b, err := back.Param(p.Name).Values()
				require.NoError(t, err)
				require.InDeltaSlice(t, a, b, 1e-6, p.Name)
			}
		})
	}
}

// Backward makes gradients of the adapter and of nothing else, and none below the lowest adapter; the base is still whole.
func TestFrozenWeightsHaveNoGradient(t *testing.T) {
	dev := openCPU(t)
	base := loadLM(t, dev, filepath.Join("testdata", "golden", "smollm2"))
	require.True(t, base.Config().TieEmbeddings)
	d := draws(3)
	ids, segs := pack(d.sequences(4, 12, base.Config().VocabSize))
	rows, targets := model.NextTokens(ids, segs)
	backward := func(m *model.LM) (alive, peak int64) {
		logits(t, m, ids, segs) // packs the weights
		before := dev.Stats().LiveTensors
		do(t, dev, func(s *kernels.Scope) {
			logp, _ := m.LogProbs(s, ids, segs, rows, targets, 1)
			peak = dev.Stats().LiveBytes
			s.Backward([]*kernels.Tensor{s.Mean(logp)}, nil)
		})
		return dev.Stats().LiveTensors - before, peak
	}
	all := adapt(t, base, everywhere())
	alive, wide := backward(all)
	require.EqualValues(t, len(all.Params()), alive, "gradients made")
	last := adapt(t, base, model.LoRAConfig{R: 3, Alpha: 1, Targets: []string{"down_proj"}, Layers: []int{base.Config().Layers - 1}})
	require.Len(t, last.Params(), 2)
	alive, narrow := backward(last)
	require.EqualValues(t, 2, alive)
	require.Less(t, narrow, wide, "layers below the lowest adapter are not kept for the backward pass")
	_, err := last.Param("model.norm.weight").Grad()
	require.ErrorContains(t, err, "frozen")
	require.Error(t, last.Param("model.norm.weight").Free())
	alive, _ = backward(base)
	require.EqualValues(t, len(base.Params())+1, alive, "the base's own parameters and its tied head")
}

// Which layers an adapter takes, and with which rank, as peft says.
func TestLoRATargets(t *testing.T) {
	dev := openCPU(t)
	base := loadLM(t, dev, filepath.Join("testdata", "golden", "qwen3_moe"))
	layers := base.Config().Layers
	for _, c := range []struct {
		config model.LoRAConfig
		want   []string // of some: name and rank
		count  int
	}{
		{model.LoRAConfig{Targets: []string{"q_proj"}}, []string{"model.layers.0.self_attn.q_proj 4"}, layers},
		{model.LoRAConfig{Targets: []string{"model.layers.1.self_attn.q_proj"}}, []string{"model.layers.1.self_attn.q_proj 4"}, 1},
		{model.LoRAConfig{Targets: []string{"experts.2.up_proj"}, Layers: []int{1}}, []string{"model.layers.1.mlp.experts.2.up_proj 4"}, 1},
		{model.LoRAConfig{Targets: []string{"q_proj", "model.layers.0.self_attn.k_proj"}, Layers: []int{1}},
			[]string{"model.layers.0.self_attn.k_proj 4", "model.layers.1.self_attn.q_proj 4"}, 2},
		{model.LoRAConfig{TargetRegexp: `.*layers\.0\.self_attn\.[qv]_proj`, RankPattern: map[string]int{"v_proj": 2}},
			[]string{"model.layers.0.self_attn.q_proj 4", "model.layers.0.self_attn.v_proj 2"}, 2},
		{model.LoRAConfig{Targets: []string{"q_proj", "v_proj"}, Exclude: []string{"v_proj", "model.layers.0.self_attn.q_proj"}}, nil, layers - 1},
		{model.LoRAConfig{Targets: []string{"o_proj"}, RankPattern: map[string]int{`layers\.1\..*`: 7}}, []string{"model.layers.0.self_attn.o_proj 4", "model.layers.1.self_attn.o_proj 7"}, layers},
	} {
		c.config.R, c.config.Alpha = 4, 4
		m, err := base.WithLoRA(c.config, 0)
		require.NoError(t, err)
		var got []string
		for _, p := range m.Params() {
			if module, ok := strings.CutSuffix(p.Name, ".lora_A.weight"); ok {
				got = append(got, fmt.Sprint(module, " ", p.Shape()[0]))
			}
		}
		require.Len(t, got, c.count, "%+v", c.config)
		require.Subset(t, got, c.want)
		require.NoError(t, m.Close())
	}
}

func TestLoRARefuses(t *testing.T) {
	dev := openCPU(t)
	base := loadLM(t, dev, filepath.Join("testdata", "golden", "qwen2"))
	ok := everywhere()
	for want, change := range map[string]func(c *model.LoRAConfig){
		"rank 0":                   func(c *model.LoRAConfig) { c.R = 0 },
		"lora_alpha":               func(c *model.LoRAConfig) { c.Alpha = math.NaN() },
		"lora_dropout":             func(c *model.LoRAConfig) { c.Dropout = 1 },
		"no target_modules":        func(c *model.LoRAConfig) { c.Targets = nil },
		"stands alone":             func(c *model.LoRAConfig) { c.Targets = []string{model.AllLinear, "q_proj"} },
		"as an expression":         func(c *model.LoRAConfig) { c.TargetRegexp = "x" },
		"name the layers":          func(c *model.LoRAConfig) { c.Targets, c.TargetRegexp, c.Layers = nil, ".*", []int{0} },
		"match no linear layer":    func(c *model.LoRAConfig) { c.Targets = []string{"lm_head", "embed_tokens"} },
		"missing closing":          func(c *model.LoRAConfig) { c.Targets, c.TargetRegexp = nil, "(" },
		"rank_pattern \"q\" is -1": func(c *model.LoRAConfig) { c.RankPattern = map[string]int{"q": -1} },
		"both match":               func(c *model.LoRAConfig) { c.RankPattern = map[string]int{"q_proj": 1, ".*_proj": 2} },
		"alpha_pattern":            func(c *model.LoRAConfig) { c.AlphaPattern = map[string]float64{"q": math.Inf(1)} },
	} {
		c := ok
		change(&c)
		_, err := base.WithLoRA(c, 0)
		require.ErrorContains(t, err, want)
	}
	m := adapt(t, base, ok)
	_, err := m.WithLoRA(ok, 0)
	require.ErrorContains(t, err, "has one already")
	_, err = base.Merged()
	require.ErrorContains(t, err, "no adapter")
	_, err = base.Unmerged(base)
	require.ErrorContains(t, err, "no adapter")
	_, err = base.Dropout(1, 1)
	require.ErrorContains(t, err, "no adapter")
	_, err = base.LoadAdapter(t.TempDir())
	require.ErrorContains(t, err, "adapter_config.json")
}

// Fields of adapter_config.json that would change the mathematics are refused by name, and so are files that do not fit.
func TestLoadAdapterRefuses(t *testing.T) {
	dev := openCPU(t)
	base := loadLM(t, dev, filepath.Join("testdata", "golden", "qwen2"))
	text, err := os.ReadFile(filepath.Join("testdata", "lora", "attn_r4", "adapter_config.json"))
	require.NoError(t, err)
	with := func(field string, value any) []byte {
		var j map[string]any
		require.NoError(t, json.Unmarshal(text, &j))
		j[field] = value
		out, err := json.Marshal(j)
		require.NoError(t, err)
		return out
	}
	for field, value := range map[string]any{
		"use_dora": true, "bias": "all", "modules_to_save": []string{"lm_head"}, "fan_in_fan_out": true, "peft_type": "IA3", "init_lora_weights": "pissa",
		"target_parameters": []string{"x"}, "lora_bias": true, "trainable_token_indices": []int{1}, "layer_replication": [][]int{{0, 1}}, "target_modules": 3,
		"layers_to_transform": "x", "exclude_modules": ".*", "r": 0, "layers_pattern": "h",
	} {
		_, err := model.ParseLoRAConfig(with(field, value))
		require.Error(t, err, field)
		if field != "r" {
			require.ErrorContains(t, err, field)
		}
	}
	c, err := model.ParseLoRAConfig(with("layers_to_transform", 1))
	require.NoError(t, err)
	require.Equal(t, []int{1}, c.Layers)
	c, err = model.ParseLoRAConfig(with("target_modules", "all-linear"))
	require.NoError(t, err)
	require.Equal(t, []string{model.AllLinear}, c.Targets)

	tensors, err := os.ReadFile(filepath.Join("testdata", "lora", "attn_r4", "adapter_model.safetensors"))
	require.NoError(t, err)
	for want, config := range map[string][]byte{
		"belongs to no layer": with("target_modules", []string{"q_proj"}),
		"is missing":          with("target_modules", []string{"q_proj", "k_proj", "v_proj", "o_proj", "up_proj"}),
		"wants [2 48]":        with("r", 2),
	} {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, "adapter_config.json"), config, 0o600))
		_, err = base.LoadAdapter(dir)
		require.ErrorContains(t, err, "adapter_model.safetensors")
		require.NoError(t, os.WriteFile(filepath.Join(dir, "adapter_model.safetensors"), tensors, 0o600))
		_, err = base.LoadAdapter(dir)
		require.ErrorContains(t, err, want)
	}
}

// Dropout is a function of the sequence, not of the batch: splits give the same bits; steps and seeds differ; sampling is as
// without; the kept share is 1 - p.
func TestLoRADropout(t *testing.T) {
	dev := openCPU(t)
	base := loadLM(t, dev, filepath.Join("testdata", "golden", "qwen3"))
	c := everywhere()
	c.Dropout = 0.25
	m := adapt(t, base, c)
	seqs := trainable(10, m.Config().VocabSize)
	view := func(seed uint64, step int) *model.LM {
		v, err := m.Dropout(seed, step)
		require.NoError(t, err)
		return v
	}
	want := step(t, view(1, 2), seqs, 1)
	for _, parts := range []int{2, 64} {
		sameGradients(t, want, step(t, view(1, 2), seqs, parts), parts, "micro-batches")
	}
	slices.Reverse(seqs)
	ids, segs := pack(seqs[:3])
	one := hidden(t, view(1, 2), ids, segs)
	sameBits(t, one, hidden(t, view(1, 2), ids, segs))
	require.NotEqual(t, one, hidden(t, view(1, 3), ids, segs))
	require.NotEqual(t, one, hidden(t, view(2, 2), ids, segs))
	require.NotEqual(t, one, hidden(t, m, ids, segs))
	for i, rows := range extend(t, view(1, 2), seqs[:3], func(_, left int) int { return left }) {
		width := m.Config().HiddenSize
		at := int(segs[i].Start) * width
		sameBits(t, hidden(t, m, ids, segs)[at:at+len(rows)], rows, "sampling does not drop")
	}

	// One token, one layer, a scale so small that the adapter changes nothing else: A's gradient shows the mask on x.
	c.Targets, c.Layers, c.Alpha = []string{"v_proj"}, []int{0}, 1e-4
	m = adapt(t, base, c)
	kept, all := 0, 0
	for n := range 60 {
		var grads [2][]float32
		for i, v := range []*model.LM{m, view(9, n)} {
			do(t, dev, func(s *kernels.Scope) {
				logp, _ := v.LogProbs(s, []int32{int32(n)}, kernels.PackedSegs(1), []int32{0}, []int32{7}, 1)
				s.Backward([]*kernels.Tensor{logp}, nil)
			})
			grads[i] = gradient(t, m.Params()[0])
			require.NoError(t, m.Params()[0].ZeroGrad())
		}
		for k := range m.Config().HiddenSize {
			all++
			if grads[1][k] != 0 {
				kept++
				require.InEpsilon(t, grads[0][k]/0.75, grads[1][k], 1e-2)
			}
		}
	}
	require.InDelta(t, 0.75, float64(kept)/float64(all), 4*math.Sqrt(0.75*0.25/float64(all)))

	c = everywhere()
	c.Dropout = 0.25
	moe := adapt(t, loadLM(t, dev, filepath.Join("testdata", "golden", "qwen3_moe")), c)
	_, err := moe.Dropout(1, 1)
	require.ErrorContains(t, err, "expert")
	same, err := adapt(t, base, everywhere()).Dropout(1, 1)
	require.NoError(t, err)
	require.Zero(t, must(same.LoRA()).Dropout)
}

func must(c model.LoRAConfig, ok bool) model.LoRAConfig {
	if !ok {
		panic("no adapter")
	}
	return c
}

// Whatever an adapter_config.json says, reading it and choosing its layers ends, with an error or without.
func FuzzParseLoRAConfig(f *testing.F) {
	for _, name := range adapters {
		text, err := os.ReadFile(filepath.Join("testdata", "lora", name, "adapter_config.json"))
		require.NoError(f, err)
		f.Add(text)
	}
	f.Add([]byte(`{"peft_type":"LORA","r":1,"lora_alpha":1,"target_modules":"(a|b)*","rank_pattern":{"(":2},"layers_to_transform":[-1]}`))
	dev := openCPU(f)
	base := loadLM(f, dev, filepath.Join("testdata", "golden", "qwen2"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := model.ParseLoRAConfig(text)
		if err != nil || c.R > 64 {
			return
		}
		require.NoError(t, c.Validate())
		if m, err := base.WithLoRA(c, 0); err == nil {
			require.NoError(t, m.Close())
		}
	})
}
