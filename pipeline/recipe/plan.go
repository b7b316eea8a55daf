package recipe

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/sampling"
)

// Budget is what a run's memory is planned for.
type Budget struct {
	Bytes int64        // of the device; 0: not known
	Store *model.Store // how numbers are kept; nil: as the machine's device keeps them today
	Held  int          // problems that GRPO measures on, where that is known; 0: eval_rows
}

// Memory is a run's memory as planned before step 0. The work counts the longest sequences that the configuration allows.
type Memory struct {
	model.Plan
	Work    model.Work
	Limit   int64    // Budget.Bytes
	Longest int      // positions of one sequence; 0: nothing is sampled
	Notes   []string // what the plan assumes, and what of it the library does not have
}

// Fits says whether the run stays within the limit, as far as it is known.
func (m Memory) Fits() bool { return m.Limit == 0 || m.Peak() <= m.Limit }

// Room is how many of the longest sequences could be cached at once in what is left; 0 where the limit is not known or nothing is sampled.
func (m Memory) Room() int64 {
	if m.Longest == 0 {
		return 0
	}
	pages := int64((m.Longest + model.PageRows - 1) / model.PageRows)
	return m.Plan.Room(m.Limit) / (pages * model.PageRows)
}

// store is what the device keeps of each number.
func (b Budget) store(at Machine, m Model) model.Store {
	if b.Store != nil {
		return *b.Store
	}
	return model.Kept(at.Device == "cpu", m.BF16)
}

// plan completes a work with what all kinds of runs have and computes it.
func (b Budget) plan(c model.Config, at Machine, m Model, a Adapter, w model.Work, notes []string) (Memory, error) {
	w.Store, w.BF16, w.Recompute = b.store(at, m), m.BF16, m.Again
	if w.Store.Missing != "" {
		notes = append(notes, w.Store.Missing)
	}
	if m.BF16 && strings.HasPrefix(at.Device, "cuda:") {
		notes = append(notes, "bf16: true is refused on "+at.Device+" today: products there are fp32")
	}
	if a.Use {
		lora := a.lora("")
		w.LoRA = &lora
	}
	p, err := c.Plan(w)
	return Memory{Plan: p, Work: w, Limit: b.Bytes, Notes: notes}, err
}

// assumedPrompt is TRL's default of max_prompt_length.
const assumedPrompt = 512

// prompt is the longest prompt that leaves room for a completion.
func (q Questions) prompt(c model.Config, completion int) (tokens int, note []string, err error) {
	room := c.MaxPositions - completion + 1
	if room < 1 {
		return 0, nil, fmt.Errorf("recipe: max_completion_length is %d, the model has %d positions", completion, c.MaxPositions)
	}
	if q.MaxPrompt > 0 {
		return min(room, q.MaxPrompt), nil, nil
	}
	n := min(room, assumedPrompt)
	return n, []string{fmt.Sprintf("max_prompt_length is not given: prompts of up to %d tokens are assumed", n)}, nil
}

// Plan computes the memory of the run for a model of config c. The preflight counts as sampling, and so do held-out problems. Reward models are
// not counted.
func (g *GRPO) Plan(c model.Config, b Budget) (Memory, error) {
	prompts, mini, err := g.batch(g.Samples)
	if err != nil {
		return Memory{}, err
	}
	prompt, notes, err := g.prompt(c, g.MaxTokens)
	if err != nil {
		return Memory{}, err
	}
	longest := prompt + g.MaxTokens
	engine, measured := sampling.Options{MaxTokens: g.MaxTokens}, cmp.Or(b.Held, g.EvalRows)
	position := c.CacheBytes(b.store(g.Machine, g.Model).Key)
	load := engine.Load(position, b.Bytes, max(prompts, g.Preflight), prompt, g.Samples)
	if held := engine.Load(position, b.Bytes, measured, prompt, g.EvalSamples); held.Positions > load.Positions {
		load = held
	}
	if g.EvalDataset != "" && measured == 0 {
		notes = append(notes, "eval_rows is not given: the problems of eval_dataset_name are not counted")
	}
	w := model.Work{
		TrainRows: min(max(cmp.Or(g.MicroTokens, 2048), longest-1), prompts/mini*g.Samples*(longest-1)), ExactKL: g.Beta > 0 && g.KL == "exact",
		Positions: load.Positions, Prefill: load.Prefill, Sequences: load.Sequences,
	}
	if g.Beta > 0 && !g.Use {
		w.References = 1
	}
	if models := strings.Join(strings.Fields(g.RewardModel+" "+g.SafetyModel), ", "); models != "" {
		notes = append(notes, "the reward models are not counted: "+models)
	}
	m, err := b.plan(c, g.Machine, g.Model, g.Adapter, w, notes)
	m.Longest = longest
	return m, err
}

