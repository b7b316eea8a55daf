package recipe

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	yaml "go.yaml.in/yaml/v3"

	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/pipeline"
	"github.com/gor1/gor1/run"
)

// Line is a recipe of several stages, as `r1 pipeline` reads it.
//
//	output_dir: out
//	model_name_or_path: DIR
//	eval: {dataset_name: problems, max_completion_length: 512}
//	stages:
//	  - {name: cold, kind: sft, config: {dataset_name: cold.jsonl}}
//	  - {name: rl, kind: grpo, from: cold, until: converged, gate: {accuracy: 0.3}, config: {dataset_name: problems, eval_strategy: steps}}
//	  - {name: traces, kind: sample, from: rl@best, config: {dataset_name: problems, reward_funcs: [accuracy]}}
//	  - {name: second, kind: sft, from: base, config: {dataset_mixture: ["@traces=3", general.jsonl=1]}}
type Line struct {
	Dir     string      `yaml:"output_dir"`
	Model   string      `yaml:"model_name_or_path"` // the base
	Eval    yaml.Node   `yaml:"eval"`               // what every model is measured on, with the keys of grpo; absent: nothing is measured
	Stages  []LineStage `yaml:"stages"`
	Machine Machine     `yaml:"-"`
	Memory  int64       `yaml:"-"` // of the machine's device, for the plan; 0: not known
	// Watch is told of a training stage's steps; nil: nobody is.
	Watch func(stage string, done, of int, text string) `yaml:"-"`

	path string
}

// LineStage is one stage of a Line.
type LineStage struct {
	Name   string             `yaml:"name"`
	Kind   string             `yaml:"kind"`   // grpo, sft, distill, sample, merge or eval
	From   string             `yaml:"from"`   // base, the name of a stage, or NAME@best; absent: base, or the model_name_or_path of its own configuration
	Until  string             `yaml:"until"`  // steps, or converged: the held-out score stays within its interval; absent: steps
	Gate   map[string]float64 `yaml:"gate"`   // scores that must be at least so high for the line to go on
	Config yaml.Node          `yaml:"config"` // the keys of the kind's own command; a data set @NAME is the output of a stage
}

// ReadLine reads a recipe of stages. Relative paths in it are those of the working directory.
func ReadLine(path string) (*Line, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("recipe: %w", err)
	}
	l := &Line{Dir: "out", Machine: Machine{Device: "cpu"}, path: path}
	d := yaml.NewDecoder(strings.NewReader(string(text)))
	d.KnownFields(true)
	if err := d.Decode(l); err != nil {
		return nil, fmt.Errorf("recipe: %s: %w", path, err)
	}
	if l.Model == "" || len(l.Stages) == 0 {
		return nil, fmt.Errorf("recipe: %s: want model_name_or_path, the base, and at least one of stages", path)
	}
	return l, nil
}

// stageRun is what a kind makes of a stage: what it needs to run, and how its plan reads.
type stageRun struct {
	run  func(ctx context.Context, dir *run.Run, in []string) (pipeline.Output, error)
	data bool
	own  bool                                         // the model it starts from is in its configuration, not among its inputs
	cost func(c model.Config, b Budget) (cost, error) // by a model of config c; nil: little
}

// cost is an upper bound of a stage's memory and work; flop 0: known only when the stages before are done.
type cost struct {
	bytes int64
	flop  float64
}

// kinds are the stages that there are.
var kinds = map[string]func(l *Line, s LineStage, c stageConfig, from Sources) (stageRun, error){
	"grpo": (*Line).grpo, "sft": (*Line).sft, "distill": (*Line).distill, "sample": (*Line).sample, "merge": (*Line).merge, "eval": (*Line).eval,
}

// Prepare makes the line of stages and checks every stage's configuration before anything is run. Names of models that from must find are
// found when they are needed.
func (l *Line) Prepare(ctx context.Context, from Sources) (pipeline.Line, []Planned, error) {
	base := l.Model
	if from.Model != nil {
		var err error
		if base, err = from.Model(ctx, base, "main"); err != nil {
			return pipeline.Line{}, nil, err
		}
	}
	out := pipeline.Line{Dir: l.Dir, Base: base}
	if !l.Eval.IsZero() {
		measure, err := l.measure(from)
		if err != nil {
			return out, nil, err
		}
		out.Measure = measure
	}
	c, err := model.ReadConfig(base)
	if err != nil {
		return out, nil, err
	}
	var plan []Planned
	for i, s := range l.Stages {
		stage, planned, err := l.stage(s, c, from)
		if err != nil {
			return out, nil, fmt.Errorf("recipe: %s: stage %d, %q: %w", l.path, i+1, s.Name, err)
		}
		out.Stages, plan = append(out.Stages, stage), append(plan, planned)
	}
	return out, plan, nil
}

