package grpo_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/grpo"
	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model/weights"
)

func openCPU(t testing.TB, o ...kernels.Options) *kernels.Device {
	dev, err := kernels.Open("cpu", o...)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.Zero(t, dev.Stats().LiveTensors, "tensors alive at the end")
		require.NoError(t, dev.Close())
	})
	return dev
}

// lines decodes a JSON-lines file.
func lines[T any](t *testing.T, path string) []T {
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	var out []T
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<24)
	for s.Scan() {
		var row T
		require.NoError(t, json.Unmarshal(s.Bytes(), &row))
		out = append(out, row)
	}
	require.NoError(t, s.Err())
	return out
}

// Advantages against TRL: group, batch and no scaling, weights, rewards that are missing, groups without variance.
func TestAdvantagesEqualTRL(t *testing.T) {
	type row struct {
		ID      string
		Algo    string
		Group   int `json:"num_generations"`
		Rewards [][]*float64
		Config  struct {
			Scale       any       `json:"scale_rewards"`
			Aggregation string    `json:"multi_objective_aggregation"`
			Weights     []float64 `json:"reward_weights"`
		}
		Advantages []float64 `json:"advantages_f64"`
	}
	checked, unscorable := map[string]int{}, 0
	for _, c := range lines[row](t, "testdata/advantages.jsonl") {
		if c.Algo != "grpo" || c.Config.Aggregation == "normalize_then_sum" {
			continue // RLOO and GDPO come with their losses
		}
		rewards, missing := make([][]float64, 0), false
		for i, parts := range c.Rewards {
			if i%c.Group == 0 {
				rewards = append(rewards, nil)
			}
			total, any := 0.0, false
			for k, r := range parts {
				w := 1.0
				if c.Config.Weights != nil {
					w = c.Config.Weights[k]
				}
				if r != nil {
					total, any = total+w**r, true
				}
			}
			if !any {
				total, missing = math.NaN(), true
			}
			rewards[len(rewards)-1] = append(rewards[len(rewards)-1], total)
		}
		if missing { // TRL counts an unscorable sample as a reward of 0, or fails; here it is left out
			unscorable++
			continue
		}
		scale := grpo.GroupScale()
		switch fmt.Sprint(c.Config.Scale) {
		case "batch":
			scale.By = grpo.PerBatch
		case "none", "false":
			scale.By = grpo.Unscaled
		}
		i := 0
		for _, group := range grpo.BatchAdvantages(rewards, scale) {
			for _, a := range group {
				require.InDelta(t, c.Advantages[i], a, 4e-7*max(1, math.Abs(a)), "%s row %d", c.ID, i) // TRL rounds rewards and deviations to fp32
				i++
			}
		}
		checked[fmt.Sprint(c.Config.Scale)]++
	}
	t.Logf("checked by scale: %v; with unscorable rows, left out: %d", checked, unscorable)
	require.GreaterOrEqual(t, checked["group"], 10)
	require.GreaterOrEqual(t, checked["batch"], 3)
	require.GreaterOrEqual(t, checked["none"], 3)
}

type lossCase struct {
	ID       string
	Batch    string
	VLLM     bool `json:"use_vllm"`
	ToolMask bool `json:"tool_mask_given"`
	Resolved struct {
		Loss         string   `json:"loss_type"`
		Level        string   `json:"importance_sampling_level"`
		Low          float64  `json:"epsilon_low"`
		High         float64  `json:"epsilon_high"`
		Delta        *float64 `json:"delta"`
		Beta         float64  `json:"beta"`
		BiasKL       bool     `json:"use_bias_correction_kl"`
		Quantile     float64  `json:"top_entropy_quantile"`
		OffPolicy    *float64 `json:"off_policy_mask_threshold"`
		MaxLength    int      `json:"max_completion_length"`
		Accumulation float64  `json:"gradient_accumulation_steps"`
		PerGen       float64  `json:"steps_per_generation"`
		Entropy      float64  `json:"entropy_coef"`
		Adaptive     bool     `json:"use_adaptive_entropy"`
		SAPO         [2]float32
	}
	Items      float64 `json:"num_items_in_batch"`
	Old        bool    `json:"old_logps_used"`
	Advantages []float64
	MaskSums   []float64 `json:"completion_mask_row_sums"`
	Micro      []struct {
		Rows []int
		Loss float64 `json:"loss_f64"`
	} `json:"micro_batches"`
}

func (c lossCase) plain() bool {
	r := c.Resolved
	return r.Loss != "vespo" && (r.Level == "token" && r.Loss != "luspo" || r.Level == "sequence") && r.Quantile == 1 && r.OffPolicy == nil && r.Entropy == 0 && !r.Adaptive && !c.VLLM && !c.ToolMask
}

