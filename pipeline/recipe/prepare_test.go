package recipe_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	gor1grpo "github.com/gor1/gor1/grpo"
	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/pipeline/recipe"
	"github.com/gor1/gor1/reward"
)

// textModel is a small random model with a tokenizer beside it.
func textModel(t *testing.T) string {
	dir := t.TempDir()
	text, err := os.ReadFile("../../model/tokenizer/testdata/small/tokenizer.json")
	require.NoError(t, err)
	write(t, dir, "tokenizer.json", string(text))
	dev, err := kernels.Open("cpu")
	require.NoError(t, err)
	m, err := model.New(dev, model.Config{
		ModelType: "qwen3", VocabSize: 1024, HiddenSize: 32, IntermediateSize: 64, Layers: 1, Heads: 4, KVHeads: 2, HeadDim: 16, MaxPositions: 64,
		NormEps: 1e-6, InitializerRange: 0.5, QKNorm: true, BOS: -1, PAD: -1, Rope: model.Rope{Type: "default", Theta: 10000},
	}, 1, nil)
	require.NoError(t, err)
	require.NoError(t, m.Save(dir))
	require.NoError(t, m.Close())
	require.NoError(t, dev.Close())
	return dir
}

// scoreModel is a small random reward model with the same tokenizer.
func scoreModel(t *testing.T) string {
	dir := textModel(t)
	dev, err := kernels.Open("cpu")
	require.NoError(t, err)
	lm, err := model.Load(dev, dir, model.Options{})
	require.NoError(t, err)
	m, err := model.NewScorer(lm, 0.5, 1)
	require.NoError(t, err)
	require.NoError(t, m.Save(dir))
	require.NoError(t, m.Close())
	require.NoError(t, dev.Close())
	return dir
}

func write(t *testing.T, dir, name, text string) string {
	path := filepath.Join(dir, name)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	return path
}

// six problems, the hardest first.
func six(t *testing.T) string {
	var b strings.Builder
	for i, q := range []string{"six", "five", "four", "three", "two", "one"} {
		b.WriteString(`{"prompt":"` + q + `","answer":"` + string(rune('6'-i)) + `","level":` + string(rune('6'-i)) + `,"tests":"a"}` + "\n")
	}
	return write(t, t.TempDir(), "train.jsonl", b.String())
}

// grpo is what the flags of r1 grpo make, before its first step.
func grpo(t *testing.T, model, data string, flags ...string) (*recipe.Prepared, error) {
	g, fs := bound()
	require.NoError(t, fs.Parse(append([]string{"--model_name_or_path", model, "--dataset_name", data, "--prompt_template", "none", "--max_completion_length", "8", "--dataset_test_split", "train"}, flags...)))
	require.NoError(t, g.Complete(fs))
	p, err := g.Prepare(context.Background(), recipe.Sources{})
	if err == nil {
		t.Cleanup(func() { require.NoError(t, p.Close()) })
	}
	return p, err
}

func sft(t *testing.T, model, data string, flags ...string) (*recipe.PreparedSFT, error) {
	g := recipe.NewSFT()
	fs := pflag.NewFlagSet("sft", pflag.ContinueOnError)
	fs.SetNormalizeFunc(dashes)
	recipe.Bind(fs, g)
	require.NoError(t, fs.Parse(append([]string{"--model_name_or_path", model, "--dataset_name", data}, flags...)))
	p, err := g.Prepare(context.Background(), recipe.Sources{})
	if err == nil {
		t.Cleanup(func() { require.NoError(t, p.Close()) })
	}
	return p, err
}

