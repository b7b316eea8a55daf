package model

import (
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model/weights"
)

// BenchmarkLoad loads a checkpoint of 500 MB from the page cache, each time into fresh memory, and, in turn, only reads the file
// into fresh memory. It reports the median of the ratios of both, and the memory that the device and the Go heap took per byte
// of weights.
//
//	go test ./model -run - -bench Load -benchtime 9x
func BenchmarkLoad(b *testing.B) {
	dir, c := bigFolder(b)
	path := filepath.Join(dir, "model.safetensors")
	dev, err := kernels.Open("cpu")
	require.NoError(b, err)
	defer func() { require.NoError(b, dev.Close()) }()
	var ratios, memory, loads []float64
	for b.Loop() {
		debug.FreeOSMemory()
		start := time.Now()
		readInto(b, path)
		read := time.Since(start)
		debug.FreeOSMemory()
		start = time.Now()
		m, err := Load(dev, dir, Options{})
		load := time.Since(start)
		require.NoError(b, err)
		ratios, loads = append(ratios, load.Seconds()/read.Seconds()), append(loads, load.Seconds())
		memory = append(memory, float64(dev.Stats().PeakBytes)/float64(c.LoadBytes()))
		require.NoError(b, m.Close())
		dev.Trim()
	}
	slices.Sort(ratios)
	slices.Sort(loads)
	b.ReportMetric(ratios[len(ratios)/2], "load/read")
	b.ReportMetric(loads[len(loads)/2], "s/load")
	b.ReportMetric(slices.Max(memory), "peak/weights")
}

func readInto(b *testing.B, path string) {
	f, err := os.Open(path)
	require.NoError(b, err)
	defer f.Close()
	info, err := f.Stat()
	require.NoError(b, err)
	_, err = io.ReadFull(f, make([]byte, info.Size()))
	require.NoError(b, err)
}

// bigFolder writes a checkpoint of 500 MB.
func bigFolder(b *testing.B) (string, Config) {
	dir := b.TempDir()
	c := Config{
		ModelType: "qwen3", VocabSize: 32000, HiddenSize: 1024, IntermediateSize: 3072, Layers: 7, Heads: 8, KVHeads: 4, HeadDim: 128, MaxPositions: 512,
		NormEps: 1e-6, TieEmbeddings: true, QKNorm: true, BOS: 0, EOS: []int{1}, PAD: -1, Rope: Rope{Type: "default", Theta: 10000},
	}
	require.NoError(b, c.writeConfigs(dir, "float32"))
	var list []weights.Entry
	shapes := map[string]int{}
	for _, w := range c.weights() {
		list = append(list, weights.Entry{Name: w.name, DType: "F32", Shape: w.shape})
		shapes[w.name] = 4
		for _, d := range w.shape {
			shapes[w.name] *= d
		}
	}
	require.NoError(b, weights.WriteDirFrom(dir, list, func(name string, w io.Writer) error {
		_, err := w.Write(make([]byte, shapes[name]))
		return err
	}))
	return dir, c
}
