package recipe

import (
	"fmt"
	"math"
	"strings"

	"github.com/gor1/gor1/grpo"
)

// GRPO is the recipe of reinforcement learning, with TRL's names and defaults.
type GRPO struct {
	Machine
	Model
	Output
	Optimizer
	Adapter
	Problems
	Rewards
	Sampling
	Objective
}

// Adapter is LoRA.
type Adapter struct {
	Use     bool     `key:"use_peft" help:"train a LoRA adapter instead of all weights"`
	Rank    int      `key:"lora_r" help:"rank"`
	Alpha   float64  `key:"lora_alpha" help:"scale: the adapter counts alpha/r"`
	Dropout float64  `key:"lora_dropout" help:"must be 0 but in SFT: the sampler would not be the policy"`
	Targets []string `key:"lora_target_modules" help:"modules that get an adapter; absent: all linear ones"`
	RSLoRA  bool     `key:"use_rslora" help:"scale by alpha over the root of r"`
}

// Questions are a data set's problems and how they are asked.
type Questions struct {
	Dataset      string         `key:"dataset_name" help:"a file (jsonl, json, csv, parquet), a folder or a hub id"`
	Config       string         `key:"dataset_config" help:"configuration of a hub data set"`
	TrainSplit   string         `key:"dataset_train_split" help:"split to train on"`
	PromptColumn string         `key:"dataset_prompt_column" help:"the question: text, or messages"`
	AnswerColumn string         `key:"dataset_answer_column" help:"the reference answer; absent: answer, solution or target"`
	System       string         `key:"system_prompt" help:"a system message before every question"`
	Template     string         `key:"prompt_template" help:"chat: the model's own; r1zero: the paper's, for base models; none: the text as it is; absent: chat where the model has one, else r1zero"`
	TemplateArgs map[string]any `key:"chat_template_kwargs" help:"variables for the chat template, such as {\"enable_thinking\": true}"`
	MaxPrompt    int            `key:"max_prompt_length" help:"longer prompts are left out, and counted; 0: no limit"`
}

// Problems are what is trained on and measured with.
type Problems struct {
	Questions
	TestSplit   string  `key:"dataset_test_split" help:"split of a folder or hub id to measure on, where it is there"`
	EvalDataset string  `key:"eval_dataset_name" help:"another data set to measure on"`
	EvalRows    int     `key:"eval_rows" help:"rows of it that are measured, the first ones; 0: all"`
	EvalSamples int     `key:"eval_samples" help:"completions of each, drawn at eval_temperature"`
	EvalTemp    float64 `key:"eval_temperature" help:"0: the likeliest token"`
	Shuffle     bool    `key:"shuffle_dataset" help:"a new order every epoch; false: as in the file"`
	Curriculum  string  `key:"curriculum_column" help:"a column with a number: rows are taken in its order, the lowest first, each epoch"`
	Epochs      float64 `key:"num_train_epochs" help:"passes over the data where max_steps is not given"`
	MaxSteps    int     `key:"max_steps" help:"optimiser steps; -1: as num_train_epochs says"`
}

// Sampling is how completions are drawn.
type Sampling struct {
	Samples     int      `key:"num_generations" help:"completions of each prompt: G"`
	MaxTokens   int      `key:"max_completion_length" help:"tokens of a completion"`
	Temperature float64  `key:"temperature" help:"of the draws; the policy that is trained is the one at this temperature"`
	TopP        float64  `key:"top_p" help:"draw from the likeliest tokens with this share of probability; the truncated policy is trained"`
	TopK        int      `key:"top_k" help:"draw from so many tokens; 0: all"`
	MinP        *float64 `key:"min_p" help:"draw from tokens with this share of the likeliest one's probability"`
	Refill      int      `key:"dynamic_sampling" help:"further batches drawn to replace groups that teach nothing (DAPO); 0: they stay"`
	SkipLow     float64  `key:"skip_accuracy_low" help:"leave out rows whose completions were right at most this often when last drawn; with skip_accuracy_high"`
	SkipHigh    float64  `key:"skip_accuracy_high" help:"and those right at least this often; 0: none is left out"`
	SkipAgain   int      `key:"skip_epochs" help:"epochs until a row that was left out is tried again; 0: never"`
	Replay      int      `key:"replay_groups" help:"earlier groups that taught something, learnt from once more in every step"`
	Overlong    bool     `key:"mask_truncated_completions" help:"do not train on completions that the limit cut"`
}