// Keys count optimiser steps, as in TRL and the papers, also where a rollout serves several; a stage counts rollouts.
func TestStepsAreOptimiserSteps(t *testing.T) {
	m, data := textModel(t), six(t)
	mini := []string{"--num_generations", "2", "--per_device_train_batch_size", "4", "--generation_batch_size", "8", "--num_iterations", "2"} // 4 optimiser steps a rollout
	p, err := grpo(t, m, data, append(mini, "--max_steps", "42", "--save_steps", "8", "--eval_strategy", "steps", "--eval_steps", "9", "--beta", "0.1", "--sync_ref_model", "--ref_model_sync_steps", "40")...)
	require.NoError(t, err)
	require.Equal(t, []int{11, 2, 3, 10}, []int{p.Every.Steps, p.Every.Save, p.HeldOut.Every, p.Renew.Every})
	require.Contains(t, strings.Join(p.Notes, "\n"), "max_steps is 42, but a rollout serves 4 optimiser steps: 44 are taken")
	p, err = grpo(t, m, data, append(mini, "--save_strategy", "epoch")...)
	require.NoError(t, err)
	require.Equal(t, []int{5, 2, 0}, []int{p.Every.Steps, p.Every.Save, p.HeldOut.Every}, "6 rows, 4 a rollout")

	texts := write(t, t.TempDir(), "texts.jsonl", strings.Repeat(`{"text":"one and two"}`+"\n", 5))
	q, err := sft(t, m, texts, "--per_device_train_batch_size", "2", "--save_strategy", "epoch", "--eval_strategy", "steps", "--eval_steps", "7")
	require.NoError(t, err)
	require.Equal(t, []int{8, 3, 7}, []int{q.Every.Steps, q.Every.Save, q.Eval})

	for want, flags := range map[string][]string{
		`save_strategy is "best", want steps, epoch or no`: {"--save_strategy", "best"},
		`eval_strategy is "never"`:                         {"--eval_strategy", "never"},
		"save_steps is 0, want at least 1":                 {"--save_steps", "0"},
		"ref_model_sync_steps is 0":                        {"--beta", "0.1", "--sync_ref_model", "--ref_model_sync_steps", "0"},
		"num_iterations is 0":                              {"--num_iterations", "0"},
	} {
		_, err := grpo(t, m, data, flags...)
		require.ErrorContains(t, err, want)
	}
	_, err = sft(t, "model.gguf", texts)
	require.ErrorContains(t, err, "r1 convert model.gguf DIR makes one")
	_, err = sft(t, m, texts, "--save_strategy", "best")
	require.ErrorContains(t, err, `save_strategy is "best"`)
}

// A run is a function of its data: whatever of it a reward reads or a token is made of, a changed file is another configuration.
func TestDataIsConfiguration(t *testing.T) {
	m, data := textModel(t), six(t)
	config := func() any {
		p, err := grpo(t, m, data)
		require.NoError(t, err)
		return p.Config
	}
	first := config()
	require.Equal(t, first, config())
	text, err := os.ReadFile(data)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(data, []byte(strings.Replace(string(text), `"tests":"a"`, `"tests":"b"`, 1)), 0o644))
	require.NotEqual(t, first, config(), "what a code reward runs has changed")

	weights := filepath.Join(m, "model.safetensors")
	first = config()
	raw, err := os.ReadFile(weights)
	require.NoError(t, err)
	raw[len(raw)-1] ^= 1
	require.NoError(t, os.WriteFile(weights, raw, 0o644))
	require.NotEqual(t, first, config(), "the model is another one: a branch of the hub that has moved")

	texts := write(t, t.TempDir(), "texts.jsonl", `{"text":"one and two"}`+"\n"+`{"text":"two"}`+"\n")
	p, err := sft(t, m, texts)
	require.NoError(t, err)
	write(t, filepath.Dir(texts), "texts.jsonl", `{"text":"two"}`+"\n"+`{"text":"one and two"}`+"\n")
	q, err := sft(t, m, texts)
	require.NoError(t, err)
	require.Equal(t, p.Tokens, q.Tokens)
	require.NotEqual(t, p.Config, q.Config)
}

// What is measured is held out: a file alone has no other split, and a broken one is not passed over.
func TestHeldOut(t *testing.T) {
	m, data := textModel(t), six(t)
	p, err := grpo(t, m, data, "--dataset_test_split", "test")
	require.NoError(t, err)
	require.Empty(t, p.HeldOut.Problems, "these are the rows it trains on")
	require.Contains(t, strings.Join(p.Notes, "\n"), "nothing is held out")
	p, err = grpo(t, m, data, "--dataset_test_split", "test", "--eval_dataset_name", data)
	require.NoError(t, err)
	require.Len(t, p.HeldOut.Problems, 6, "who asks for it gets it")

	folder := t.TempDir()
	write(t, folder, "train.jsonl", `{"prompt":"one","answer":"1"}`)
	p, err = grpo(t, m, folder, "--dataset_test_split", "test")
	require.NoError(t, err)
	require.Contains(t, strings.Join(p.Notes, "\n"), `has no split "test"; it has train`)
	write(t, folder, "train.jsonl", `{"text":"one and two"}`)
	q, err := sft(t, m, filepath.Join(folder, "train.jsonl"))
	require.NoError(t, err)
	require.Empty(t, q.HeldOut)
	q, err = sft(t, m, folder)
	require.NoError(t, err)
	require.Contains(t, strings.Join(q.Notes, "\n"), `has no split "test"; it has train`)

	write(t, folder, "test.jsonl", `{"prompt":"one","answer`)
	_, err = sft(t, m, folder)
	require.ErrorContains(t, err, "test.jsonl:1")
	write(t, folder, "train.jsonl", `{"prompt":"one","answer":"1"}`)
	_, err = grpo(t, m, folder, "--dataset_test_split", "test")
	require.ErrorContains(t, err, "test.jsonl:1")
}

