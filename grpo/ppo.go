package grpo

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/optim"
	"github.com/gor1/gor1/sampling"
)

// Critic is the value function that PPO learns beside the policy; *model.Scorer is one.
type Critic interface {
	Device() *kernels.Device
	Params() []*kernels.Param
	// Values are the expected returns seen from the given rows of the packed ids, [len(rows)].
	Values(s *kernels.Scope, ids []int32, segs kernels.Segs, rows []int32) *kernels.Tensor
}

// PPOConfig are a [PPO] trainer's constants.
type PPOConfig struct {
	// Policy is the policy's part, with Advantages left nil: they are GAE's. Its Epochs, MiniBatches, MicroTokens and Schedule, and its
	// Loss.Normalize for the value loss, hold for the critic too. With KL.InReward each token's reward is less Loss.Beta log pi_old/pi_ref
	// (arXiv 2203.02155, section 3.4).
	Policy   Config
	GAE      GAEConfig
	NoWhiten bool // leave the advantages as they are; else mean 0 and variance 1 over the batch's tokens

	ValueClip         float32 // a value moves at most this far from the old one in a batch
	ValueLearningRate float64 // peak
	ValueOptim        optim.Config

	// Process gives a completion a reward at each token, such as at the ends of its steps, beside its score, which comes at the
	// last; nil: the outcome alone.
	Process func(g Group, s Sample) []float64
}

// DefaultPPO is PPO as DeepSeek-R1's authors compare it with GRPO (arXiv 2501.12948, supplement A.3: nearly as good with lambda 1, much
// worse with the usual 0.95), with the usual constants of arXiv 1707.06347 and 2203.02155: clip 0.2 for ratio and value, gamma 1, KL
// 0.001 in the reward.
func DefaultPPO() PPOConfig {
	p := R1Zero()
	p.Loss = LossConfig{EpsilonLow: 0.2, EpsilonHigh: 0.2, Beta: 0.001, Normalize: PerToken}
	p.KL.InReward = true
	return PPOConfig{Policy: p, GAE: GAEConfig{Gamma: 1, Lambda: 1}, ValueClip: 0.2, ValueLearningRate: 1e-5, ValueOptim: p.Optim}
}

// PPOStats are what one Step did.
type PPOStats struct {
	StepStats
	ValueLoss     float64 // of the last pass over the batch
	Explained     float64 // variance of the returns that the values explained before the step: 1 all, 0 no more than a constant
	ValueGradNorm float64 // before clipping; the last optimiser step's
}

// PPO is proximal policy optimisation with a learnt value function (arXiv 1707.06347), the method GRPO is a reply to; docs/rl.md
// compares them. It is a [Trainer] whose advantages come from a critic. Close frees the optimisers.
type PPO struct {
	actor  *Trainer
	critic Critic
	config PPOConfig
	opt    *optim.AdamW // the critic's
	now    []*episode   // of the step under way, in the order of its items
}

// episode is what PPO knows of an item, a number a token.
type episode struct {
	item
	process []float64
	value   []float32
	returns []float64
}

// NewPPO returns a trainer of policy and critic. ref may be nil where Policy.Loss.Beta is 0.
func NewPPO(policy, ref Policy, critic Critic, c PPOConfig) (*PPO, error) {
	switch {
	case critic == nil:
		return nil, errors.New("grpo: PPO: the critic is nil")
	case c.Policy.Advantages != nil:
		return nil, errors.New("grpo: PPO: Policy.Advantages is set, but PPO's are its critic's; use New for others")
	case !(c.GAE.Gamma >= 0 && c.GAE.Gamma <= 1) || !(c.GAE.Lambda >= 0 && c.GAE.Lambda <= 1):
		return nil, fmt.Errorf("grpo: PPO: gamma %g, lambda %g: want 0 to 1", c.GAE.Gamma, c.GAE.Lambda)
	case !(c.ValueClip > 0) || !(c.ValueLearningRate > 0):
		return nil, fmt.Errorf("grpo: PPO: value clip %g, value learning rate %g: want more than 0", c.ValueClip, c.ValueLearningRate)
	}
	t := &PPO{critic: critic, config: c}
	c.Policy.Advantages = t.advantages
	var err error
	if t.actor, err = New(policy, ref, c.Policy); err != nil {
		return nil, err
	}
	if t.opt, err = optim.New(critic.Params(), c.ValueOptim); err != nil {
		return nil, errors.Join(fmt.Errorf("grpo: PPO: value optimiser: %w", err), t.actor.Close())
	}
	return t, nil
}

// Close frees the optimisers.
func (t *PPO) Close() error { return errors.Join(t.actor.Close(), t.opt.Close()) }

// Policy is the policy's trainer, for checkpoints: its optimiser and state.
func (t *PPO) Policy() *Trainer { return t.actor }

// ValueOptimizer is the critic's optimiser, for checkpoints.
func (t *PPO) ValueOptimizer() *optim.AdamW { return t.opt }

