package recipe

import (
	"fmt"
	"math"
	"slices"

	"github.com/gor1/gor1/optim"
)

// Machine is where a run is computed. Nothing here changes a result on an exact device.
type Machine struct {
	Device  string `key:"device" help:"where it runs: cpu" run:"-"`
	Threads int    `key:"threads" help:"threads; 0: one a core" run:"-"`
	ISA     string `key:"isa" help:"portable, avx2, avx512 or neon; empty: the best here" run:"-"`
	Class   string `key:"bf16_class" help:"how bf16 sums: fma, dot or tile on cpu, mma on a GPU; empty: dot where the cpu has it, else fma, and mma on a GPU. A run is resumed in the class it began in" run:"-"`
}

// Model is the policy's start.
type Model struct {
	Model    string `key:"model_name_or_path" help:"a Hugging Face model folder or hub id"`
	Revision string `key:"model_revision" help:"branch, tag or commit of a hub id"`
	BF16     bool   `key:"bf16" help:"products of weights in bf16, in sampler and trainer alike; master weights, sums and gradients stay fp32" run:"-"`
	Again    bool   `key:"gradient_checkpointing" help:"training keeps the layers' inputs only and runs each layer again: less memory, about a third more time, the same result" run:"-"`
}

// Output is what a run leaves, and when.
type Output struct {
	Dir          string `key:"output_dir" help:"the run's directory; a run that is there is resumed" run:"-"`
	Overwrite    bool   `key:"overwrite_output_dir" help:"remove the run that is there and begin again" run:"-"`
	SaveStrategy string `key:"save_strategy" help:"steps, epoch, or no: only at the end" run:"-"`
	SaveSteps    int    `key:"save_steps" help:"optimiser steps between checkpoints" run:"-"`
	SaveLimit    *int   `key:"save_total_limit" help:"checkpoints that stay, the best besides; absent: all" run:"-"`
	EvalStrategy string `key:"eval_strategy" help:"steps, epoch, or no: only at the end"`
	EvalSteps    int    `key:"eval_steps" help:"optimiser steps between measurements on the held-out split"`
	Seed         uint64 `key:"seed" help:"of draws, data order and fresh weights"`
}

// Optimizer is AdamW and its schedule.
type Optimizer struct {
	LearningRate float64        `key:"learning_rate" help:"peak learning rate"`
	Scheduler    string         `key:"lr_scheduler_type" help:"constant, constant_with_warmup, linear, cosine, cosine_with_min_lr or warmup_stable_decay"`
	SchedulerArg map[string]any `key:"lr_scheduler_kwargs" help:"min_lr or min_lr_rate of cosine_with_min_lr; num_decay_steps and min_lr_ratio of warmup_stable_decay"`
	WarmupSteps  float64        `key:"warmup_steps" help:"steps of the warm-up; below 1: their share of all"`
	WarmupRatio  float64        `key:"warmup_ratio" help:"share of the steps that warm up"`
	MaxGradNorm  float64        `key:"max_grad_norm" help:"the gradient is scaled down to this norm; 0: never"`
	WeightDecay  float64        `key:"weight_decay" help:"of matrices, not of norms and biases"`
	Beta1        float64        `key:"adam_beta1" help:"decay of the first moment"`
	Beta2        float64        `key:"adam_beta2" help:"decay of the second moment"`
	AdamEpsilon  float64        `key:"adam_epsilon" help:"added to the root of the second moment"`
}

// save is how many optimiser steps lie between checkpoints, of which an epoch has so many; 0: only at the end.
func (o Output) save(epoch int) (int, error) {
	return between("save", o.SaveStrategy, o.SaveSteps, epoch)
}

// eval is how many lie between measurements.
func (o Output) eval(epoch int) (int, error) {
	return between("eval", o.EvalStrategy, o.EvalSteps, epoch)
}

func between(key, strategy string, steps, epoch int) (int, error) {
	switch {
	case strategy == "no":
		return 0, nil
	case strategy == "epoch":
		return max(epoch, 1), nil
	case strategy != "steps":
		return 0, fmt.Errorf("recipe: %s_strategy is %q, want steps, epoch or no", key, strategy)
	case steps < 1:
		return 0, fmt.Errorf("recipe: %s_steps is %d, want at least 1; %s_strategy no does without", key, steps, key)
	}
	return steps, nil
}

// defaults as transformers' TrainingArguments has them.
func defaultOutput() Output {
	return Output{Dir: "out", SaveStrategy: "steps", SaveSteps: 500, EvalStrategy: "no", EvalSteps: 500, Seed: 42}
}

func defaultOptimizer(lr float64) Optimizer {
	return Optimizer{LearningRate: lr, Scheduler: "linear", MaxGradNorm: 1, Beta1: 0.9, Beta2: 0.999, AdamEpsilon: 1e-8}
}

func (o Optimizer) config() optim.Config {
	return optim.Config{Beta1: o.Beta1, Beta2: o.Beta2, Eps: o.AdamEpsilon, Decay: o.WeightDecay, MaxNorm: o.MaxGradNorm}
}

// schedule is the learning rate's factor over optimiser steps.
func (o Optimizer) schedule(total int) (optim.Schedule, error) {
	warm := int(math.Ceil(o.WarmupRatio * float64(total)))
	if o.WarmupSteps >= 1 {
		warm = int(o.WarmupSteps)
	} else if o.WarmupSteps > 0 {
		warm = int(math.Ceil(o.WarmupSteps * float64(total)))
	}
	arg := func(name string, fallback float64) (float64, error) {
		v, ok := o.SchedulerArg[name]
		if !ok {
			return fallback, nil
		}
		switch v := v.(type) {
		case float64:
			return v, nil
		case int:
			return float64(v), nil
		}
		return 0, fmt.Errorf("recipe: lr_scheduler_kwargs: %s is %v, want a number", name, v)
	}
	known := map[string][]string{
		"cosine_with_min_lr": {"min_lr", "min_lr_rate"}, "warmup_stable_decay": {"num_decay_steps", "num_stable_steps", "min_lr_ratio"},
	}[o.Scheduler]
	for name := range o.SchedulerArg {
		if !slices.Contains(known, name) {
			return nil, fmt.Errorf("recipe: lr_scheduler_kwargs: %s is not an argument of %s; it takes %v", name, o.Scheduler, known)
		}
	}
	switch o.Scheduler {
	case "constant":
		return optim.Constant(), nil
	case "constant_with_warmup":
		return optim.ConstantWithWarmup(warm), nil
	case "linear":
		return optim.Linear(warm, total, 0), nil
	case "cosine":
		return optim.Cosine(warm, total, 0), nil
	case "cosine_with_min_lr":
		low, err := arg("min_lr", 0)
		if err != nil {
			return nil, err
		}
		floor, err := arg("min_lr_rate", low/o.LearningRate)
		return optim.Cosine(warm, total, floor), err
	case "warmup_stable_decay":
		decay, err := arg("num_decay_steps", float64(total-warm)/10)
		if err != nil {
			return nil, err
		}
		stable, err := arg("num_stable_steps", float64(total-warm)-decay)
		if err != nil {
			return nil, err
		}
		floor, err := arg("min_lr_ratio", 0)
		return optim.WSD(warm, int(stable), int(decay), floor), err
	}
	return nil, fmt.Errorf("recipe: lr_scheduler_type is %q, want constant, constant_with_warmup, linear, cosine, cosine_with_min_lr or warmup_stable_decay", o.Scheduler)
}
