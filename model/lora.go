package model

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// AllLinear, as the only one of [LoRAConfig].Targets, is every linear layer but the output head and the experts' router.
const AllLinear = "all-linear"

// LoRAConfig describes a low-rank adapter (arXiv 2106.09685): a target layer y = x W + b becomes
//
//	y = x W + b + s (x A) B,  s = Alpha/R, or Alpha/sqrt(R) with RSLoRA (arXiv 2312.03732).
//
// Layers are matched as peft matches them. A layer's name is its weight's without ".weight": "model.layers.0.mlp.up_proj",
// "model.layers.3.mlp.experts.7.gate_proj".
type LoRAConfig struct {
	R       int     // rank (r)
	Alpha   float64 // lora_alpha
	RSLoRA  bool    // use_rslora
	Dropout float64 // lora_dropout, of x in x A, where [LM.Dropout] is used; sampling never drops

	Targets      []string           // target_modules: whole names or their last parts ("q_proj"), or AllLinear
	TargetRegexp string             // target_modules given as one expression, which a whole name must match; instead of Targets
	Exclude      []string           // exclude_modules: whole names or their last parts, whatever Targets say
	Layers       []int              // layers_to_transform, with Targets; nil: all
	RankPattern  map[string]int     // rank_pattern: R of the layers whose name's end a key, an expression, matches
	AlphaPattern map[string]float64 // alpha_pattern: likewise Alpha

	Base string // base_model_name_or_path, written to adapter_config.json for peft; not read here
}

// Validate reports the first field that is out of range.
func (c LoRAConfig) Validate() error {
	switch {
	case c.R < 1 || c.R > 1<<16:
		return fmt.Errorf("rank %d (r), want 1 to %d", c.R, 1<<16)
	case !(math.Abs(c.Alpha) < 1e9) || c.Alpha == 0:
		return fmt.Errorf("lora_alpha is %g, want a number that is not 0", c.Alpha)
	case !(c.Dropout >= 0 && c.Dropout < 1):
		return fmt.Errorf("lora_dropout is %g, want 0 or more and less than 1", c.Dropout)
	case len(c.Targets) == 0 && c.TargetRegexp == "":
		return fmt.Errorf("no target_modules; %q takes every linear layer", AllLinear)
	case len(c.Targets) > 0 && c.TargetRegexp != "":
		return fmt.Errorf("target_modules both as a list %q and as an expression %q", c.Targets, c.TargetRegexp)
	case c.TargetRegexp != "" && c.Layers != nil:
		return fmt.Errorf("layers_to_transform with target_modules as an expression: let the expression name the layers")
	case len(c.Targets) > 1 && slices.Contains(c.Targets, AllLinear):
		return fmt.Errorf("target_modules %q: %q stands alone", c.Targets, AllLinear)
	}
	for key, r := range c.RankPattern {
		if r < 1 || r > 1<<16 {
			return fmt.Errorf("rank_pattern %q is %d, want 1 to %d", key, r, 1<<16)
		}
	}
	for key, alpha := range c.AlphaPattern {
		if !(math.Abs(alpha) < 1e9) {
			return fmt.Errorf("alpha_pattern %q is %g", key, alpha)
		}
	}
	return nil
}

// target is one layer that gets an adapter.
type target struct {
	module  string
	out, in int
	r       int
	scale   float32
}

// targets are the layers of a model that the adapter changes, in the order of the checkpoint.
func (c LoRAConfig) targets(m Config) ([]target, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	match, err := c.matcher()
	if err != nil {
		return nil, err
	}
	var out []target
	for _, w := range m.weights() {
		module, ok := m.adaptable(w)
		if !ok || !match(module) {
			continue
		}
		r, err := pattern(c.RankPattern, module, c.R)
		if err != nil {
			return nil, fmt.Errorf("rank_pattern: %w", err)
		}
		alpha, err := pattern(c.AlphaPattern, module, c.Alpha)
		if err != nil {
			return nil, fmt.Errorf("alpha_pattern: %w", err)
		}
		scale := alpha / float64(r)
		if c.RSLoRA {
			scale = alpha / math.Sqrt(float64(r))
		}
		out = append(out, target{module, w.shape[0], w.shape[1], r, float32(scale)})
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("target_modules %q, layers_to_transform %v match no linear layer of a %s; its layers are %q; embedding, head and router take no adapter",
			append(slices.Clone(c.Targets), c.TargetRegexp), c.Layers, m.ModelType, m.linearNames())
	}
	return out, nil
}