func (l *Line) stage(s LineStage, base model.Config, from Sources) (pipeline.Stage, Planned, error) {
	build, ok := kinds[s.Kind]
	if !ok {
		return pipeline.Stage{}, Planned{}, fmt.Errorf("kind is %q, want one of %s", s.Kind, strings.Join(slices.Sorted(maps.Keys(kinds)), ", "))
	}
	if s.Until != "" && s.Until != "steps" && !(s.Until == "converged" && s.Kind == "grpo") {
		return pipeline.Stage{}, Planned{}, fmt.Errorf("until is %q, want steps, or for grpo converged", s.Until)
	}
	c := stageConfig{node: s.Config}
	refs := c.references()
	inputs := []pipeline.From{l.input(s.From)}
	for _, r := range refs {
		inputs = append(inputs, pipeline.From{Stage: r})
	}
	r, err := build(l, s, c, from)
	if err != nil {
		return pipeline.Stage{}, Planned{}, err
	}
	if r.own {
		inputs = inputs[1:]
	}
	config := map[string]any{"kind": s.Kind, "until": s.Until, "config": c.values()}
	out := pipeline.Stage{Name: s.Name, From: inputs, Config: config, Data: r.data, Run: r.run}
	if len(s.Gate) > 0 {
		out.Gate = func(o pipeline.Output) error { return gate(s.Gate, o.Scores) }
	}
	planned := Planned{Name: s.Name, Kind: s.Kind, From: inputs, Until: s.Until, Gate: s.Gate}
	if r.cost != nil {
		most, err := r.cost(base, Budget{Bytes: l.Memory})
		if err != nil {
			return pipeline.Stage{}, Planned{}, err
		}
		planned.Bytes, planned.FLOP = most.bytes, most.flop
	}
	return out, planned, nil
}

func (l *Line) input(from string) pipeline.From {
	name, best := strings.CutSuffix(from, "@best")
	if name == "base" {
		name = ""
	}
	return pipeline.From{Stage: name, Best: best}
}

// gate compares scores with the least that they must be.
func gate(least, scores map[string]float64) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(least)) {
		if v, ok := scores[name]; !ok {
			errs = append(errs, fmt.Errorf("there is no score %s; there are %v", name, slices.Sorted(maps.Keys(scores))))
		} else if v < least[name] {
			errs = append(errs, fmt.Errorf("%s is %.4g, want at least %.4g", name, v, least[name]))
		}
	}
	return errors.Join(errs...)
}

// stageConfig is a stage's configuration before the outputs it names are known.
type stageConfig struct{ node yaml.Node }

// references are the stages whose outputs the configuration names with @.
func (c stageConfig) references() (names []string) {
	c.walk(func(n *yaml.Node) {
		if name, _, ok := reference(n.Value); ok && !slices.Contains(names, name) {
			names = append(names, name)
		}
	})
	return names
}

// reference splits @NAME and @NAME=WEIGHT.
func reference(value string) (name, weight string, ok bool) {
	if !strings.HasPrefix(value, "@") {
		return "", "", false
	}
	name, weight, weighed := strings.Cut(value[1:], "=")
	if weighed {
		weight = "=" + weight
	}
	return name, weight, name != ""
}

func (c stageConfig) walk(each func(n *yaml.Node)) {
	var down func(n *yaml.Node)
	down = func(n *yaml.Node) {
		if n.Kind == yaml.ScalarNode {
			each(n)
		}
		for _, m := range n.Content {
			down(m)
		}
	}
	down(&c.node)
}

func (c stageConfig) values() (v any) {
	if c.node.Decode(&v) != nil {
		return nil
	}
	return v
}

// bind reads the configuration into flags, with the outputs of earlier stages in place of their names where in has them: the stage's
// inputs after the model.
func (c stageConfig) bind(fs *pflag.FlagSet, foreign Foreign, in []string) error {
	if c.node.IsZero() {
		return nil
	}
	text, err := yaml.Marshal(&c.node)
	if err != nil {
		return fmt.Errorf("recipe: %w", err)
	}
	var copied yaml.Node // the stage's own tree stays as it was read
	if err := yaml.Unmarshal(text, &copied); err != nil {
		return fmt.Errorf("recipe: %w", err)
	}
	names := c.references()
	stageConfig{copied}.walk(func(n *yaml.Node) {
		if name, weight, ok := reference(n.Value); ok && len(in) > 0 {
			n.Value = in[slices.Index(names, name)] + weight
		}
	})
	_, err = readNode("config", copied.Content[0], fs, foreign)
	return err
}