// A chat template's file renders the conversations, and goes with the model that has learnt it.
func TestTemplatePath(t *testing.T) {
	m, rows := textModel(t), write(t, t.TempDir(), "rows.jsonl", `{"messages":[{"role":"user","content":"one"}]}`)
	template := write(t, t.TempDir(), "mine.jinja", "two {{ messages[0].content }} three")
	p, err := sft(t, m, rows, "--chat_template_path", template)
	require.NoError(t, err)
	require.Equal(t, 1, p.Rows)
	dir := t.TempDir()
	for _, part := range p.Parts {
		require.NoError(t, part.Save(dir))
	}
	text, err := os.ReadFile(filepath.Join(dir, "chat_template.jinja"))
	require.NoError(t, err)
	require.Equal(t, "two {{ messages[0].content }} three", string(text))
	require.FileExists(t, filepath.Join(dir, "tokenizer.json"))
	_, err = sft(t, m, rows)
	require.ErrorContains(t, err, "no chat template")
}

// Python's False scales nothing, as none does.
func TestScaleRewards(t *testing.T) {
	m, data := textModel(t), six(t)
	for value, want := range map[string]any{"False": gor1grpo.Unscaled, "none": gor1grpo.Unscaled, "True": gor1grpo.PerGroup, "batch": gor1grpo.PerBatch} {
		p, err := grpo(t, m, data, "--scale_rewards", value)
		require.NoError(t, err)
		require.Equal(t, want, p.Train.Scale.By, value)
	}
	_, err := grpo(t, m, data, "--scale_rewards", "each")
	require.ErrorContains(t, err, `scale_rewards is "each"`)
}

