package recipe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/model/tokenizer"
	"github.com/gor1/gor1/reward"
	"github.com/gor1/gor1/reward/code"
	"github.com/gor1/gor1/reward/code/sandbox"
	"github.com/gor1/gor1/reward/lang"
	"github.com/gor1/gor1/reward/mathx"
	"github.com/gor1/gor1/reward/remote"
	"github.com/gor1/gor1/sft"
)

// Rewards are the functions that judge completions, by name, and their constants under open-r1's names.
type Rewards struct {
	Funcs        []string       `key:"reward_funcs" help:"names, see docs/rewards.md; their weighted sum is the reward"`
	Weights      []float64      `key:"reward_weights" help:"one a function; absent: 1 each"`
	RouteColumn  string         `key:"reward_route_column" help:"a column whose value says which of reward_funcs judge a row"`
	Routes       map[string]any `key:"reward_routes" help:"value of that column: names, such as {\"reasoning\": [\"accuracy\", \"format\"], \"general\": [\"reward_model\", \"safety_model\"]}"`
	CosineMinBad float64        `key:"cosine_min_value_wrong" help:"cosine: a wrong answer of the greatest length"`
	CosineMaxBad float64        `key:"cosine_max_value_wrong" help:"cosine: a wrong answer of length 0"`
	CosineMin    float64        `key:"cosine_min_value_correct" help:"cosine: a right answer of the greatest length"`
	CosineMax    float64        `key:"cosine_max_value_correct" help:"cosine: a right answer of length 0"`
	CosineLen    float64        `key:"cosine_max_len" help:"cosine: the greatest length, in characters as open-r1 counts"`
	NGrams       int            `key:"repetition_n_grams" help:"repetition_penalty: words of an n-gram"`
	MaxPenalty   float64        `key:"repetition_max_penalty" help:"repetition_penalty: of a text that only repeats"`
	Language     string         `key:"reward_language" help:"language_consistency: prompt (the question's own), or a code such as en, zh"`
	Command      []string       `key:"reward_command" help:"command: a program that reads rows and writes numbers, see docs/rewards.md"`
	URL          string         `key:"reward_url" help:"http: a server that scores rows"`
	JudgeURL     string         `key:"judge_url" help:"llm_judge: a server's chat completions, e.g. http://localhost:8000/v1/chat/completions; its key is R1_REWARD_KEY"`
	JudgeModel   string         `key:"judge_model" help:"llm_judge: the model's name there"`
	JudgeBudget  int            `key:"judge_budget" help:"llm_judge: requests in all; 0: no limit"`
	RewardModel  string         `key:"reward_model_path" help:"reward_model: a folder with a scalar head, which reads the answer without the reasoning (R1: helpfulness)"`
	SafetyModel  string         `key:"safety_model_path" help:"safety_model: one that reads the whole completion (R1: harmlessness)"`
	UnsafeCode   bool           `key:"unsafe_code_exec" help:"code: run programs where no sandbox can be had"`
	Tripwires    int            `key:"tripwire_steps" help:"steps between looks at what answers without content would earn; 0: only before the first step"`
	SoftCache    int            `key:"soft_punish_cache" help:"soft_overlong_punishment: tokens before max_completion_length from where it grows"`
}

func defaultRewards() Rewards {
	return Rewards{
		Funcs: []string{"accuracy", "format"}, CosineMinBad: 0, CosineMaxBad: -0.5, CosineMin: 0.5, CosineMax: 1, CosineLen: 1000, NGrams: 3, MaxPenalty: -1, SoftCache: 4096, Language: "prompt",
	}
}

// judges are a recipe's rewards being built: what they need, and what must be closed when the run ends.
type judges struct {
	*GRPO
	from Sources
	p    *Prepared
	code *code.Grader // one for all rewards that run code; nil: not asked for yet
	math reward.Equal
}

