package grpo_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
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
	Sampled  bool `json:"sampling_logps_given"`
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
		VESPO        [4]float32
		VLLM         *struct {
			Correction bool
			Mode       string
			Max        *float64 `json:"clip_max"`
			Min        *float64 `json:"clip_min"`
		} `json:"vllm_is"`
	}
	Config struct {
		Target float64 `json:"entropy_target"`
		Delta  float64 `json:"entropy_coef_delta"`
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

// tokens are a micro-batch's, packed: a column for each kind of number.
type tokens struct {
	newLP, old, ref, sampled, entropy, adv, mask []float32
	correct, weight                              []float32
	wantGrad, wantEntropyGrad                    []float32
	lengths                                      []int
	counted, active                              int
}

// goldenBatch reads the tensors of a case.
type goldenBatch struct {
	t              *testing.T
	batches, grads *weights.File
	unsampled      map[string]map[[2]int]bool // batch -> (row, token) without a sampling log-prob
}

func (g goldenBatch) read(f *weights.File, name string) ([]float32, int) {
	x, err := f.Tensor(name)
	require.NoError(g.t, err)
	v, err := x.Float32()
	require.NoError(g.t, err)
	return v, x.Shape[1]
}

func openGolden(t *testing.T) goldenBatch {
	g := goldenBatch{t: t, unsampled: map[string]map[[2]int]bool{}}
	for path, f := range map[string]**weights.File{"testdata/batches.safetensors": &g.batches, "testdata/loss_grads.safetensors": &g.grads} {
		file, err := weights.Open(path)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, file.Close()) })
		*f = file
	}
	text, err := os.ReadFile("testdata/batches.json")
	require.NoError(t, err)
	var meta struct {
		Batches map[string]struct {
			None [][2]int `json:"sampling_logp_is_none_at"`
		}
	}
	require.NoError(t, json.Unmarshal(text, &meta))
	for name, b := range meta.Batches {
		g.unsampled[name] = map[[2]int]bool{}
		for _, at := range b.None {
			g.unsampled[name][at] = true
		}
	}
	return g
}

// tokens packs the rows from..to of a case.
func (g goldenBatch) tokens(c lossCase, from, to int) (p tokens) {
	columns := map[string][]float32{}
	width := 0
	for _, name := range []string{"new", "old", "ref", "samp", "ent", "mask", "tool_mask"} {
		columns[name], width = g.read(g.batches, c.Batch+"."+name)
	}
	grad, gradWidth := g.read(g.grads, c.ID+".grad_logps")
	entropyGrad := make([]float32, len(grad))
	if c.Resolved.Entropy != 0 {
		if _, err := g.grads.Tensor(c.ID + ".grad_entropies"); err == nil {
			entropyGrad, _ = g.read(g.grads, c.ID+".grad_entropies")
		}
	}
	for row := from; row < to; row++ {
		n, first := 0, len(p.newLP)
		for j := range width {
			at := row*width + j
			if columns["mask"][at] == 0 {
				continue
			}
			counts := float32(1)
			if c.MaskSums[row] == 0 || (c.ToolMask && columns["tool_mask"][at] == 0) { // cleared by mask_truncated_completions, or a tool's
				counts = 0
			}
			sampled := columns["samp"][at]
			if g.unsampled[c.Batch][[2]int{row, j}] {
				sampled = float32(math.NaN())
			}
			p.newLP, p.old, p.ref = append(p.newLP, columns["new"][at]), append(p.old, columns["old"][at]), append(p.ref, columns["ref"][at])
			p.sampled, p.entropy = append(p.sampled, sampled), append(p.entropy, columns["ent"][at])
			p.adv, p.mask = append(p.adv, float32(c.Advantages[row])), append(p.mask, counts)
			p.wantGrad, p.wantEntropyGrad = append(p.wantGrad, grad[row*gradWidth+j]), append(p.wantEntropyGrad, entropyGrad[row*gradWidth+j])
			p.counted += int(counts)
			n++
		}
		p.lengths = append(p.lengths, n)
		if v := c.Resolved.VLLM; c.VLLM && v.Correction {
			p.correct = append(p.correct, c.correction().Weights(onlyWhere(p.mask[first:], p.old[first:]), onlyWhere(p.mask[first:], p.sampled[first:]))...)
		}
	}
	if p.active = p.counted; c.Resolved.Quantile != 1 {
		p.weight, p.active = topEntropy(c.Resolved.Quantile, p)
	}
	return p
}

