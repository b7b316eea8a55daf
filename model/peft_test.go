package model_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
)

// TestWriteAdapters saves adapters of several families and shapes, the merged models and their logits under R1_PEFT_OUT, for
// peft to load and compare (.ci/peft/run).
func TestWriteAdapters(t *testing.T) {
	out := os.Getenv("R1_PEFT_OUT")
	if out == "" {
		t.Skip("run .ci/peft/run")
	}
	type row struct {
		Base, Adapter, Merged string
		MergedOnly            bool // peft 0.21.2 takes dense and shared units' adapters for experts' and drops them, with a warning
		IDs                   []int32
		Logits                [][]float32
	}
	var rows []row
	for _, name := range families {
		dir, err := filepath.Abs(filepath.Join("testdata", "golden", name))
		require.NoError(t, err)
		configs := []model.LoRAConfig{
			{R: 4, Alpha: 6, Targets: []string{model.AllLinear}, Base: dir},
			{R: 2, Alpha: 1, RSLoRA: true, Targets: []string{"o_proj", "down_proj"}, Base: dir},
			{R: 3, Alpha: 2, TargetRegexp: `.*layers\.1\.self_attn\.o_proj`, Base: dir},
		}
		if base, err := model.ReadConfig(dir); err == nil && base.MoE == nil { // peft's own conversion of experts takes no patterns
			configs = append(configs, model.LoRAConfig{
				R: 4, Alpha: 6, Targets: []string{"o_proj", "up_proj", "down_proj"}, Layers: []int{0}, RankPattern: map[string]int{"up_proj": 2},
				AlphaPattern: map[string]float64{"o_proj": 3}, Exclude: []string{"down_proj"}, Base: dir,
			})
		}
		for i, c := range configs {
			dev := openCPU(t)
			m := adapt(t, loadLM(t, dev, dir), c)
			r := row{
				Base: dir, Adapter: filepath.Join(out, fmt.Sprint(name, "-", i)), Merged: filepath.Join(out, fmt.Sprint(name, "-", i, "-merged")),
				MergedOnly: m.Config().MLA != nil && c.TargetRegexp == "",
			}
			require.NoError(t, os.MkdirAll(r.Adapter, 0o755))
			require.NoError(t, os.MkdirAll(r.Merged, 0o755))
			require.NoError(t, m.Save(r.Adapter))
			merged, err := m.Merged()
			require.NoError(t, err)
			require.NoError(t, merged.Save(r.Merged))
			require.NoError(t, merged.Close())
			d := draws(5)
			for range 24 {
				r.IDs = append(r.IDs, int32(d.below(m.Config().VocabSize)))
			}
			flat, v := logits(t, m, r.IDs, kernels.PackedSegs(len(r.IDs))), m.Config().VocabSize
			for at := 0; at < len(flat); at += v {
				r.Logits = append(r.Logits, flat[at:at+v])
			}
			rows = append(rows, r)
		}
	}
	text, err := json.Marshal(rows)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(out, "adapters.json"), text, 0o644))
}

// TestWriteScorers saves a scorer of every family and its scores under R1_PEFT_OUT, for transformers to load (.ci/peft/run).
func TestWriteScorers(t *testing.T) {
	out := os.Getenv("R1_PEFT_OUT")
	if out == "" {
		t.Skip("run .ci/peft/run")
	}
	type row struct {
		Folder string
		IDs    []int32
		Score  float32
	}
	var rows []row
	for _, name := range families {
		dev := openCPU(t)
		m, err := loadLM(t, dev, filepath.Join("testdata", "golden", name)).Clone()
		require.NoError(t, err)
		scorer, err := model.NewScorer(m, 0.3, 7)
		require.NoError(t, err)
		r := row{Folder: filepath.Join(out, name+"-scorer")}
		d := draws(6)
		for range 20 {
			r.IDs = append(r.IDs, int32(2+d.below(m.Config().VocabSize-2)))
		}
		do(t, dev, func(s *kernels.Scope) {
			r.Score = read(t, s, scorer.Values(s, r.IDs, kernels.PackedSegs(20), []int32{19}))[0]
		})
		require.NoError(t, os.MkdirAll(r.Folder, 0o755))
		require.NoError(t, scorer.Save(r.Folder))
		require.NoError(t, scorer.Close())
		rows = append(rows, r)
	}
	text, err := json.Marshal(rows)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(out, "scorers.json"), text, 0o644))
}
