package model

import (
	"encoding/json"
	"fmt"
	"math"
)

// Rope is the rotary positions' base and scaling.
type Rope struct {
	Type   string  // "default", "linear", "llama3", "yarn"
	Theta  float64 // the base
	Factor float64 // of linear, llama3, yarn

	LowFreqFactor, HighFreqFactor float64 // of llama3
	OriginalMaxPositions          int     // of llama3, yarn
	AttentionFactor               float64 // of yarn; 0: 0.1 ln(Factor) + 1
	BetaFast, BetaSlow            float64 // of yarn; 0: 32 and 1
	MScale, MScaleAllDim          float64 // of yarn, DeepSeek's: both given set the attention factor
}

type hfRope struct {
	all             map[string]json.RawMessage
	Type            string   `json:"rope_type"`
	OldType         string   `json:"type"`
	Theta           *float64 `json:"rope_theta"`
	Factor          float64  `json:"factor"`
	LowFreqFactor   float64  `json:"low_freq_factor"`
	HighFreqFactor  float64  `json:"high_freq_factor"`
	Original        int      `json:"original_max_position_embeddings"`
	AttentionFactor float64  `json:"attention_factor"`
	BetaFast        float64  `json:"beta_fast"`
	BetaSlow        float64  `json:"beta_slow"`
	MScale          float64  `json:"mscale"`
	MScaleAllDim    float64  `json:"mscale_all_dim"`
}

// foreignRope are fields of the rotary parameters that change what a model computes and that this package does not compute,
// each with the value at which it does nothing. "truncate": false would leave yarn's bounds unrounded.
var foreignRope = map[string]string{
	"short_factor": "", "long_factor": "", "truncate": "true", "partial_rotary_factor": "1",
}

// rope reads rotary parameters in today's spelling (raw), or, without them, in the older one: rope_theta beside rope_scaling.
func (h *hfConfig) rope(raw json.RawMessage, theta float64) (Rope, error) {
	r, p := Rope{Type: "default", Theta: or(h.RopeTheta, theta)}, h.RopeScaling
	if len(raw) > 0 && string(raw) != "null" {
		p = new(hfRope)
		if err := json.Unmarshal(raw, p); err != nil {
			return r, fmt.Errorf("rope_parameters: %w", err)
		}
	}
	if p == nil {
		return r, nil
	}
	if err := refuse(p.all, foreignRope); err != nil {
		return r, fmt.Errorf("rope_parameters or rope_scaling: %w", err)
	}
	r = Rope{
		Type: p.Type, Theta: or(p.Theta, r.Theta), Factor: p.Factor, LowFreqFactor: p.LowFreqFactor, HighFreqFactor: p.HighFreqFactor,
		OriginalMaxPositions: p.Original, AttentionFactor: p.AttentionFactor, BetaFast: p.BetaFast, BetaSlow: p.BetaSlow,
		MScale: p.MScale, MScaleAllDim: p.MScaleAllDim,
	}
	if r.Type == "" {
		r.Type = p.OldType
	}
	if r.Type == "" {
		r.Type = "default"
	}
	return r, nil
}

// UnmarshalJSON keeps every field beside the known ones, so that an unknown one can be refused.
func (p *hfRope) UnmarshalJSON(text []byte) error {
	type plain hfRope
	if err := json.Unmarshal(text, (*plain)(p)); err != nil {
		return err
	}
	return json.Unmarshal(text, &p.all)
}

// json is the rotary parameters as config.json spells them.
func (r Rope) json() map[string]any {
	rope := map[string]any{"rope_type": r.Type, "rope_theta": real(r.Theta)}
	optional := map[string]float64{
		"factor": r.Factor, "low_freq_factor": r.LowFreqFactor, "high_freq_factor": r.HighFreqFactor, "attention_factor": r.AttentionFactor,
		"beta_fast": r.BetaFast, "beta_slow": r.BetaSlow, "mscale": r.MScale, "mscale_all_dim": r.MScaleAllDim,
	}
	for name, v := range optional {
		if v != 0 {
			rope[name] = real(v)
		}
	}
	if r.OriginalMaxPositions != 0 {
		rope["original_max_position_embeddings"] = r.OriginalMaxPositions
	}
	return rope
}

