package model_test

import (
	"path/filepath"
	"testing"

	"github.com/gor1/gor1/kernels"
)

// Every architecture, with an adapter or in bf16 too, has the same gradient bits whether training keeps the layers' values or computes them again.
func TestRecomputeIsTheSame(t *testing.T) {
	for _, name := range variants {
		t.Run(name, func(t *testing.T) {
			m := loadLM(t, openFor(t, name, kernels.Options{}), filepath.Join("testdata", "golden", name))
			seqs := trainable(5, m.Config().VocabSize)
			want := step(t, m, seqs, 1)
			m.Recompute(true)
			sameGradients(t, want, step(t, m, seqs, 1))
		})
	}
}