// Objective is the loss and the batch.
type Objective struct {
	Preset        string   `key:"preset" help:"r1zero, r1, dapo or dr_grpo: the paper's values for what is not given; absent: TRL's"`
	Loss          string   `key:"loss_type" help:"grpo, dapo, bnpo, dr_grpo, cispo, sapo, luspo or vespo"`
	Level         string   `key:"importance_sampling_level" help:"token, or sequence (GSPO)"`
	ScaleRewards  string   `key:"scale_rewards" help:"group, batch or none"`
	Beta          float64  `key:"beta" help:"weight of the KL term; 0: no reference"`
	KL            string   `key:"kl_estimator" help:"k1, k2, k3, or exact: over the whole vocabulary"`
	KLInReward    bool     `key:"kl_in_reward" help:"take beta times the KL off the reward instead of the loss"`
	KLTarget      float64  `key:"kl_target" help:"adapt beta so that the KL of a completion goes to so many nats; 0: fixed"`
	KLHorizon     float64  `key:"kl_horizon" help:"completions over which beta adapts"`
	Estimator     string   `key:"advantage_estimator" help:"group, rloo, reinforce_pp, gpg or maxrl"`
	Adaptive      bool     `key:"use_adaptive_entropy" help:"adapt entropy_coef so that the entropy stays above entropy_target"`
	EntropyMin    float64  `key:"entropy_coef_min" help:"of use_adaptive_entropy"`
	EntropyMax    float64  `key:"entropy_coef_max" help:"of use_adaptive_entropy"`
	EntropyDelta  float64  `key:"entropy_coef_delta" help:"of use_adaptive_entropy"`
	EntropyTarget float64  `key:"entropy_target" help:"of use_adaptive_entropy, nats a token"`
	Unbiased      bool     `key:"use_bias_correction_kl" help:"weigh k3 by the importance ratio"`
	Epsilon       float64  `key:"epsilon" help:"the ratio is clipped below at 1 - epsilon"`
	EpsilonHigh   *float64 `key:"epsilon_high" help:"and above at 1 + epsilon_high; absent: epsilon"`
	Delta         *float64 `key:"delta" help:"bounds the ratio where the advantage is negative"`
	OffPolicy     *float64 `key:"off_policy_mask_threshold" help:"leave out completions with a negative advantage that the policy has moved away from by more than this"`
	SapoPos       float64  `key:"sapo_temperature_pos" help:"of SAPO's gate"`
	SapoNeg       float64  `key:"sapo_temperature_neg" help:"of SAPO's gate"`
	VespoKPos     float64  `key:"vespo_k_pos" help:"of VESPO"`
	VespoLPos     float64  `key:"vespo_lambda_pos" help:"of VESPO"`
	VespoKNeg     float64  `key:"vespo_k_neg" help:"of VESPO"`
	VespoLNeg     float64  `key:"vespo_lambda_neg" help:"of VESPO"`
	EntropyCoef   float64  `key:"entropy_coef" help:"weight of an entropy bonus"`
	TopEntropy    float64  `key:"top_entropy_quantile" help:"train on this share of the tokens with the highest entropy"`
	SyncRef       bool     `key:"sync_ref_model" help:"renew the reference while training"`
	SyncSteps     int      `key:"ref_model_sync_steps" help:"every so many optimiser steps (R1: 400)"`
	SyncAlpha     float64  `key:"ref_model_mixup_alpha" help:"share of the policy in the renewed reference; 1: the policy itself"`
	Iterations    int      `key:"num_iterations" help:"passes over each batch"`
	DeviceBatch   int      `key:"per_device_train_batch_size" help:"completions; times gradient_accumulation_steps: those of an optimiser step"`
	Accumulate    int      `key:"gradient_accumulation_steps" help:"see per_device_train_batch_size"`
	PerGeneration *int     `key:"steps_per_generation" help:"batches of per_device_train_batch_size drawn at once; absent: gradient_accumulation_steps"`
	Generation    *int     `key:"generation_batch_size" help:"completions drawn at once; instead of steps_per_generation"`
	MicroTokens   int      `key:"micro_tokens" help:"rows of one pass; memory, not results; 0: 2048" run:"-"`
	SharePrompt   bool     `key:"share_prompt" help:"run a group's prompt once for all its completions in training"`
	Noise         bool     `key:"gradient_noise" help:"estimate the gradient's signal and noise, for one more pass a step" run:"-"`
	Preflight     int      `key:"preflight" help:"prompts sampled before step 0 to see whether anything can be learnt; 0: none" run:"-"`
	Print         *int     `key:"num_completions_to_print" help:"completions shown now and then" run:"-"`
	PrintEvery    int      `key:"print_steps" help:"steps between them" run:"-"`
	LogRollouts   bool     `key:"log_completions" help:"write every step's completions to rollouts/" run:"-"`
	ReportTo      []string `key:"report_to" help:"TensorBoard events are always written" run:"-"`
}