// Every flag of the objective and the sampler reaches what it is about.
func TestFlagsHaveEffect(t *testing.T) {
	m, data := textModel(t), six(t)
	for name, c := range map[string]struct {
		flags []string
		got   func(p *recipe.Prepared) any
		want  any
	}{
		"truncated draws":  {[]string{"--top_p", "0.5", "--top_k", "7", "--min_p", "0.25"}, func(p *recipe.Prepared) any { return p.Sample.Truncation }, kernels.Truncation{TopK: 7, TopP: 0.5, MinP: 0.25}},
		"whole draws":      {nil, func(p *recipe.Prepared) any { return p.Sample.Truncation.Nothing() }, true},
		"draws":            {[]string{"--temperature", "0.5", "--seed", "9"}, func(p *recipe.Prepared) any { return []any{p.Sample.Temperature, p.Sample.Seed, p.Sample.MaxTokens} }, []any{float32(0.5), uint64(9), 8}},
		"cut completions":  {[]string{"--mask_truncated_completions"}, func(p *recipe.Prepared) any { return p.Train.MaskTruncated }, true},
		"KL in the reward": {[]string{"--beta", "0.1", "--kl_in_reward"}, func(p *recipe.Prepared) any { return p.Train.KL }, gor1grpo.KLConfig{InReward: true}},
		"exact KL":         {[]string{"--beta", "0.1", "--kl_estimator", "exact"}, func(p *recipe.Prepared) any { return p.Train.KL }, gor1grpo.KLConfig{Exact: true}},
		"adaptive KL":      {[]string{"--beta", "0.1", "--kl_target", "2", "--kl_horizon", "9"}, func(p *recipe.Prepared) any { return *p.Train.Adapt.KL }, gor1grpo.KLControl{Target: 2, Horizon: 9}},
		"renewed reference": {[]string{"--beta", "0.1", "--sync_ref_model", "--ref_model_sync_steps", "3", "--ref_model_mixup_alpha", "0.5"}, func(p *recipe.Prepared) any {
			return []any{p.Renew.Every, p.Renew.Share, any(p.Renew.Ref) == any(p.Ref)}
		}, []any{3, 0.5, true}},
		"no reference": {[]string{"--sync_ref_model"}, func(p *recipe.Prepared) any { return p.Ref == nil }, true},
		"clip range": {[]string{"--epsilon", "0.1", "--epsilon_high", "0.3", "--delta", "2"}, func(p *recipe.Prepared) any {
			return []float32{p.Train.Loss.EpsilonLow, p.Train.Loss.EpsilonHigh, p.Train.Loss.Delta}
		}, []float32{0.1, 0.3, 2}},
		"one clip range": {[]string{"--epsilon", "0.1"}, func(p *recipe.Prepared) any {
			return []float32{p.Train.Loss.EpsilonLow, p.Train.Loss.EpsilonHigh, p.Train.Loss.Delta}
		}, []float32{0.1, 0.1, 0}},
		"entropy":        {[]string{"--entropy_coef", "0.01", "--use_adaptive_entropy", "--entropy_target", "0.4"}, func(p *recipe.Prepared) any { return []any{p.Train.Loss.Entropy, p.Train.Adapt.Entropy.Target} }, []any{float32(0.01), 0.4}},
		"tokens":         {[]string{"--top_entropy_quantile", "0.2"}, func(p *recipe.Prepared) any { return p.Train.FirstPass.Weigh != nil }, true},
		"sequence level": {[]string{"--importance_sampling_level", "sequence", "--off_policy_mask_threshold", "1"}, func(p *recipe.Prepared) any { return p.Train.Loss.Ratio != nil && p.Train.Loss.Mask != nil }, true},
		"batch": {[]string{"--num_generations", "2", "--per_device_train_batch_size", "2", "--gradient_accumulation_steps", "2", "--steps_per_generation", "4", "--num_iterations", "3", "--dynamic_sampling", "5", "--replay_groups", "1"},
			func(p *recipe.Prepared) any {
				return []any{p.Batch.Prompts, p.Batch.Samples, p.Batch.Refill, p.Batch.Replay, p.Train.MiniBatches, p.Train.Epochs}
			}, []any{4, 2, 5, 1, 2, 3}},
		"difficulty":  {[]string{"--skip_accuracy_low", "0.1", "--skip_accuracy_high", "0.9", "--skip_epochs", "2"}, func(p *recipe.Prepared) any { return []any{p.Batch.Skip.Low, p.Batch.Skip.High, p.Batch.Skip.Again} }, []any{0.1, 0.9, 2}},
		"tripwires":   {[]string{"--tripwire_steps", "5"}, func(p *recipe.Prepared) any { return []int{p.Tripwires.Every, p.Tripwires.Problems} }, []int{5, 32}},
		"curriculum":  {[]string{"--curriculum_column", "level"}, func(p *recipe.Prepared) any { return prompts(p) }, "one two three four five six"},
		"file order":  {[]string{"--shuffle_dataset=false"}, func(p *recipe.Prepared) any { return prompts(p) }, "six five four three two one"},
		"checkpoints": {[]string{"--save_total_limit", "2", "--log_completions=false"}, func(p *recipe.Prepared) any { return []int{p.Every.Keep, p.Every.Rollouts} }, []int{2, 0}},
		"optimiser": {[]string{"--learning_rate", "1e-3", "--weight_decay", "0.1", "--max_grad_norm", "2", "--adam_beta2", "0.9"}, func(p *recipe.Prepared) any {
			return []float64{p.Train.LearningRate, p.Train.Optim.Decay, p.Train.Optim.MaxNorm, p.Train.Optim.Beta2}
		}, []float64{1e-3, 0.1, 2, 0.9}},
		"schedule": {[]string{"--max_steps", "10", "--warmup_steps", "0.2", "--lr_scheduler_type", "linear"}, func(p *recipe.Prepared) any {
			return []float64{p.Train.Schedule(1), p.Train.Schedule(6), p.Train.Schedule(10)}
		}, []float64{0.5, 0.5, 0}},
		"measure": {[]string{"--eval_dataset_name", data, "--eval_rows", "2", "--eval_samples", "3", "--eval_temperature", "0.5", "--eval_strategy", "steps", "--eval_steps", "4"},
			func(p *recipe.Prepared) any {
				return []any{len(p.HeldOut.Problems), p.HeldOut.Samples, p.HeldOut.Temperature, p.HeldOut.Every}
			}, []any{2, 3, float32(0.5), 4}},
		"long prompts": {[]string{"--max_prompt_length", "3"}, func(p *recipe.Prepared) any {
			return p.Problems.Len() < 6 && strings.Contains(strings.Join(p.Notes, " "), "longer than 3 tokens")
		}, true},
	} {
		p, err := grpo(t, m, data, c.flags...)
		require.NoError(t, err, name)
		require.Equal(t, c.want, c.got(p), name)
	}
}