// rewardNames is the one table of names. A function judges each completion by itself or compares a group's.
var rewardNames = map[string]func(j *judges) (reward.Func, reward.GroupFunc, error){
	"accuracy":                 alone(func(*judges) reward.Func { return reward.Math }),
	"format":                   alone(func(*judges) reward.Func { return reward.Format }),
	"think_format":             alone(func(*judges) reward.Func { return reward.FormatR1 }),
	"tag_count":                alone(func(*judges) reward.Func { return reward.TagCount }),
	"reasoning_steps":          alone(func(*judges) reward.Func { return reward.ReasoningSteps }),
	"consistent_steps":         alone(func(j *judges) reward.Func { return reward.ConsistentSteps(j.math) }),
	"coherence":                alone(func(j *judges) reward.Func { return reward.Coherence(j.math) }),
	"completeness":             alone(func(*judges) reward.Func { return reward.Completeness }),
	"fluency":                  alone(func(*judges) reward.Func { return lang.Fluency }),
	"language_consistency":     (*judges).language,
	"repetition_penalty":       alone(func(j *judges) reward.Func { return reward.RepetitionPenalty(j.NGrams, j.MaxPenalty) }),
	"soft_overlong_punishment": alone(func(j *judges) reward.Func { return reward.SoftOverlong(j.MaxTokens, min(j.SoftCache, j.MaxTokens)) }),
	"cosine": alone(func(j *judges) reward.Func {
		c := reward.CosineConfig{RightShort: j.CosineMax, RightLong: j.CosineMin, WrongShort: j.CosineMaxBad, WrongLong: j.CosineMinBad, Max: int(j.CosineLen), Length: reward.CharacterCount}
		return reward.Cosine(c, reward.Math)
	}),
	"length":      compared(func(*judges) reward.GroupFunc { return reward.Brevity(reward.Math, reward.TokenCount) }),
	"majority":    compared(func(j *judges) reward.GroupFunc { return reward.Majority(reward.FinalAnswer, j.math) }),
	"code":        (*judges).share,
	"binary_code": (*judges).passes,
	"llm_judge":   (*judges).judge,
	"reward_model": func(j *judges) (reward.Func, reward.GroupFunc, error) {
		m, err := j.model("reward_model", j.RewardModel)
		return nil, reward.RewardModel(m, reward.Summary), err
	},
	"safety_model": func(j *judges) (reward.Func, reward.GroupFunc, error) {
		m, err := j.model("safety_model", j.SafetyModel)
		return nil, reward.SafetyModel(m), err
	},
	"command": (*judges).command,
	"http":    (*judges).http,
}

// rewardAliases are names that TRL and open-r1 use for the same functions.
var rewardAliases = map[string]string{
	"accuracy_reward": "accuracy", "reasoning_accuracy_reward": "accuracy", "think_format_reward": "think_format", "format_reward": "format", "get_soft_overlong_punishment": "soft_overlong_punishment",
	"tag_count_reward": "tag_count",
}

func canonical(name string) string { return cmp.Or(rewardAliases[name], name) }

func alone(f func(j *judges) reward.Func) func(j *judges) (reward.Func, reward.GroupFunc, error) {
	return func(j *judges) (reward.Func, reward.GroupFunc, error) { return f(j), nil, nil }
}

func compared(f func(j *judges) reward.GroupFunc) func(j *judges) (reward.Func, reward.GroupFunc, error) {
	return func(j *judges) (reward.Func, reward.GroupFunc, error) { return nil, f(j), nil }
}

// equal is mathematical equality as rewards use it.
func equal(gold, answer string) (bool, error) {
	g, err := mathx.Parse(gold)
	if err != nil {
		return false, err
	}
	a, err := mathx.Parse(answer)
	if err != nil {
		return false, err
	}
	same, _ := mathx.Same(g, a, mathx.Policy{})
	return same, nil
}

// language pays for reasoning in one language: that of the question, or the one that reward_language names.
func (j *judges) language() (reward.Func, reward.GroupFunc, error) {
	if j.Language == "prompt" {
		return lang.Consistency(lang.OfPrompt(question)), nil, nil
	}
	if !slices.Contains(lang.Languages(), j.Language) {
		return nil, nil, fmt.Errorf("recipe: reward_language is %q, want prompt or one of %s", j.Language, strings.Join(lang.Languages(), ", "))
	}
	return lang.Consistency(lang.Fixed(j.Language)), nil, nil
}

// grader runs code in a sandbox; one serves both rewards.
func (j *judges) grader() (*code.Grader, error) {
	if j.code != nil {
		return j.code, nil
	}
	box, err := sandbox.Open(sandbox.Config{UnsafeExec: j.UnsafeCode})
	if err != nil {
		return nil, err
	}
	j.p.close = append(j.p.close, box.Close)
	g, err := code.New(code.Config{Sandbox: box})
	if err != nil {
		return nil, err
	}
	j.code, j.p.close = g, append(j.p.close, g.Close)
	return g, nil
}

func (j *judges) share() (reward.Func, reward.GroupFunc, error) {
	g, err := j.grader()
	if err != nil {
		return nil, nil, err
	}
	return reward.Named("code", g.Code), nil, nil
}

func (j *judges) passes() (reward.Func, reward.GroupFunc, error) {
	g, err := j.grader()
	if err != nil {
		return nil, nil, err
	}
	return reward.Named("binary_code", g.Binary), nil, nil
}

