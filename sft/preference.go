package sft

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/optim"
)

// Shape suffix: N pairs or texts.

// BradleyTerry is a reward model's pairwise loss, -sum_n log sigmoid(chosen_n - rejected_n) / total: the negative log-likelihood of
// the choices when a text wins with the odds exp(score) (Bradley and Terry 1952; arXiv 2203.02155, eq. 1). total is the number of
// pairs of the whole batch.
func BradleyTerry(s *kernels.Scope, chosenN, rejectedN *kernels.Tensor, total float64) *kernels.Tensor {
	return s.Affine(s.Sum(s.LogSigmoid(s.Minus(chosenN, rejectedN))), float32(-1/total), 0)
}

// Pointwise is a reward model's loss against labels y in [0, 1] of single texts, such as safe and unsafe: the cross-entropy
// -sum_n (y log sigmoid(score) + (1 - y) log sigmoid(-score)) / total.
func Pointwise(s *kernels.Scope, scoreN, labelN *kernels.Tensor, total float64) *kernels.Tensor {
	yes := s.Mul(labelN, s.LogSigmoid(scoreN))
	no := s.Mul(s.Affine(labelN, -1, 1), s.LogSigmoid(s.Neg(scoreN)))
	return s.Affine(s.Sum(s.Add(yes, no)), float32(-1/total), 0)
}

// Valuer is what reward models and value functions are trained through; *model.Scorer is one.
type Valuer interface {
	Device() *kernels.Device
	Params() []*kernels.Param
	// Values are the scores at the given rows of the packed ids, [len(rows)].
	Values(s *kernels.Scope, ids []int32, segs kernels.Segs, rows []int32) *kernels.Tensor
}

// Pair is two whole texts, prompt and completion, of which the first was preferred.
type Pair struct{ Chosen, Rejected []int32 }

// Replayed is fresh followed by as many pairs drawn from past, without repetition, that they are the given share of the result, or
// all of past where there are fewer: a reward model that follows its policy goes on learning from what it has seen (share 0.1 in
// arXiv 2402.03300, algorithm 1). The draw is a function of the seed.
func Replayed(fresh, past []Pair, share float64, seed uint64) []Pair {
	n := len(past)
	if share < 1 {
		n = min(n, int(math.Round(share/(1-share)*float64(len(fresh)))))
	}
	out := slices.Clone(fresh)
	for _, i := range rand.New(rand.NewPCG(seed, 0x7265706c6179)).Perm(len(past))[:max(n, 0)] {
		out = append(out, past[i])
	}
	return out
}

// Labelled is a whole text and whether it is good, 0 to 1.
type Labelled struct {
	IDs   []int32
	Label float32
}

// PreferenceStats are one step's numbers.
type PreferenceStats struct {
	Loss         float64 // mean over the pairs or texts, nats
	Accuracy     float64 // share of pairs whose chosen text scores higher, or of texts on their label's side of 1/2; before the step
	Margin       float64 // mean of chosen less rejected score; 0 for texts
	GradNorm     float64 // before clipping
	LearningRate float64
	Tokens       int // rows that went through the model
}

// PreferenceTrainer trains a reward model. A batch may be split into passes of any size: the gradient is the same to the bit.
// Close frees the optimiser.
type PreferenceTrainer struct {
	model  Valuer
	config Config
	opt    *optim.AdamW
}

// NewPreference returns a trainer of m. Config.Pass is not used.
func NewPreference(m Valuer, c Config) (*PreferenceTrainer, error) {
	if !(c.LearningRate > 0) || c.MicroTokens < 1 {
		return nil, fmt.Errorf("sft: learning rate %g, %d rows a pass: want more than 0", c.LearningRate, c.MicroTokens)
	}
	if c.Pass != nil {
		return nil, errors.New("sft: Config.Pass is for a Trainer; a reward model is trained without dropout")
	}
	if c.Schedule == nil {
		c.Schedule = optim.Constant()
	}
	opt, err := optim.New(m.Params(), c.Optim)
	if err != nil {
		return nil, fmt.Errorf("sft: %w", err)
	}
	return &PreferenceTrainer{model: m, config: c, opt: opt}, nil
}

