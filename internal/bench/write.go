package bench

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"

	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
)

// Probe is a file that [Write] adds to the model: ids and the log-prob of each after those before it, in fp32, for other programs
// to check that they run the same model.
const Probe = "probe.json"

// Write saves the model of a shape, with the weights of every benchmark, as a Hugging Face folder, which it makes, with a [Probe].
func Write(ctx context.Context, dev *kernels.Device, shape, dir string) error {
	m, err := fresh(dev, shape, Load{Batch: 1, Prompt: 8192, New: 1, Prompts: 1, Group: 1})
	if err != nil {
		return err
	}
	defer m.Close()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := m.Save(dir); err != nil {
		return err
	}
	probe := struct {
		IDs  []int32   `json:"ids"`
		LogP []float32 `json:"logp"`
	}{IDs: ids(3, 48, m.Config().VocabSize), LogP: make([]float32, 47)}
	err = dev.Do(ctx, func(s *kernels.Scope) error {
		s = s.NoGrad()
		segs := kernels.PackedSegs(len(probe.IDs))
		rows, targets := model.NextTokens(probe.IDs, segs)
		logp, _ := m.LogProbs(s, probe.IDs, segs, rows, targets, 1)
		return s.Read(logp, probe.LogP)
	})
	if err != nil {
		return err
	}
	text, err := json.Marshal(probe)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, Probe), text, 0o644)
}