// adaptable is a weight's layer where it may have an adapter.
func (c Config) adaptable(w weight) (module string, ok bool) {
	module, ok = strings.CutSuffix(w.name, ".weight")
	return module, ok && len(w.shape) == 2 && module != "model.embed_tokens" && module != "lm_head" && !strings.HasSuffix(module, ".mlp.gate")
}

// linearNames are the last parts of the names of all layers that may have an adapter, sorted.
func (c Config) linearNames() []string {
	names := map[string]bool{}
	for _, w := range c.weights() {
		if module, ok := c.adaptable(w); ok {
			names[module[strings.LastIndexByte(module, '.')+1:]] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// firstNumber is the layer's number: the first part of a name, but for its first two, that is a number.
var firstNumber = regexp.MustCompile(`^.*?\.[^.]*\.(\d+)\.`)

func (c LoRAConfig) matcher() (func(module string) bool, error) {
	if c.TargetRegexp != "" {
		e, err := regexp.Compile("^(?:" + c.TargetRegexp + ")$")
		if err != nil {
			return nil, fmt.Errorf("target_modules %q: %w", c.TargetRegexp, err)
		}
		return func(module string) bool { return e.MatchString(module) && !named(c.Exclude, module) }, nil
	}
	return func(module string) bool {
		if named(c.Exclude, module) || !(c.Targets[0] == AllLinear || named(c.Targets, module)) {
			return false
		}
		if len(c.Layers) == 0 || slices.Contains(c.Targets, module) { // a whole name needs no layer, as in peft
			return true
		}
		found := firstNumber.FindStringSubmatch(module)
		if found == nil {
			return false
		}
		n, err := strconv.Atoi(found[1])
		return err == nil && slices.Contains(c.Layers, n)
	}, nil
}

// named says whether a module is one of names, whole or by its last parts.
func named(names []string, module string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return module == n || strings.HasSuffix(module, "."+n) })
}

// pattern is the value of the key that matches the module's end, else the general one. Two keys with different values are
// an error: which comes first is not to be seen in a map.
func pattern[T comparable](values map[string]T, module string, general T) (T, error) {
	found := ""
	for _, key := range slices.Sorted(maps.Keys(values)) {
		e, err := regexp.Compile(`^(?:.*\.)?(?:` + key + `)$`)
		if err != nil {
			return general, fmt.Errorf("%q: %w", key, err)
		}
		if !e.MatchString(module) {
			continue
		}
		if found != "" && values[found] != values[key] {
			return general, fmt.Errorf("%q and %q both match %s and differ", found, key, module)
		}
		found = key
	}
	if found == "" {
		return general, nil
	}
	return values[found], nil
}

// hfLoRA is adapter_config.json.
type hfLoRA struct {
	PeftType     string             `json:"peft_type"`
	TaskType     string             `json:"task_type"`
	Base         string             `json:"base_model_name_or_path"`
	R            int                `json:"r"`
	Alpha        float64            `json:"lora_alpha"`
	Dropout      float64            `json:"lora_dropout"`
	RSLoRA       bool               `json:"use_rslora"`
	Bias         string             `json:"bias"`
	InitWeights  json.RawMessage    `json:"init_lora_weights"`
	Targets      json.RawMessage    `json:"target_modules"`
	Exclude      json.RawMessage    `json:"exclude_modules"`
	Layers       json.RawMessage    `json:"layers_to_transform"`
	RankPattern  map[string]int     `json:"rank_pattern"`
	AlphaPattern map[string]float64 `json:"alpha_pattern"`
	Inference    bool               `json:"inference_mode"`
}

// harmless are fields of peft's adapter_config.json that change nothing in what an adapter computes once it is trained. Any
// other field that hfLoRA does not have must be null, false, [] or {}.
var harmless = []string{"auto_mapping", "peft_version", "revision", "megatron_core", "qalora_group_size", "ensure_weight_tying", "eva_config"}

// ParseLoRAConfig reads the text of an adapter_config.json. A field that changes what the adapter computes and that is not
// known is an error that names it.
func ParseLoRAConfig(text []byte) (LoRAConfig, error) {
	var h hfLoRA
	var all map[string]json.RawMessage
	if err := json.Unmarshal(text, &all); err != nil {
		return LoRAConfig{}, err
	}
	if err := json.Unmarshal(text, &h); err != nil {
		return LoRAConfig{}, err
	}
	known := map[string]json.RawMessage{}
	own, err := json.Marshal(h)
	if err == nil {
		err = json.Unmarshal(own, &known)
	}
	if err != nil {
		return LoRAConfig{}, err
	}
	unknown := map[string]string{}
	for name := range all {
		if _, ok := known[name]; !ok && !slices.Contains(harmless, name) {
			unknown[name] = ""
		}
	}
	if err := refuse(all, unknown); err != nil {
		return LoRAConfig{}, err
	}
	switch {
	case h.PeftType != "LORA":
		return LoRAConfig{}, fmt.Errorf("peft_type is %q, want \"LORA\"", h.PeftType)
	case h.Bias != "" && h.Bias != "none":
		return LoRAConfig{}, fmt.Errorf("bias %q is not supported, want \"none\"", h.Bias)
	case !slices.Contains([]string{"", "null", "true", "false", `"gaussian"`, `"orthogonal"`, `"eva"`}, string(h.InitWeights)):
		return LoRAConfig{}, fmt.Errorf("init_lora_weights %s changes the base's weights and is not supported; save the adapter with peft's path_initial_model_for_weight_conversion",
			h.InitWeights)
	}
	c := LoRAConfig{
		R: h.R, Alpha: h.Alpha, RSLoRA: h.RSLoRA, Dropout: h.Dropout, RankPattern: h.RankPattern, AlphaPattern: h.AlphaPattern, Base: h.Base,
	}
	if len(c.RankPattern) == 0 {
		c.RankPattern = nil
	}
	if len(c.AlphaPattern) == 0 {
		c.AlphaPattern = nil
	}
	if err := c.readTargets(h); err != nil {
		return LoRAConfig{}, err
	}
	return c, c.Validate()
}

func (c *LoRAConfig) readTargets(h hfLoRA) error {
	var one string
	if json.Unmarshal(h.Targets, &one) == nil {
		if c.TargetRegexp = one; strings.EqualFold(one, AllLinear) {
			c.Targets, c.TargetRegexp = []string{AllLinear}, ""
		}
	} else if err := json.Unmarshal(h.Targets, &c.Targets); err != nil {
		return fmt.Errorf("target_modules %s: want an expression or a list of names", h.Targets)
	}
	slices.Sort(c.Targets)
	if len(h.Exclude) > 0 {
		if err := json.Unmarshal(h.Exclude, &c.Exclude); err != nil {
			return fmt.Errorf("exclude_modules %s: want a list of names", h.Exclude)
		}
	}
	var layer int
	if string(h.Layers) != "null" && json.Unmarshal(h.Layers, &layer) == nil {
		c.Layers = []int{layer}
	} else if len(h.Layers) > 0 {
		if err := json.Unmarshal(h.Layers, &c.Layers); err != nil {
			return fmt.Errorf("layers_to_transform %s: want a number or a list of numbers", h.Layers)
		}
	}
	return nil
}

// json is the adapter_config.json that peft reads, for a model of config m.
func (c LoRAConfig) json(m Config) ([]byte, error) {
	var targets any = c.Targets
	switch {
	case c.TargetRegexp != "":
		targets = c.TargetRegexp
	case c.Targets[0] == AllLinear: // peft writes the names, too
		targets = m.linearNames()
	}
	j := map[string]any{
		"peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": c.Base, "r": c.R, "lora_alpha": c.Alpha, "lora_dropout": c.Dropout,
		"use_rslora": c.RSLoRA, "bias": "none", "init_lora_weights": true, "target_modules": targets, "exclude_modules": c.Exclude,
		"layers_to_transform": c.Layers, "rank_pattern": nonNil(c.RankPattern), "alpha_pattern": nonNil(c.AlphaPattern), "inference_mode": true,
		"fan_in_fan_out": false, "modules_to_save": nil, "use_dora": false,
	}
	return json.MarshalIndent(j, "", "  ")
}

func nonNil[T any](m map[string]T) map[string]T {
	if m == nil {
		return map[string]T{}
	}
	return m
}
