package grpo

import "github.com/gor1/gor1/optim"

// Config are a trainer's constants. Presets: [R1Zero], [DAPO], [DrGRPO].
type Config struct {
	Loss         LossConfig
	Scale        Scale          // how rewards become advantages
	Advantages   Advantager     // in place of Scale: RLOO, REINFORCE++, MaxRL, pass@k, process rewards; nil: Scale's
	LearningRate float64        // peak
	Schedule     optim.Schedule // factor of it at each optimiser step; nil: constant
	Optim        optim.Config
	Epochs       int // optimiser passes over the same samples (mu); 0: 1
	MiniBatches  int // parts a batch of groups is cut into, one optimiser step each; 0: 1
	MaxTokens    int // the samples' length limit, for Constant; 0: the longest of the batch
	MicroTokens  int // rows of one forward pass; memory grows with it, results do not change; 0: 2,048
	// SharePrompt runs a group's prompt once for all its samples. The log-probs are the same bits, the gradients the same to
	// about 1e-6; without it the gradients, too, are the same bits however a batch is split.
	SharePrompt bool
	// MaskTruncated does not train completions that the length limit cut (DAPO's overlong filtering, arXiv 2503.14476, section 3.4). Their
	// rewards and lengths still count in their group's statistics and in the normalisers, as in TRL.
	MaskTruncated bool
	// GradientNoise estimates StepStats.Signal and Noise. It costs a norm of the gradient and one more pass a step; results do not change.
	GradientNoise bool
	KL            KLConfig
	FirstPass     FirstPass
	Adapt         Adapt
}

// KLConfig says where the KL term, of weight Loss.Beta, is and how it is computed. The zero value: in the loss, by Loss.KL's estimator.
type KLConfig struct {
	// Exact takes KL(policy || reference) over the whole vocabulary, or over the words a truncated sampler kept, with its exact gradient, in place of
	// an estimate from the sampled token: no variance, for a second head product. Both models must be a [HeadPolicy].
	Exact bool
	// InReward takes Beta sum_t log pi_old/pi_ref off a completion's reward in place of a term in the loss (arXiv 2402.14740).
	InReward bool
}

// FirstPass is what is computed of a batch before its first gradient.
type FirstPass struct {
	// Recompute takes old log-probs and entropies from the trainer in place of the samples': for samples of another engine, or a
	// device that is not exact. On an exact device it changes no bit.
	Recompute bool
	Correct   *Correction // importance weights from recomputed to sampled log-probs; needs Recompute
	Weigh     Selector    // factors of the tokens' policy terms: TopEntropy, ClipCov
	Punish    Selector    // weights of |new - old|: KLCov
}

// Adapt changes weights of the loss from step to step. What it remembers is [Trainer.State].
type Adapt struct {
	KL      *KLControl      // of Loss.Beta; nil: fixed
	Entropy *EntropyControl // of Loss.Entropy; nil: fixed
}

// R1Zero is DeepSeek-R1-Zero's objective with the paper's values (arXiv 2501.12948 and its supplement): GRPO with the
// per-sequence mean, KL 0.001, learning rate 3e-6, one pass. The clip range is not printed for R1-Zero; R1 prints 10, which
// hardly clips. AdamW's constants are not printed either: these are transformers' with betas 0.9 and 0.95.
func R1Zero() Config {
	return Config{
		Loss:  LossConfig{EpsilonLow: 10, EpsilonHigh: 10, Beta: 0.001, Normalize: PerSequence},
		Scale: GroupScale(), LearningRate: 3e-6,
		Optim: optim.Config{Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, MaxNorm: 1},
	}
}

// DAPO is arXiv 2503.14476: token mean, clip-higher 0.2 and 0.28, no KL, learning rate 1e-6.
func DAPO() Config {
	c := R1Zero()
	c.Loss = LossConfig{EpsilonLow: 0.2, EpsilonHigh: 0.28, Normalize: PerToken}
	c.LearningRate = 1e-6
	return c
}

// DrGRPO is arXiv 2503.20783: constant normaliser, advantages not divided by the deviation, no KL, learning rate 1e-6.
func DrGRPO() Config {
	c := R1Zero()
	c.Loss = LossConfig{EpsilonLow: 0.2, EpsilonHigh: 0.2, Normalize: Constant}
	c.Scale = Scale{By: Unscaled}
	c.LearningRate = 1e-6
	return c
}
