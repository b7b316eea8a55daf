package model_test

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
)

// TestWriteParity writes ids and log-probs of a saved folder for another implementation to compare with (.ci/run sets the two
// variables): R1_PARITY_DIR, the folder, and R1_PARITY_OUT, the file. With R1_PARITY_SAVE it saves the model there too, for the
// other implementation to load.
func TestWriteParity(t *testing.T) {
	dir, out := os.Getenv("R1_PARITY_DIR"), os.Getenv("R1_PARITY_OUT")
	if dir == "" {
		t.Skip("set R1_PARITY_DIR and R1_PARITY_OUT, or run .ci/run")
	}
	dev := openCPU(t)
	m := loadLM(t, dev, dir)
	if save := os.Getenv("R1_PARITY_SAVE"); save != "" {
		require.NoError(t, os.MkdirAll(save, 0o755))
		require.NoError(t, m.Save(save))
	}
	type row struct {
		IDs  []int32   `json:"ids"`
		LogP []float32 `json:"logp"`
	}
	var all []row
	for i := range 8 {
		r := row{IDs: make([]int32, 5+11*i)}
		for j := range r.IDs {
			r.IDs[j] = int32((i*31 + j*j*7 + 3) % m.Config().VocabSize)
		}
		segs := kernels.PackedSegs(len(r.IDs))
		rows, targets := model.NextTokens(r.IDs, segs)
		do(t, dev, func(s *kernels.Scope) {
			logp, _ := m.LogProbs(s, r.IDs, segs, rows, targets, 1)
			r.LogP = read(t, s, logp)
		})
		all = append(all, r)
	}
	text, err := json.Marshal(all)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(out, text, 0o644))
}