// onlyWhere is v, and 0 where the mask is 0.
func onlyWhere(mask, v []float32) []float32 {
	out := slices.Clone(v)
	for i := range out {
		if mask[i] == 0 {
			out[i] = 0
		}
	}
	return out
}

// topEntropy chooses among the tokens that count, as TRL does among those of a micro-batch.
func topEntropy(share float64, p tokens) (weight []float32, active int) {
	var counted []float32
	for i, m := range p.mask {
		if m != 0 {
			counted = append(counted, p.entropy[i])
		}
	}
	chosen := grpo.TopEntropy(share)(grpo.TokenStats{Entropy: counted})
	for _, m := range p.mask {
		if m != 0 {
			weight, chosen = append(weight, chosen[0]), chosen[1:]
			active += int(weight[len(weight)-1])
		} else {
			weight = append(weight, 0)
		}
	}
	return weight, active
}

func (c lossCase) correction() grpo.Correction {
	v := c.Resolved.VLLM
	out := grpo.Correction{Sequence: strings.HasPrefix(v.Mode, "sequence"), Mask: strings.HasSuffix(v.Mode, "mask")}
	if v.Min != nil {
		out.Min = *v.Min
	}
	if v.Max != nil {
		out.Max = *v.Max
	}
	return out
}

// parts are the case's loss put together.
func (c lossCase) parts(t *testing.T, p tokens, rows int) (grpo.LossConfig, grpo.Totals) {
	r := c.Resolved
	cfg := grpo.LossConfig{EpsilonLow: float32(r.Low), EpsilonHigh: float32(r.High), Beta: float32(r.Beta), Entropy: float32(r.Entropy)}
	totals := grpo.Totals{Sequences: int(float64(rows) * r.Accumulation), MaxTokens: r.MaxLength, Active: max(p.active, 1) * int(r.Accumulation)}
	if r.BiasKL {
		cfg.KL = grpo.Unbiased(grpo.K3)
	}
	if r.Delta != nil {
		cfg.Delta = float32(*r.Delta)
	}
	if r.Level == "sequence" {
		cfg.Ratio = grpo.SequenceRatio
	}
	if r.OffPolicy != nil {
		cfg.Mask = grpo.OffPolicy(float32(*r.OffPolicy))
	}
	switch r.Loss {
	case "grpo":
		cfg.Normalize = grpo.PerSequence
	case "dr_grpo":
		cfg.Normalize = grpo.Constant
	case "luspo":
		cfg.Normalize = grpo.PerCompletion
	case "sapo":
		cfg.Normalize, cfg.Surrogate = grpo.PerSequence, grpo.SAPO(r.SAPO[0], r.SAPO[1])
	case "bnpo":
		cfg.Normalize = grpo.PerToken
		totals.Tokens = max(p.counted, 1) * int(r.Accumulation)
	case "dapo", "cispo", "vespo":
		switch r.Loss {
		case "cispo":
			cfg.Surrogate = grpo.CISPO(cfg.EpsilonHigh)
		case "vespo":
			cfg.Surrogate = grpo.VESPO(grpo.Gamma{K: r.VESPO[0], Lambda: r.VESPO[1]}, grpo.Gamma{K: r.VESPO[2], Lambda: r.VESPO[3]})
		}
		cfg.Normalize = grpo.PerToken
		tokens := c.Items * r.Accumulation / r.PerGen
		require.Equal(t, math.Trunc(tokens), tokens)
		totals.Tokens = int(tokens)
	}
	return cfg, totals
}