// NewGRPO is the recipe with every value at its default.
func NewGRPO() *GRPO {
	three := 3
	return &GRPO{
		Machine: Machine{Device: "cpu"}, Model: Model{Revision: "main"}, Output: defaultOutput(), Optimizer: defaultOptimizer(1e-6),
		Adapter:  Adapter{Rank: 16, Alpha: 32},
		Problems: Problems{Questions: Questions{TrainSplit: "train", PromptColumn: "prompt"}, TestSplit: "test", EvalSamples: 1, Shuffle: true, Epochs: 3, MaxSteps: -1},
		Rewards:  defaultRewards(),
		Sampling: Sampling{Samples: 8, MaxTokens: 512, Temperature: 1, TopP: 1},
		Objective: Objective{
			Loss: "dapo", Level: "token", ScaleRewards: "group", KL: "k3", KLHorizon: 10_000, Estimator: "group", EntropyMax: 1, EntropyDelta: 0.005, EntropyTarget: 0.2, Unbiased: true, Epsilon: 0.2, SapoPos: 1, SapoNeg: 1.05, VespoKPos: 2, VespoLPos: 3, VespoKNeg: 3, VespoLNeg: 2,
			TopEntropy: 1, SyncSteps: 512, SyncAlpha: 0.6, Iterations: 1, DeviceBatch: 8, Accumulate: 1, Preflight: 64, Print: &three, PrintEvery: 50, LogRollouts: true, ReportTo: []string{"tensorboard"},
		},
	}
}

// batch is what TRL's four batch sizes say: completions of one optimiser step, and of one rollout.
func (o Objective) batch(samples int) (prompts, miniBatches int, err error) {
	step := o.DeviceBatch * o.Accumulate
	drawn := step
	switch {
	case o.PerGeneration != nil && o.Generation != nil:
		return 0, 0, fmt.Errorf("recipe: generation_batch_size and steps_per_generation say the same: give one")
	case o.PerGeneration != nil:
		drawn = o.DeviceBatch * *o.PerGeneration
	case o.Generation != nil:
		drawn = *o.Generation
	}
	if step < 1 || drawn < step || drawn%step != 0 {
		return 0, 0, fmt.Errorf("recipe: %d completions are drawn at once and %d make an optimiser step (per_device_train_batch_size %d x gradient_accumulation_steps %d): want a multiple", drawn, step, o.DeviceBatch, o.Accumulate)
	}
	if samples < 2 || drawn%samples != 0 {
		return 0, 0, fmt.Errorf("recipe: %d completions are drawn at once in groups of num_generations %d: want a multiple, and groups of at least 2", drawn, samples)
	}
	if (drawn/samples)%(drawn/step) != 0 {
		return 0, 0, fmt.Errorf("recipe: %d groups do not divide into %d optimiser steps: raise per_device_train_batch_size or gradient_accumulation_steps", drawn/samples, drawn/step)
	}
	return drawn / samples, drawn / step, nil
}

// rollouts is how many times completions are drawn: each time num_iterations passes in miniBatches optimiser steps.
func (g GRPO) rollouts(rows, prompts, miniBatches int) (int, error) {
	perRollout := g.Iterations * miniBatches
	if g.Iterations < 1 {
		return 0, fmt.Errorf("recipe: num_iterations is %d, want at least 1", g.Iterations)
	}
	if g.MaxSteps > 0 {
		return (g.MaxSteps + perRollout - 1) / perRollout, nil
	}
	if !(g.Epochs > 0) || rows == 0 {
		return 0, fmt.Errorf("recipe: max_steps is %d and num_train_epochs %g: one of them must be more than 0", g.MaxSteps, g.Epochs)
	}
	return max(1, int(math.Ceil(g.Epochs*float64(rows)/float64(prompts)))), nil
}