// An address with a password in it would be in every checkpoint.
func TestPasswordRefused(t *testing.T) {
	m, data := textModel(t), six(t)
	for key, flags := range map[string][]string{
		"judge_url":  {"--reward_funcs", "llm_judge", "--judge_model", "x", "--judge_url", "https://me:secret@localhost/v1"},
		"reward_url": {"--reward_funcs", "http", "--reward_url", "http://:secret@localhost/"},
	} {
		_, err := grpo(t, m, data, flags...)
		require.ErrorContains(t, err, key+" holds a user or password")
		require.NotContains(t, err.Error(), "secret")
	}
}

// What is held out is scored by what tells right from wrong.
func TestHeldOutScore(t *testing.T) {
	m, data := textModel(t), six(t)
	for names, want := range map[string]string{"format,accuracy": "accuracy", "format": "accuracy", "code,binary_code": "code", "binary_code,accuracy": "accuracy"} {
		p, err := grpo(t, m, data, "--reward_funcs", names, "--unsafe_code_exec", "--eval_dataset_name", data)
		require.NoError(t, err)
		r := reward.Evaluate(context.Background(), p.HeldOut.Score, reward.Sample{Problem: p.HeldOut.Problems[0]})
		require.Equal(t, want, r.Parts[0].Name, names)
	}
	_, err := grpo(t, m, data, "--eval_dataset_name", data, "--eval_samples", "4")
	require.ErrorContains(t, err, "greedy completions of a prompt are all the same")
}