func (r Rope) validate() error {
	if !(r.Theta > 0 && r.Theta < 1e12) {
		return fmt.Errorf("rope_theta is %g", r.Theta)
	}
	switch r.Type {
	case "default":
		return nil
	case "linear", "llama3", "yarn":
	default:
		return fmt.Errorf("rope_type %q is not supported; known are default, linear, llama3, yarn", r.Type)
	}
	if !(r.Factor >= 1 && r.Factor < 1e6) {
		return fmt.Errorf("rope factor is %g", r.Factor)
	}
	if r.Type != "linear" && r.OriginalMaxPositions < 1 {
		return fmt.Errorf("rope original_max_position_embeddings is %d", r.OriginalMaxPositions)
	}
	if r.Type == "llama3" && !(r.LowFreqFactor > 0 && r.HighFreqFactor > r.LowFreqFactor && r.HighFreqFactor < 1e6) {
		return fmt.Errorf("rope low_freq_factor %g, high_freq_factor %g", r.LowFreqFactor, r.HighFreqFactor)
	}
	if !(r.AttentionFactor >= 0 && r.AttentionFactor < 1e3) || !(r.BetaFast >= 0 && r.BetaFast < 1e6) || !(r.BetaSlow >= 0 && r.BetaSlow < 1e6) {
		return fmt.Errorf("rope attention_factor %g, beta_fast %g, beta_slow %g", r.AttentionFactor, r.BetaFast, r.BetaSlow)
	}
	if !(r.MScale >= 0 && r.MScale < 1e3) || !(r.MScaleAllDim >= 0 && r.MScaleAllDim < 1e3) {
		return fmt.Errorf("rope mscale %g, mscale_all_dim %g", r.MScale, r.MScaleAllDim)
	}
	return nil
}

// invFreq are the rotary frequencies, and the factor that multiplies cosines and sines.
func (r Rope) invFreq(d, maxPositions int) (freq []float64, scale float64) {
	freq, scale = make([]float64, d/2), 1
	for i := range freq {
		freq[i] = math.Pow(r.Theta, -2*float64(i)/float64(d))
	}
	switch r.Type {
	case "linear":
		for i := range freq {
			freq[i] /= r.Factor
		}
	case "llama3": // Llama 3.1's: long wavelengths are divided by the factor, short ones kept, a ramp between
		original := float64(r.OriginalMaxPositions)
		for i, f := range freq {
			turns := original * f / (2 * math.Pi)
			switch smooth := (turns - r.LowFreqFactor) / (r.HighFreqFactor - r.LowFreqFactor); {
			case smooth <= 0:
				freq[i] = f / r.Factor
			case smooth < 1:
				freq[i] = float64((1-smooth)*f/r.Factor) + float64(smooth*f)
			}
		}
	case "yarn": // arXiv 2309.00071, section 3.2
		switch scale = r.AttentionFactor; {
		case scale != 0:
		case r.MScale != 0 && r.MScaleAllDim != 0:
			scale = r.mscale(r.MScale) / r.mscale(r.MScaleAllDim)
		default:
			scale = r.mscale(1)
		}
		fast, slow := r.BetaFast, r.BetaSlow
		if fast == 0 {
			fast = 32
		}
		if slow == 0 {
			slow = 1
		}
		dim := func(turns float64) float64 {
			return float64(d) * math.Log(float64(r.OriginalMaxPositions)/(turns*2*math.Pi)) / (2 * math.Log(r.Theta))
		}
		low, high := max(math.Floor(dim(fast)), 0), min(math.Ceil(dim(slow)), float64(d-1))
		if low == high {
			high += 0.001
		}
		for i, f := range freq {
			ramp := min(max((float64(i)-low)/(high-low), 0), 1)
			freq[i] = float64(f/r.Factor*ramp) + float64(f*(1-ramp))
		}
	}
	return freq, scale
}

// mscale is yarn's factor on attention, 0.1 m ln(factor) + 1.
func (r Rope) mscale(m float64) float64 {
	if r.Factor <= 1 {
		return 1
	}
	return float64(0.1*m*math.Log(r.Factor)) + 1
}

// ropeTable is [positions, d]: d/2 cosines, then d/2 sines, computed in float64.
func (c Config) ropeTable(r Rope, positions int) []float32 {
	d := c.ropeDim()
	freq, scale := r.invFreq(d, c.MaxPositions)
	table := make([]float32, positions*d)
	for p := range positions {
		row := table[p*d:]
		for i, f := range freq {
			sin, cos := math.Sincos(float64(p) * f)
			row[i], row[i+len(freq)] = float32(cos*scale), float32(sin*scale)
		}
	}
	return table
}

// ropeDim is how many dimensions of a head are rotated.
func (c Config) ropeDim() int {
	if c.MLA != nil {
		return c.MLA.RopeDim
	}
	return c.HeadDim
}