// Close frees the optimiser.
func (t *PreferenceTrainer) Close() error { return t.opt.Close() }

// Optimizer is the trainer's optimiser, for checkpoints.
func (t *PreferenceTrainer) Optimizer() *optim.AdamW { return t.opt }

// StepPairs takes one optimiser step of [BradleyTerry] on a batch of pairs.
func (t *PreferenceTrainer) StepPairs(ctx context.Context, batch []Pair) (PreferenceStats, error) {
	texts := make([][]int32, 0, 2*len(batch))
	for _, p := range batch {
		texts = append(texts, p.Chosen, p.Rejected)
	}
	total := float64(len(batch))
	return t.step(ctx, texts, 2, func(s *kernels.Scope, scoreN *kernels.Tensor, from int, st *PreferenceStats) (*kernels.Tensor, error) {
		n := scoreN.Len() / 2
		both := s.Reshape(scoreN, n, 2)
		loss := BradleyTerry(s, s.Reshape(s.Cols(both, 0, 1), n), s.Reshape(s.Cols(both, 1, 1), n), total)
		v := make([]float32, 2*n)
		if err := s.Read(scoreN, v); err != nil {
			return nil, err
		}
		for i := range n {
			margin := float64(v[2*i]) - float64(v[2*i+1])
			st.Margin += margin / total
			if margin > 0 {
				st.Accuracy += 1 / total
			}
		}
		return loss, nil
	})
}

// StepLabelled takes one optimiser step of [Pointwise] on a batch of labelled texts.
func (t *PreferenceTrainer) StepLabelled(ctx context.Context, batch []Labelled) (PreferenceStats, error) {
	texts, labels := make([][]int32, len(batch)), make([]float32, len(batch))
	for i, l := range batch {
		if texts[i], labels[i] = l.IDs, l.Label; !(l.Label >= 0 && l.Label <= 1) {
			return PreferenceStats{}, fmt.Errorf("sft: text %d has label %g, want 0 to 1", i, l.Label)
		}
	}
	total := float64(len(batch))
	return t.step(ctx, texts, 1, func(s *kernels.Scope, scoreN *kernels.Tensor, from int, st *PreferenceStats) (*kernels.Tensor, error) {
		labelN, v := labels[from:from+scoreN.Len()], make([]float32, scoreN.Len())
		if err := s.Read(scoreN, v); err != nil {
			return nil, err
		}
		for i := range v {
			if (v[i] > 0) == (labelN[i] > 0.5) {
				st.Accuracy += 1 / total
			}
		}
		return Pointwise(s, scoreN, s.FromF32(labelN), total), nil
	})
}

// step runs texts pass by pass, each pass a multiple of unit texts, and takes the optimiser's step. loss gets the scores of a
// pass and the number of its first text.
func (t *PreferenceTrainer) step(ctx context.Context, texts [][]int32, unit int,
	loss func(s *kernels.Scope, scoreN *kernels.Tensor, from int, st *PreferenceStats) (*kernels.Tensor, error)) (PreferenceStats, error) {
	st := PreferenceStats{LearningRate: t.config.LearningRate * t.config.Schedule(t.opt.Steps())}
	if len(texts) == 0 {
		return st, errors.New("sft: the batch is empty")
	}
	for from := 0; from < len(texts); {
		to := passEnd(texts, from, unit, t.config.MicroTokens)
		err := scores(ctx, t.model, texts[from:to], func(s *kernels.Scope, scoreN *kernels.Tensor) error {
			l, err := loss(s, scoreN, from, &st)
			if err != nil {
				return err
			}
			s.Backward([]*kernels.Tensor{l}, nil)
			var v [1]float32
			err = s.Read(l, v[:])
			st.Loss += float64(v[0])
			return err
		})
		if err != nil {
			return st, errors.Join(err, t.opt.ZeroGrads())
		}
		for _, q := range texts[from:to] {
			st.Tokens += len(q)
		}
		from = to
	}
	var err error
	if st.GradNorm, err = t.opt.Step(ctx, st.LearningRate); err != nil {
		return st, fmt.Errorf("sft: %w", err)
	}
	return st, nil
}

