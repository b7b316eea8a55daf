package model_test

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/model/weights"
)

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