// lossOf maps loss_type to what it is made of.
func (o Objective) loss(c *grpo.LossConfig) error {
	switch o.Loss {
	case "grpo":
		c.Normalize = grpo.PerSequence
	case "dapo", "bnpo":
		c.Normalize = grpo.PerToken
	case "dr_grpo":
		c.Normalize = grpo.Constant
	case "luspo":
		c.Normalize = grpo.PerCompletion
	case "vespo":
		c.Normalize, c.Surrogate = grpo.PerToken, grpo.VESPO(grpo.Gamma{K: float32(o.VespoKPos), Lambda: float32(o.VespoLPos)}, grpo.Gamma{K: float32(o.VespoKNeg), Lambda: float32(o.VespoLNeg)})
	case "cispo":
		c.Normalize, c.Surrogate = grpo.PerToken, grpo.CISPO(c.EpsilonHigh)
	case "sapo":
		c.Normalize, c.Surrogate = grpo.PerSequence, grpo.SAPO(float32(o.SapoPos), float32(o.SapoNeg))
	default:
		return fmt.Errorf("recipe: loss_type is %q, want grpo, dapo, bnpo, dr_grpo, cispo, sapo, luspo or vespo", o.Loss)
	}
	if o.OffPolicy != nil {
		c.Mask = grpo.OffPolicy(float32(*o.OffPolicy))
	}
	switch o.Level {
	case "token":
	case "sequence":
		c.Ratio = grpo.SequenceRatio
	default:
		return fmt.Errorf("recipe: importance_sampling_level is %q, want token or sequence", o.Level)
	}
	return nil
}

// kl maps the KL term's keys.
func (o Objective) kl(c *grpo.Config) error {
	c.KL = grpo.KLConfig{Exact: o.KL == "exact", InReward: o.KLInReward}
	estimators := map[string]grpo.Estimator{"k1": grpo.K1, "k2": grpo.K2, "k3": grpo.K3, "exact": nil}
	e, ok := estimators[o.KL]
	if !ok {
		return fmt.Errorf("recipe: kl_estimator is %q, want k1, k2, k3 or exact", o.KL)
	}
	if c.Loss.KL = e; o.Unbiased && e != nil {
		c.Loss.KL = grpo.Unbiased(e)
	}
	if o.KLTarget > 0 {
		c.Adapt.KL = &grpo.KLControl{Target: o.KLTarget, Horizon: o.KLHorizon}
	}
	return nil
}

// entropy maps the entropy's keys.
func (o Objective) entropy(c *grpo.Config) error {
	if !(o.TopEntropy > 0 && o.TopEntropy <= 1) {
		return fmt.Errorf("recipe: top_entropy_quantile is %g, want more than 0 and at most 1", o.TopEntropy)
	}
	if o.TopEntropy < 1 {
		c.FirstPass.Weigh = grpo.TopEntropy(o.TopEntropy)
	}
	if o.Adaptive {
		control := grpo.EntropyControl{Target: o.EntropyTarget, Delta: o.EntropyDelta, Min: o.EntropyMin, Max: o.EntropyMax}.Start(o.EntropyCoef)
		c.Adapt.Entropy = &control
	}
	return nil
}

// advantages maps advantage_estimator; nil: as scale_rewards says.
func (o Objective) advantages() (grpo.Advantager, error) {
	switch o.Estimator {
	case "group":
		return nil, nil
	case "rloo":
		return grpo.Outcome(func(r [][]float64) [][]float64 { return grpo.RLOOAdvantages(r, false) }), nil
	case "reinforce_pp":
		return grpo.ReinforcePP, nil
	case "gpg":
		return grpo.Outcome(grpo.GPGAdvantages), nil
	case "maxrl":
		return grpo.Outcome(grpo.MaxRLAdvantages), nil
	}
	return nil, fmt.Errorf("recipe: advantage_estimator is %q, want group, rloo, reinforce_pp, gpg or maxrl", o.Estimator)
}

// scale maps scale_rewards.
func (o Objective) scale() (grpo.Scale, error) {
	switch strings.ToLower(o.ScaleRewards) { // True and False are Python's
	case "group", "true":
		return grpo.GroupScale(), nil
	case "batch":
		s := grpo.GroupScale()
		s.By = grpo.PerBatch
		return s, nil
	case "none", "false":
		return grpo.Scale{By: grpo.Unscaled}, nil
	}
	return grpo.Scale{}, fmt.Errorf("recipe: scale_rewards is %q, want group, batch or none", o.ScaleRewards)
}