// A column routes rows to the rewards that can judge them; what no rule can tell right from wrong is not measured. Functions that judge alone and
// functions that compare are routed alike.
func TestRewardRoutes(t *testing.T) {
	m := textModel(t)
	rows := `{"prompt":"two","answer":"2","scenario":"reasoning"}` + "\n" + `{"prompt":"hello","answer":"","scenario":"general"}` + "\n"
	train := write(t, t.TempDir(), "train.jsonl", rows)
	scorer := scoreModel(t)
	routes := []string{
		"--reward_funcs", "accuracy,format,reward_model,safety_model", "--reward_weights", "1,0.5,2,3", "--reward_model_path", scorer, "--safety_model_path", scorer, "--eval_dataset_name", train,
		"--reward_route_column", "scenario", "--reward_routes", `{"reasoning":["accuracy","length"],"general":["reward_model","safety_model"]}`,
	}
	_, err := grpo(t, m, train, routes...)
	require.ErrorContains(t, err, `"reasoning" has length, which is not among reward_funcs`)
	routes[len(routes)-1] = strings.Replace(routes[len(routes)-1], `"length"`, `"format_reward"`, 1) // another name of format
	p, err := grpo(t, m, train, routes...)
	require.NoError(t, err)
	require.Len(t, p.HeldOut.Problems, 1)
	require.Contains(t, strings.Join(p.Notes, "\n"), "1 of 2 held-out rows are judged by no rule")
	names := func(prompt string) string {
		for i := range p.Problems.Len() {
			q, _ := p.Problems.At(uint64(i))
			if q.Prompt != prompt {
				continue
			}
			group := []reward.Sample{{Problem: q, Completion: "<think>so</think><answer>2</answer>"}, {Problem: q, Completion: "<think>well</think><answer>3 and more</answer>"}}
			one := reward.Evaluate(context.Background(), p.Score, group[0])
			var parts []string
			for _, part := range one.Parts {
				parts = append(parts, part.Name)
			}
			for _, part := range reward.EvaluateGroup(context.Background(), p.Compare, group)[0].Parts {
				parts = append(parts, part.Name)
			}
			return strings.Join(parts, " ")
		}
		return ""
	}
	mixed := write(t, t.TempDir(), "train.jsonl", strings.Replace(rows, `"general"`, `"code"`, 1))
	q, err := grpo(t, m, mixed, "--reward_funcs", "accuracy,binary_code", "--unsafe_code_exec", "--eval_dataset_name", mixed, "--reward_route_column", "scenario", "--reward_routes", `{"reasoning":["accuracy"],"code":["binary_code"]}`)
	require.NoError(t, err)
	require.Len(t, q.HeldOut.Problems, 2)
	for i, want := range []string{"accuracy", "binary_code"} {
		require.Equal(t, want, reward.Evaluate(context.Background(), q.HeldOut.Score, reward.Sample{Problem: q.HeldOut.Problems[i]}).Parts[0].Name, "each by its own rule")
	}
	q, err = grpo(t, m, train, "--reward_funcs", "length,reward_model", "--reward_model_path", scorer, "--eval_dataset_name", train, "--reward_route_column", "scenario", "--reward_routes", `{"reasoning":["length"],"general":["reward_model"]}`)
	require.NoError(t, err)
	require.Len(t, q.HeldOut.Problems, 2, "no rule among the rewards: mathematics, as without routes")
	require.Equal(t, "accuracy format", names("two"))
	require.Equal(t, "reward_model safety_model", names("hello"))

	for want, change := range map[string][]string{
		"go together":                   {"--reward_route_column", ""},
		"safety_model judges no row":    {"--reward_routes", `{"reasoning":["accuracy","format"],"general":["reward_model"]}`},
		`"general" is reward_model`:     {"--reward_routes", `{"reasoning":["accuracy","format"],"general":"reward_model"}`},
		"train.jsonl:2: the column":     {"--reward_routes", `{"reasoning":["accuracy","format","reward_model","safety_model"]}`},
		"train.jsonl:1: the column":     {"--reward_route_column", "domain"},
		"safety_model_path: the folder": {"--safety_model_path", ""},
	} {
		_, err := grpo(t, m, train, append(routes, change...)...)
		require.ErrorContains(t, err, want)
	}
}

// A curriculum is read from CSV, too, where a number is text.
func TestCurriculumOfCSV(t *testing.T) {
	m := textModel(t)
	p, err := grpo(t, m, write(t, t.TempDir(), "rows.csv", "prompt,answer,level\nten,10,10\ntwo,2,2.5\n"), "--curriculum_column", "level")
	require.NoError(t, err)
	require.Equal(t, "two ten", prompts(p))
	_, err = grpo(t, m, write(t, t.TempDir(), "rows.csv", "prompt,answer,level\nten,10,hard\n"), "--curriculum_column", "level")
	require.ErrorContains(t, err, "curriculum_column level is hard, want a number")
}

// A judge's budget is the run's: what was spent before a stop is in the checkpoint.
func TestJudgeBudgetIsTheRuns(t *testing.T) {
	m, data := textModel(t), six(t)
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked++
		fmt.Fprint(w, `{"choices":[{"finish_reason":"stop","message":{"content":"{\"analysis\":\"\",\"correctness\":\"correct\"}"}}]}`)
	}))
	defer server.Close()
	dir := t.TempDir()
	for process := range 2 {
		p, err := grpo(t, m, data, "--reward_funcs", "llm_judge", "--judge_model", "x", "--judge_url", server.URL, "--judge_budget", "3")
		require.NoError(t, err)
		if process > 0 {
			for _, part := range p.Parts {
				require.NoError(t, part.Restore(dir))
			}
		}
		for range 2 {
			reward.Evaluate(context.Background(), p.Score, reward.Sample{Problem: reward.Problem{Prompt: "2?", Answer: "2"}, Completion: "<think>so</think><answer>2</answer>"})
		}
		for _, part := range p.Parts {
			require.NoError(t, part.Save(dir))
		}
	}
	require.Equal(t, 3, asked)
}

// prompts are those of an epoch in its order.
func prompts(p *recipe.Prepared) string {
	var all []string
	for i := range p.Problems.Len() {
		q, _ := p.Problems.At(uint64(i))
		all = append(all, q.Prompt)
	}
	return strings.Join(all, " ")
}