func (j *judges) judge() (reward.Func, reward.GroupFunc, error) {
	if j.JudgeURL == "" || j.JudgeModel == "" {
		return nil, nil, errors.New("recipe: llm_judge needs judge_url (a server's chat completions) and judge_model")
	}
	if err := noPassword("judge_url", j.JudgeURL); err != nil {
		return nil, nil, err
	}
	judge, err := remote.NewJudge(remote.JudgeConfig{URL: j.JudgeURL, Model: j.JudgeModel, Key: j.from.Key, Limits: remote.Limits{Budget: int64(j.JudgeBudget)}, Question: question})
	if err != nil {
		return nil, nil, err
	}
	j.p.Parts = append(j.p.Parts, spent{judge})
	return judge.Correct(), nil, nil
}

// spent is a judge's requests so far in a checkpoint: its budget is the run's, not a process's.
type spent struct{ judge *remote.Judge }

const spentFile = "judge_requests.json"

// Save writes the number.
func (s spent) Save(dir string) error {
	if err := os.WriteFile(filepath.Join(dir, spentFile), fmt.Appendln(nil, s.judge.Requests()), 0o644); err != nil {
		return fmt.Errorf("recipe: %w", err)
	}
	return nil
}

// Restore goes on from it.
func (s spent) Restore(dir string) error {
	text, err := os.ReadFile(filepath.Join(dir, spentFile))
	if err != nil {
		return fmt.Errorf("recipe: %w", err)
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil || n < 0 {
		return fmt.Errorf("recipe: %s: %q is no number of requests", filepath.Join(dir, spentFile), text)
	}
	s.judge.Resume(n)
	return nil
}

// model is a scalar head on a language model.
func (j *judges) model(name, dir string) (m sft.RewardModel, err error) {
	if dir == "" {
		return m, fmt.Errorf("recipe: %s needs %s_path: the folder of a sequence classifier with one label", name, name)
	}
	if j.from.Model != nil {
		if dir, err = j.from.Model(context.Background(), dir, "main"); err != nil {
			return m, err
		}
	}
	tok, err := tokenizer.Load(dir)
	if err != nil {
		return m, err
	}
	scorer, err := model.LoadScorer(j.p.Policy.Device(), dir, model.Options{})
	if err != nil {
		return m, err
	}
	j.p.close = append(j.p.close, scorer.Close)
	m.Model = scorer
	m.Encode = func(prompt, completion string) ([]int32, error) {
		ids := tok.Encode(prompt+completion, true)
		if eos := tok.EOS(); len(eos) > 0 && (len(ids) == 0 || !slices.Contains(eos, ids[len(ids)-1])) {
			ids = append(ids, eos[0])
		}
		return ids, nil
	}
	return m, nil
}

func (j *judges) command() (reward.Func, reward.GroupFunc, error) {
	if len(j.Command) == 0 {
		return nil, nil, errors.New("recipe: the reward command needs reward_command: the program and its arguments")
	}
	c, err := remote.NewCommand(remote.CommandConfig{Path: j.Command[0], Args: j.Command[1:]})
	if err != nil {
		return nil, nil, err
	}
	j.p.close = append(j.p.close, c.Close)
	return nil, c.Group(), nil
}

func (j *judges) http() (reward.Func, reward.GroupFunc, error) {
	if j.URL == "" {
		return nil, nil, errors.New("recipe: the reward http needs reward_url")
	}
	if err := noPassword("reward_url", j.URL); err != nil {
		return nil, nil, err
	}
	f, err := remote.HTTP(remote.HTTPConfig{URL: j.URL, Key: j.from.Key})
	return nil, f, err
}

// noPassword refuses an address with one: it would be in config.yaml and in every checkpoint.
func noPassword(key, address string) error {
	if u, err := url.Parse(address); err == nil && u.User != nil {
		return fmt.Errorf("recipe: %s holds a user or password, which would be written to config.yaml and the checkpoints; give a key in R1_REWARD_KEY", key)
	}
	return nil
}

// score is the weighted sum of the named functions: those that judge alone, and those that compare. What is held out is scored by the one
// that tells right from wrong, of its route where there are some: mathematics, or code where only code is judged.
func (g *GRPO) score(from Sources, p *Prepared) (reward.Func, reward.GroupFunc, error) {
	j := &judges{GRPO: g, from: from, p: p, math: equal}
	if len(g.Funcs) == 0 {
		return nil, nil, fmt.Errorf("recipe: reward_funcs is empty; want some of %s", strings.Join(RewardNames(), ", "))
	}
	if len(g.Weights) > 0 && len(g.Weights) != len(g.Funcs) {
		return nil, nil, fmt.Errorf("recipe: %d reward_weights for %d reward_funcs", len(g.Weights), len(g.Funcs))
	}
	routes, err := g.routes()
	if err != nil {
		return nil, nil, err
	}
	alone, compared, rules := map[string][]reward.Func{}, map[string][]reward.GroupFunc{}, map[string]reward.Func{}
	for i, name := range g.Funcs {
		name = canonical(name)
		build, ok := rewardNames[name]
		if !ok {
			return nil, nil, fmt.Errorf("recipe: reward_funcs: %q is not a reward; want some of %s", name, strings.Join(RewardNames(), ", "))
		}
		f, c, err := build(j)
		if err != nil {
			return nil, nil, err
		}
		weight := 1.0
		if len(g.Weights) > 0 {
			weight = g.Weights[i]
		}
		for _, value := range routes.to(name) {
			if name == "accuracy" || rules[value] == nil && (name == "binary_code" || name == "code") {
				rules[value] = f
			}
			if f != nil {
				alone[value] = append(alone[value], reward.Weight(weight, f))
			} else {
				compared[value] = append(compared[value], reward.WeightGroup(weight, c))
			}
		}
	}
	var score reward.Func
	var compare reward.GroupFunc
	switch {
	case len(routes) > 0:
		for value := range routes {
			if len(rules) == 0 || rules[value] != nil {
				p.ruled = append(p.ruled, value)
			}
		}
		for _, value := range p.ruled {
			if rules[value] == nil {
				rules[value] = reward.Math
			}
		}
		p.HeldOut.Score = reward.Route(g.RouteColumn, rules)
		one, group := map[string]reward.Func{}, map[string]reward.GroupFunc{}
		for value := range routes {
			one[value], group[value] = reward.Sum(alone[value]...), reward.SumGroup(compared[value]...)
		}
		if len(alone) > 0 {
			score = reward.Route(g.RouteColumn, one)
		}
		if len(compared) > 0 {
			compare = reward.RouteGroup(g.RouteColumn, group)
		}
	default:
		if p.HeldOut.Score = rules[everyRow]; p.HeldOut.Score == nil {
			p.HeldOut.Score = reward.Math
		}
		if len(alone) > 0 {
			score = reward.Sum(alone[everyRow]...)
		}
		if len(compared) > 0 {
			compare = reward.SumGroup(compared[everyRow]...)
		}
	}
	return score, compare, nil
}

// routes are the names of rewards by the value of reward_route_column; empty: every reward judges every row.
type routes map[string][]string

// everyRow is the value of rows where there are no routes.
const everyRow = ""

// to are the values whose rows a reward judges.
func (r routes) to(name string) []string {
	if len(r) == 0 {
		return []string{everyRow}
	}
	var values []string
	for value, names := range r {
		if slices.Contains(names, name) {
			values = append(values, value)
		}
	}
	slices.Sort(values)
	return values
}

// routes reads reward_routes: every name is one of reward_funcs, and every one of those judges something.
func (r Rewards) routes() (routes, error) {
	if (r.RouteColumn == "") != (len(r.Routes) == 0) {
		return nil, errors.New("recipe: reward_route_column and reward_routes go together: a column, and the rewards for each of its values")
	}
	known, used := map[string]bool{}, map[string]bool{}
	for _, name := range r.Funcs {
		known[canonical(name)] = true
	}
	all := routes{}
	for _, value := range slices.Sorted(maps.Keys(r.Routes)) {
		list, ok := r.Routes[value].([]any)
		if !ok || len(list) == 0 {
			return nil, fmt.Errorf("recipe: reward_routes: %q is %v, want a list of names from reward_funcs", value, r.Routes[value])
		}
		for _, v := range list {
			text, _ := v.(string)
			name := canonical(text)
			if !known[name] {
				return nil, fmt.Errorf("recipe: reward_routes: %q has %v, which is not among reward_funcs (%s)", value, v, strings.Join(r.Funcs, ", "))
			}
			all[value], used[name] = append(all[value], name), true
		}
	}
	for _, name := range r.Funcs {
		if len(all) > 0 && !used[canonical(name)] {
			return nil, fmt.Errorf("recipe: reward_funcs: %s judges no row: no route has it", name)
		}
	}
	return all, nil
}

// onRoute refuses problems that no route is for.
func (r Rewards) onRoute(problems []reward.Problem) error {
	if r.RouteColumn == "" {
		return nil
	}
	for _, p := range problems {
		value, ok := p.Columns[r.RouteColumn].(string)
		if _, known := r.Routes[value]; !ok || !known {
			return fmt.Errorf("recipe: %s: the column %s is %#v, want one of those in reward_routes: %s", p.ID, r.RouteColumn, p.Columns[r.RouteColumn], strings.Join(slices.Sorted(maps.Keys(r.Routes)), ", "))
		}
	}
	return nil
}

// RewardNames lists the names of rewards.
func RewardNames() []string { return slices.Sorted(maps.Keys(rewardNames)) }