// Step learns from one batch of groups: values, then the policy's steps with advantages from them, then the critic's. That samples
// come in groups plays no part: a group may have one.
func (t *PPO) Step(ctx context.Context, groups []Group) (PPOStats, error) {
	var st PPOStats
	groups = canonical(groups)
	_, all, err := t.actor.items(groups)
	if err != nil {
		return st, err
	}
	fail := func(err error) (PPOStats, error) {
		return st, fmt.Errorf("grpo: PPO: step %d: %w", t.opt.Steps()+1, err)
	}
	t.now = make([]*episode, len(all))
	for i, it := range all {
		t.now[i] = &episode{item: it, process: make([]float64, len(it.s.Tokens))}
		if t.config.Process != nil {
			r := t.config.Process(groups[it.group], *it.s)
			if len(r) != len(it.s.Tokens) {
				return fail(fmt.Errorf("group %d, sample %d: Process gave %d rewards for %d tokens", it.group, it.number, len(r), len(it.s.Tokens)))
			}
			copy(t.now[i].process, r)
		}
	}
	if err := t.values(ctx, all); err != nil {
		return fail(err)
	}
	if st.StepStats, err = t.actor.Step(ctx, groups); err != nil {
		return st, err
	}
	st.Explained = explained(t.now)
	for range t.actor.config.Epochs {
		st.ValueLoss = 0
		for m := range t.actor.config.MiniBatches {
			if err := t.learn(ctx, groups, m, &st); err != nil {
				return fail(err)
			}
		}
	}
	return st, nil
}

// values asks the critic about every token of the batch: what it expects before the token is drawn.
func (t *PPO) values(ctx context.Context, all []item) error {
	for from := 0; from < len(all); {
		p := t.actor.pack(all[from:])
		v := make([]float32, len(p.rows))
		err := t.critic.Device().Do(ctx, func(s *kernels.Scope) error {
			return s.Read(t.critic.Values(s.NoGrad(), p.ids, p.segs, p.rows), v)
		})
		if err != nil {
			return err
		}
		for _, e := range t.now[from : from+p.items] {
			e.value, v = v[:len(e.s.Tokens)], v[len(e.s.Tokens):]
		}
		from += p.items
	}
	return nil
}

// advantages are GAE's over each completion, an episode that ends with its last token, cut or not.
func (t *PPO) advantages(o Outcomes) [][][]float64 {
	out := make([][][]float64, len(o.Groups))
	for p, g := range o.Groups {
		out[p] = make([][]float64, len(g.Samples))
		for i, s := range g.Samples {
			out[p][i] = make([]float64, len(s.Tokens))
		}
	}
	var flat []float64
	for _, e := range t.now {
		rewards, values := make([]float64, len(e.value)), make([]float64, len(e.value))
		for j, v := range e.value {
			rewards[j], values[j] = e.process[j], float64(v)
			if o.KL != nil {
				rewards[j] -= float64(o.Beta * o.KL[e.group][e.number][j])
			}
		}
		rewards[len(rewards)-1] += o.Rewards[e.group][e.number]
		adv, returns, _ := GAE(t.config.GAE, rewards, values, nil, 0) // fails only for slices of different lengths
		out[e.group][e.number], e.returns = adv, returns
		flat = append(flat, adv...)
	}
	if t.config.NoWhiten || len(flat) < 2 {
		return out
	}
	flat = Whiten(flat)
	for _, e := range t.now {
		n := len(e.value)
		out[e.group][e.number], flat = flat[:n], flat[n:]
	}
	return out
}

// explained is 1 - var(returns - values) / var(returns).
func explained(all []*episode) float64 {
	var returns, misses []float64
	for _, e := range all {
		for j, r := range e.returns {
			returns, misses = append(returns, r), append(misses, r-float64(e.value[j]))
		}
	}
	sd := deviation(returns, true)
	if sd == 0 {
		return 0
	}
	return 1 - math.Pow(deviation(misses, true)/sd, 2)
}

// learn takes one optimiser step of the critic on mini-batch m.
func (t *PPO) learn(ctx context.Context, groups []Group, m int, st *PPOStats) error {
	from, to := m*len(groups)/t.actor.config.MiniBatches, (m+1)*len(groups)/t.actor.config.MiniBatches
	totals := Totals{MaxTokens: t.actor.config.MaxTokens}
	var run []*episode
	for _, e := range t.now {
		if e.group < from || e.group >= to {
			continue
		}
		totals.Sequences++
		totals.Tokens += len(e.s.Tokens)
		if t.actor.config.MaxTokens == 0 {
			totals.MaxTokens = max(totals.MaxTokens, len(e.s.Tokens))
		}
		if !t.actor.config.MaskTruncated || e.s.Stop != sampling.StopLength {
			run = append(run, e)
		}
	}
	if len(run) == 0 {
		return nil
	}
	factor := t.actor.config.Schedule(t.opt.Steps())
	for len(run) > 0 {
		items := make([]item, len(run))
		for i, e := range run {
			items[i] = e.item
		}
		p := t.actor.pack(items)
		if err := t.micro(ctx, p, run[:p.items], totals, st); err != nil {
			return errors.Join(err, t.opt.ZeroGrads())
		}
		run = run[p.items:]
	}
	norm, err := t.opt.Step(ctx, t.config.ValueLearningRate*factor)
	if errors.Is(err, optim.ErrNotFinite) {
		st.Skipped++
		return nil
	}
	st.ValueGradNorm = norm
	return err
}

// micro runs one micro-batch forward and backward through the critic.
func (t *PPO) micro(ctx context.Context, p packed, episodes []*episode, totals Totals, st *PPOStats) error {
	var value, returns []float32
	for _, e := range episodes {
		value = append(value, e.value...)
		for _, r := range e.returns {
			returns = append(returns, float32(r))
		}
	}
	return t.critic.Device().Do(ctx, func(s *kernels.Scope) error {
		weightT := t.actor.config.Loss.Normalize(s, s.Full(1, len(value)), p.completions, totals)
		newT := t.critic.Values(s, p.ids, p.segs, p.rows)
		loss := ValueLoss(s, newT, s.FromF32(value), s.FromF32(returns), weightT, t.config.ValueClip)
		s.Backward([]*kernels.Tensor{loss}, nil)
		var v [1]float32
		err := s.Read(loss, v[:])
		st.ValueLoss += float64(v[0])
		return err
	})
}
