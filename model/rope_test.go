package model

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Scaled rotary frequencies against transformers in float64.
func TestGoldenRope(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("testdata", "rope", "inv_freq.json"))
	require.NoError(t, err)
	var cases []struct {
		Rope    json.RawMessage `json:"rope_parameters"`
		HeadDim int             `json:"head_dim"`
		Scale   float64         `json:"attention_factor"`
		Freq    []float64       `json:"inv_freq"`
	}
	require.NoError(t, json.Unmarshal(text, &cases))
	require.Len(t, cases, 21)
	worst := 0.0
	for _, c := range cases {
		var config Config
		config.Rope, err = (&hfConfig{}).rope(c.Rope, 10000)
		require.NoError(t, err)
		require.NoError(t, config.Rope.validate())
		freq, scale := config.Rope.invFreq(c.HeadDim, 131072)
		require.InEpsilon(t, c.Scale, scale, 1e-14)
		require.Len(t, freq, len(c.Freq))
		for i, want := range c.Freq {
			worst = math.Max(worst, math.Abs(freq[i]/want-1))
			require.InEpsilon(t, want, freq[i], 1e-12, "%+v, head size %d, frequency %d", config.Rope, c.HeadDim, i)
		}
	}
	t.Logf("largest relative difference %.2g", worst)
}

// At position 65,535 the tables of all scalings are what float64 gives from transformers' frequencies, rounded once.
func TestGoldenRopeFarOut(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("testdata", "rope", "inv_freq.json"))
	require.NoError(t, err)
	var cases []struct {
		Rope    json.RawMessage `json:"rope_parameters"`
		HeadDim int             `json:"head_dim"`
		Scale   float64         `json:"attention_factor"`
		Freq    []float64       `json:"inv_freq"`
	}
	require.NoError(t, json.Unmarshal(text, &cases))
	last := len(cases) // unscaled positions are not in the file: theta^(-2i/d)
	cases = append(cases, cases[0])
	cases[last].Rope, cases[last].HeadDim, cases[last].Scale = json.RawMessage(`{"rope_type": "default", "rope_theta": 10000}`), 64, 1
	cases[last].Freq = make([]float64, 32)
	for i := range cases[last].Freq {
		cases[last].Freq[i] = math.Pow(10000, -float64(i)/32)
	}
	const position = 65535
	seen, worst := map[string]bool{}, 0.0
	for _, c := range cases {
		config := Config{HeadDim: c.HeadDim, MaxPositions: 131072}
		config.Rope, err = (&hfConfig{}).rope(c.Rope, 10000)
		require.NoError(t, err)
		if seen[config.Rope.Type] {
			continue // one table of each kind: they are long
		}
		seen[config.Rope.Type] = true
		row := config.ropeTable(config.Rope, position+1)[position*c.HeadDim:]
		for i, f := range c.Freq {
			sin, cos := math.Sincos(position * f)
			for j, want := range map[int]float64{i: cos * c.Scale, i + len(c.Freq): sin * c.Scale} {
				off := math.Abs(float64(row[j]) - want)
				worst = math.Max(worst, off)
				// half a unit of float32, and 65,535 times the last bit of a frequency
				require.LessOrEqual(t, off, math.Abs(want)*0x1p-24+position*f*0x1p-52, "%+v, element %d", config.Rope, j)
			}
		}
	}
	require.Len(t, seen, 4, "default, linear, llama3, yarn")
	t.Logf("largest difference %.2g", worst)
}

// The table holds cos and sin of position times frequency, each scaled by yarn's attention factor.
func TestRopeTable(t *testing.T) {
	c := Config{HeadDim: 6, MaxPositions: 40, Rope: Rope{Type: "yarn", Theta: 100, Factor: 4, OriginalMaxPositions: 10}}
	freq, scale := c.Rope.invFreq(6, 40)
	require.InDelta(t, 0.1*math.Log(4)+1, scale, 1e-15)
	table := c.ropeTable(c.Rope, 40)
	require.Len(t, table, 240)
	for p := range 40 {
		for i, f := range freq {
			require.Equal(t, float32(math.Cos(float64(p)*f)*scale), table[6*p+i])
			require.Equal(t, float32(math.Sin(float64(p)*f)*scale), table[6*p+3+i])
		}
	}
}