// passEnd is where the pass that begins at text from ends: as many units as fit, at least one.
func passEnd(texts [][]int32, from, unit, rows int) int {
	to, n := from, 0
	for to < len(texts) {
		for _, q := range texts[to : to+unit] {
			n += len(q)
		}
		if n > rows && to > from {
			break
		}
		to += unit
	}
	return to
}

// scores gives use the scores of texts at their last tokens, [len(texts)].
func scores(ctx context.Context, m Valuer, texts [][]int32, use func(s *kernels.Scope, scoreN *kernels.Tensor) error) error {
	var ids, rows []int32
	lengths := make([]int, len(texts))
	for i, q := range texts {
		if len(q) == 0 {
			return errors.New("sft: an empty text has no score")
		}
		ids, lengths[i] = append(ids, q...), len(q)
		rows = append(rows, int32(len(ids)-1))
	}
	return m.Device().Do(ctx, func(s *kernels.Scope) error {
		scoreN := m.Values(s, ids, kernels.PackedSegs(lengths...), rows)
		if err := s.Err(); err != nil {
			return err
		}
		return use(s, scoreN)
	})
}

// Scores are the scores of whole texts, in passes of at most the given rows. It changes nothing in m and may run beside others.
func Scores(ctx context.Context, m Valuer, texts [][]int32, microTokens int) ([]float64, error) {
	out := make([]float64, 0, len(texts))
	for from := 0; from < len(texts); {
		to := passEnd(texts, from, 1, microTokens)
		err := scores(ctx, noGrad{m}, texts[from:to], func(s *kernels.Scope, scoreN *kernels.Tensor) error {
			v := make([]float32, to-from)
			err := s.Read(scoreN, v)
			for _, x := range v {
				out = append(out, float64(x))
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		from = to
	}
	return out, nil
}

// noGrad is a valuer whose operations are not recorded.
type noGrad struct{ Valuer }

// Values implements Valuer.
func (m noGrad) Values(s *kernels.Scope, ids []int32, segs kernels.Segs, rows []int32) *kernels.Tensor {
	return m.Valuer.Values(s.NoGrad(), ids, segs, rows)
}

// PairAccuracy counts the pairs whose chosen text scores higher; a tie counts half. eval.Wilson gives the share's interval.
func PairAccuracy(ctx context.Context, m Valuer, pairs []Pair, microTokens int) (right float64, err error) {
	texts := make([][]int32, 0, 2*len(pairs))
	for _, p := range pairs {
		texts = append(texts, p.Chosen, p.Rejected)
	}
	v, err := Scores(ctx, m, texts, microTokens)
	if err != nil {
		return 0, err
	}
	for i := range pairs {
		switch {
		case v[2*i] > v[2*i+1]:
			right++
		case v[2*i] == v[2*i+1]:
			right += 0.5
		}
	}
	return right, nil
}

// RewardModel judges completions with a trained model. Its method may be called from many goroutines.
type RewardModel struct {
	Model Valuer
	// Encode turns prompt and completion into the ids of the whole text as the model was trained on it, end of sequence
	// included.
	Encode      func(prompt, completion string) ([]int32, error)
	MicroTokens int // rows of one pass; 0: 2,048
}

// Score gives one number for each prompt and completion of the same index. A score that is not finite is an error.
func (r RewardModel) Score(ctx context.Context, prompts, completions []string) ([]float64, error) {
	if len(prompts) != len(completions) {
		return nil, fmt.Errorf("sft: reward model: %d prompts for %d completions", len(prompts), len(completions))
	}
	texts := make([][]int32, len(prompts))
	for i := range texts {
		var err error
		if texts[i], err = r.Encode(prompts[i], completions[i]); err != nil {
			return nil, fmt.Errorf("sft: reward model: text %d: %w", i, err)
		}
	}
	rows := r.MicroTokens
	if rows == 0 {
		rows = 2048
	}
	v, err := Scores(ctx, r.Model, texts, rows)
	for i, x := range v {
		if math.IsNaN(x) || math.IsInf(x, 0) {
			return nil, fmt.Errorf("sft: reward model: the score of text %d, of %d tokens, is %g", i, len(texts[i]), x)
		}
	}
	return v, err
}