// Losses and gradients against TRL's own code, each published variant that TRL has but vespo.
func TestLossEqualsTRL(t *testing.T) {
	batches, err := weights.Open("testdata/batches.safetensors")
	require.NoError(t, err)
	defer batches.Close()
	grads, err := weights.Open("testdata/loss_grads.safetensors")
	require.NoError(t, err)
	defer grads.Close()
	read := func(f *weights.File, name string) ([]float32, int) {
		x, err := f.Tensor(name)
		require.NoError(t, err)
		v, err := x.Float32()
		require.NoError(t, err)
		return v, x.Shape[1]
	}
	dev := openCPU(t)
	checked, worstLoss, worstGrad := map[string]int{}, 0.0, 0.0
	for _, c := range lines[lossCase](t, "testdata/loss_cases.jsonl") {
		if !c.plain() {
			continue
		}
		checked[c.Resolved.Loss]++
		checked[c.Resolved.Level]++
		newLP, width := read(batches, c.Batch+".new")
		old, _ := read(batches, c.Batch+".old")
		ref, _ := read(batches, c.Batch+".ref")
		mask, _ := read(batches, c.Batch+".mask")
		wantGrad, gradWidth := read(grads, c.ID+".grad_logps")
		for _, m := range c.Micro {
			var in [5][]float32 // new, old, ref, advantage, mask: packed
			var want []float32
			var lengths []int
			for row := m.Rows[0]; row < m.Rows[1]; row++ {
				n := 0
				for j := range width {
					if mask[row*width+j] == 0 {
						continue
					}
					counts := float32(1)
					at := row*width + j
					if c.MaskSums[row] == 0 {
						counts = 0 // cleared by mask_truncated_completions
					}
					for i, v := range []float32{newLP[at], old[at], ref[at], float32(c.Advantages[row]), counts} {
						in[i] = append(in[i], v)
					}
					want = append(want, wantGrad[row*gradWidth+j])
					n++
				}
				lengths = append(lengths, n)
			}
			cfg := grpo.LossConfig{EpsilonLow: float32(c.Resolved.Low), EpsilonHigh: float32(c.Resolved.High), Beta: float32(c.Resolved.Beta)}
			cfg.UnbiasedKL = c.Resolved.BiasKL
			if c.Resolved.Delta != nil {
				cfg.Delta = float32(*c.Resolved.Delta)
			}
			if c.Resolved.Level == "sequence" {
				cfg.Ratio = grpo.SequenceRatio
			}
			totals := grpo.Totals{Sequences: int(float64(m.Rows[1]-m.Rows[0]) * c.Resolved.Accumulation), MaxTokens: c.Resolved.MaxLength}
			switch c.Resolved.Loss {
			case "grpo":
				cfg.Normalize = grpo.PerSequence
			case "dr_grpo":
				cfg.Normalize = grpo.Constant
			case "luspo":
				cfg.Normalize = grpo.PerCompletion
			case "sapo":
				cfg.Normalize, cfg.Surrogate = grpo.PerSequence, grpo.SAPO(c.Resolved.SAPO[0], c.Resolved.SAPO[1])
			case "bnpo":
				cfg.Normalize = grpo.PerToken
				for _, v := range in[4] {
					totals.Tokens += int(v)
				}
				totals.Tokens = max(totals.Tokens, 1) * int(c.Resolved.Accumulation)
			case "dapo", "cispo":
				if c.Resolved.Loss == "cispo" {
					cfg.Surrogate = grpo.CISPO(cfg.EpsilonHigh)
				}
				cfg.Normalize = grpo.PerToken
				tokens := c.Items * c.Resolved.Accumulation / c.Resolved.PerGen
				require.Equal(t, math.Trunc(tokens), tokens)
				totals.Tokens = int(tokens)
			}
			require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
				leaf := s.Leaf(s.FromF32(in[0]))
				li := grpo.LossInput{NewT: leaf, RefT: s.FromF32(in[2]), AdvT: s.FromF32(in[3]), MaskT: s.FromF32(in[4]), Segs: kernels.PackedSegs(lengths...), Totals: totals}
				if c.Old {
					li.OldT = s.FromF32(in[1])
				}
				loss, _ := grpo.Loss(s, cfg, li)
				s.Backward([]*kernels.Tensor{loss}, nil)
				var v [1]float32
				require.NoError(t, s.Read(loss, v[:]))
				got := make([]float32, len(want))
				require.NoError(t, s.Read(s.GradOf(leaf), got))
				worstLoss = max(worstLoss, math.Abs(float64(v[0])-m.Loss))
				require.InDelta(t, m.Loss, float64(v[0]), 2e-6, c.ID)
				for i := range want {
					worstGrad = max(worstGrad, math.Abs(float64(got[i]-want[i])))
					require.InDelta(t, want[i], got[i], 1e-6, "%s gradient of token %d", c.ID, i)
				}
				return nil
			}))
		}
	}
	t.Logf("cases %v; largest difference: loss %.2g, gradient %.2g", checked, worstLoss, worstGrad)
	for _, name := range []string{"grpo", "dapo", "dr_grpo", "bnpo", "cispo", "sapo", "luspo", "token", "sequence"} {
		require.GreaterOrEqual(t, checked[name], 3, name)
	}
}
