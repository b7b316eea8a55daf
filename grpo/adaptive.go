package grpo

// EntropyControl adapts the entropy bonus's weight: after each optimiser step it goes up by Delta where the entropy is at most Target,
// else down, inside Min..Max (TRL's use_adaptive_entropy).
type EntropyControl struct {
	Target, Delta float64
	Min, Max      float64
	State         EntropyState
}

// EntropyState is what a control remembers between steps.
type EntropyState struct {
	Weight float64 `json:"weight"` // of the bonus, where it applies
	Low    bool    `json:"low"`    // the last step's mean entropy was at most Target
}

// Start returns the control with the given first weight. It applies from the first step that ended with an entropy at most Target.
func (c EntropyControl) Start(weight float64) EntropyControl {
	c.State = EntropyState{Weight: weight}
	return c
}

// Weight is what the next step's bonus is weighed by.
func (c EntropyControl) Weight() float64 {
	if c.State.Low {
		return c.State.Weight
	}
	return 0
}

// Next is the control after a step whose tokens had the given mean entropy.
func (c EntropyControl) Next(entropy float64) EntropyControl {
	if c.State.Low = entropy <= c.Target; c.State.Low {
		c.State.Weight = min(c.State.Weight+c.Delta, c.Max)
	} else {
		c.State.Weight = max(c.State.Weight-c.Delta, c.Min)
	}
	return c
}

// KLControl adapts the KL term's weight so that the KL goes to Target: after each step the weight is multiplied by
// 1 + clip(KL/Target - 1, -0.2, 0.2) samples/Horizon (Ziegler et al., arXiv 1909.08593, section 2.2).
type KLControl struct {
	Target  float64 // nats a completion
	Horizon float64 // samples; 10,000 in the paper's code
}

// Next is the weight after a step with the given KL, a mean over samples completions.
func (c KLControl) Next(beta, kl float64, samples int) float64 {
	err := min(max(kl/c.Target-1, -0.2), 0.2)
	return beta * (1 + float64(err*float64(samples))/c.Horizon)
}