// Losses and gradients, in log-probs and in entropies, against TRL's own code: all 263 cases.
func TestLossEqualsTRL(t *testing.T) {
	g := openGolden(t)
	dev := openCPU(t)
	checked, worstLoss, worstGrad := map[string]int{}, 0.0, 0.0
	for _, c := range lines[lossCase](t, "testdata/loss_cases.jsonl") {
		checked["all"]++
		checked[c.Resolved.Loss]++
		checked[c.Resolved.Level]++
		control := grpo.EntropyControl{Target: c.Config.Target, Delta: c.Config.Delta, Max: 1}.Start(c.Resolved.Entropy)
		for _, m := range c.Micro {
			p := g.tokens(c, m.Rows[0], m.Rows[1])
			cfg, totals := c.parts(t, p, m.Rows[1]-m.Rows[0])
			if c.Resolved.Adaptive {
				cfg.Entropy = float32(control.Weight())
			}
			require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
				leaf, entropy := s.Leaf(s.FromF32(p.newLP)), s.Leaf(s.FromF32(p.entropy))
				in := grpo.LossInput{NewT: leaf, EntropyT: entropy, RefT: s.FromF32(p.ref), AdvT: s.FromF32(p.adv), MaskT: s.FromF32(p.mask), Segs: kernels.PackedSegs(p.lengths...), Totals: totals}
				if c.Old {
					in.OldT = s.FromF32(p.old)
				}
				if c.Sampled {
					in.SampledT = s.FromF32(p.sampled)
				}
				if p.correct != nil {
					in.CorrectT = s.FromF32(p.correct)
				}
				if p.weight != nil {
					in.WeightT = s.FromF32(p.weight)
				}
				loss, _ := grpo.Loss(s, cfg, in)
				s.Backward([]*kernels.Tensor{loss}, nil)
				var v [1]float32
				require.NoError(t, s.Read(loss, v[:]))
				worstLoss = max(worstLoss, math.Abs(float64(v[0])-m.Loss))
				require.InDelta(t, m.Loss, float64(v[0]), 2e-6, c.ID)
				for _, side := range []struct {
					leaf *kernels.Tensor
					want []float32
				}{{leaf, p.wantGrad}, {entropy, p.wantEntropyGrad}} {
					got := make([]float32, len(side.want))
					require.NoError(t, s.Read(s.GradOf(side.leaf), got))
					for i := range side.want {
						worstGrad = max(worstGrad, math.Abs(float64(got[i]-side.want[i])))
						require.InDelta(t, side.want[i], got[i], 1e-6, "%s gradient of token %d", c.ID, i)
					}
				}
				return nil
			}))
			control = control.Next(meanActive(p))
		}
	}
	t.Logf("cases %v; largest difference: loss %.2g, gradient %.2g", checked, worstLoss, worstGrad)
	require.Equal(t, 263, checked["all"])
}

// meanActive is the mean entropy of the tokens the policy term keeps.
func meanActive(p tokens) float64 {
	sum := 0.0
	for i, h := range p.entropy {
		w := p.mask[i]
		if p.weight != nil {
			w *= p.weight[i]
		}
		sum += float64(w) * float64(h)
	}
	return sum / float64(max(p.active, 1))
}

// RLOO's loss against TRL's RLOOTrainer: the whole completion's ratio, clipped, a mean over completions.
func TestRLOOEqualsTRL(t *testing.T) {
	type row struct {
		ID     string
		Config struct {
			Epsilon float32
			High    *float32 `json:"epsilon_high"`
		}
		Lengths    []int       `json:"completion_lengths"`
		Old        [][]float32 `json:"old_logps"`
		New        [][]float32 `json:"new_logps"`
		Grad       [][]float32 `json:"grad_logps"`
		Advantages []float32
		Loss       float64 `json:"loss_f64"`
	}
	dev := openCPU(t)
	cases := lines[row](t, "testdata/rloo_loss.jsonl")
	for _, c := range cases {
		cfg := grpo.LossConfig{EpsilonLow: c.Config.Epsilon, EpsilonHigh: c.Config.Epsilon, Ratio: grpo.WholeRatio, Normalize: grpo.PerSequence}
		if c.Config.High != nil {
			cfg.EpsilonHigh = *c.Config.High
		}
		var newLP, old, adv, want []float32
		for i, n := range c.Lengths {
			newLP, old, want = append(newLP, c.New[i][:n]...), append(old, c.Old[i][:n]...), append(want, c.Grad[i][:n]...)
			adv = append(adv, slices.Repeat([]float32{c.Advantages[i]}, n)...)
		}
		require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
			leaf := s.Leaf(s.FromF32(newLP))
			loss, st := grpo.Loss(s, cfg, grpo.LossInput{NewT: leaf, OldT: s.FromF32(old), AdvT: s.FromF32(adv), MaskT: s.Full(1, len(adv)),
				Segs: kernels.PackedSegs(c.Lengths...), Totals: grpo.Totals{Sequences: len(c.Lengths)}})
			s.Backward([]*kernels.Tensor{loss}, nil)
			require.InDelta(t, c.Loss, st.Loss, 2e-6, c.ID)
			got := make([]float32, len(want))
			require.NoError(t, s.Read(s.GradOf(leaf), got))
			for i := range want {
				require.InDelta(t, want[i], got[i], 1e-6, "%s token %d", c.ID, i)
			}
			return nil
		}))
	}
	require.Len(t, cases, 5)
}
