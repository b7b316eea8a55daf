package main

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/model/weights"
)

func values(t *testing.T, dir string) (dtypes map[string]string, all map[string][]float32) {
	f, err := weights.Open(dir)
	require.NoError(t, err)
	defer f.Close()
	dtypes, all = map[string]string{}, map[string][]float32{}
	for _, name := range f.Names() {
		x, err := f.Tensor(name)
		require.NoError(t, err)
		dtypes[name] = x.DType
		all[name], err = x.Float32()
		require.NoError(t, err)
	}
	return dtypes, all
}

// fp32 keeps every bit, bf16 and f16 are the nearest numbers; DeepSeek's correction bias stays fp32, as transformers keeps it.
func TestConvert(t *testing.T) {
	in := filepath.Join(goldens, "deepseek_v3")
	_, want := values(t, in)
	for _, dtype := range []string{"f32", "bf16", "f16"} {
		out := filepath.Join(t.TempDir(), "out")
		require.Equal(t, []string{""}, feed(t, "", "convert", in, out, "--dtype", dtype))
		types, got := values(t, out)
		require.Len(t, got, len(want))
		for name, v := range got {
			for i := range v {
				x, bits := want[name][i], map[string]int{"f32": 24, "bf16": 8, "f16": 11}[dtype]
				if filepath.Ext(name) == ".e_score_correction_bias" {
					require.Equal(t, "F32", types[name])
					bits = 24
				}
				_, exp := math.Frexp(float64(x))
				require.LessOrEqual(t, math.Abs(float64(v[i]-x)), math.Ldexp(1, max(exp-bits-1, -25)), "%s %s[%d]: %g, want %g", dtype, name, i, v[i], x)
				if dtype == "f32" {
					require.Equal(t, math.Float32bits(x), math.Float32bits(v[i]))
				}
			}
		}
		var c struct{ DType string }
		text, err := os.ReadFile(filepath.Join(out, "config.json"))
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(text, &c))
		require.Equal(t, map[string]string{"f32": "float32", "bf16": "bfloat16", "f16": "float16"}[dtype], c.DType)
		for _, name := range []string{"generation_config.json"} {
			a, err := os.ReadFile(filepath.Join(in, name))
			require.NoError(t, err)
			b, err := os.ReadFile(filepath.Join(out, name))
			require.NoError(t, err)
			require.Equal(t, a, b, "files beside the weights are copied")
		}
	}
}

// A conversion that fails leaves nothing behind, and nothing is overwritten.
func TestConvertErrors(t *testing.T) {
	dir := t.TempDir()
	in := filepath.Join(goldens, "qwen2")
	broken := filepath.Join(dir, "broken.gguf")
	require.NoError(t, os.WriteFile(broken, []byte("GGUF\x03\x00\x00\x00"), 0o644))
	for says, args := range map[string][]string{
		"exists":               {in, dir},
		"want IN and OUT":      {in},
		`--dtype is "q4"`:      {in, filepath.Join(dir, "out"), "--dtype", "q4"},
		"nowhere":              {"nowhere", filepath.Join(dir, "out")},
		"no/out":               {in, filepath.Join(dir, "no", "out")},
		"broken.gguf: byte 8:": {broken, filepath.Join(dir, "out")},
	} {
		code, _, stderr := callWith("", append([]string{"convert"}, args...)...)
		require.NotZero(t, code)
		if says != "no/out" {
			require.Contains(t, stderr, says)
		}
		left, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Len(t, left, 1, says)
	}
}