// Plan computes the memory of the run for a model of config c.
func (g *SFT) Plan(c model.Config, b Budget) (Memory, error) {
	length, notes := g.Length, []string(nil)
	if length == 0 {
		length = c.MaxPositions
		notes = append(notes, fmt.Sprintf("max_length is not given: texts as long as the model's %d positions are assumed", length))
	}
	rows := min(max(g.MicroTokens, length), g.DeviceBatch*g.Accumulate*length)
	return b.plan(c, g.Machine, g.Model, g.Adapter, model.Work{TrainRows: rows}, notes)
}

// Plan computes the memory of the run (mode logits) for a student of config c. Teachers count as models of its size.
func (g *Distill) Plan(c model.Config, b Budget) (Memory, error) {
	completion, batch := g.MaxTokens, g.DeviceBatch*g.Accumulate
	prompt := min(cmp.Or(g.Length, assumedPrompt), c.MaxPositions-completion+1)
	if prompt < 1 {
		return Memory{}, fmt.Errorf("recipe: max_completion_length is %d, the model has %d positions", completion, c.MaxPositions)
	}
	longest := prompt + completion
	w := model.Work{TrainRows: min(max(cmp.Or(g.MicroTokens, 2048), longest), batch*longest), References: max(1, len(g.Teachers)), ExactKL: true}
	if g.Lambda > 0 {
		load := sampling.Options{MaxTokens: completion}.Load(c.CacheBytes(b.store(g.Machine, g.Model).Key), b.Bytes, batch, prompt, 1)
		w.Positions, w.Prefill, w.Sequences = load.Positions, load.Prefill, load.Sequences
	}
	m, err := b.plan(c, g.Machine, g.Model, g.Adapter, w, []string{"each teacher is counted as a model of the student's size"})
	if g.Lambda > 0 {
		m.Longest = longest
	}
	return m, err
}

// ConfigOf reads the config that a plan needs: of a folder, of a config.json alone, or of a .gguf file.
func ConfigOf(path string) (model.Config, error) {
	if path == "" {
		return model.Config{}, errors.New("recipe: model_name_or_path is missing: a Hugging Face folder or hub id, or a config.json")
	}
	if filepath.Base(path) == "config.json" {
		path = filepath.Dir(path)
	}
	return model.ReadConfig(path)
}

// of is the config of the model itself where a stage names a folder that is there, else the one given.
func (m Model) of(c model.Config) model.Config {
	if own, err := model.ReadConfig(m.Model); m.Model != "" && err == nil {
		return own
	}
	return c
}

// drawCost is the memory of a stage that only draws: nothing is trained.
func (g *GRPO) drawCost(c model.Config, b Budget) (cost, error) {
	prompt, _, err := g.prompt(c, g.MaxTokens)
	if err != nil {
		return cost{}, err
	}
	load := sampling.Options{MaxTokens: g.MaxTokens}.Load(c.CacheBytes(b.store(g.Machine, g.Model).Key), b.Bytes, 512, prompt, g.Samples)
	m, err := b.plan(c, g.Machine, g.Model, Adapter{}, model.Work{Positions: load.Positions, Prefill: load.Prefill, Sequences: load.Sequences}, nil)
	return cost{bytes: m.Peak()}, err
}
