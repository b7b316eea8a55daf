package recipe_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/pipeline/recipe"
)

func bound() (*recipe.GRPO, *pflag.FlagSet) {
	g := recipe.NewGRPO()
	fs := pflag.NewFlagSet("grpo", pflag.ContinueOnError)
	fs.SetNormalizeFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		return pflag.NormalizedName(strings.ReplaceAll(name, "_", "-"))
	})
	recipe.Bind(fs, g)
	return g, fs
}

func file(t *testing.T, text string) string {
	path := filepath.Join(t.TempDir(), "recipe.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	return path
}

// Every key of TRL's GRPO is ours, ignored with a reason, or refused with one; none is two of these.
func TestEveryTRLKey(t *testing.T) {
	text, err := os.ReadFile("testdata/trl_keys.json")
	require.NoError(t, err)
	var file struct{ Keys map[string][]string }
	require.NoError(t, json.Unmarshal(text, &file))
	_, fs := bound()
	texts := pflag.NewFlagSet("sft", pflag.ContinueOnError)
	texts.SetNormalizeFunc(fs.GetNormalizeFunc())
	recipe.Bind(texts, recipe.NewSFT())
	students := pflag.NewFlagSet("distill", pflag.ContinueOnError)
	students.SetNormalizeFunc(fs.GetNormalizeFunc())
	recipe.Bind(students, recipe.NewDistill())
	n := 0
	for config, keys := range file.Keys {
		fs, foreign := fs, recipe.TRL
		if config == "DistillationConfig" || config == "GKDConfig" {
			fs, foreign = students, recipe.TRLDistill
		}
		if config == "SFTConfig" || config == "ScriptArguments" {
			fs, foreign = texts, recipe.TRLSFT
		}
		for _, k := range keys {
			_, ignored := foreign.Ignored[k]
			_, refused := foreign.Refused[k]
			known := 0
			for _, is := range []bool{fs.Lookup(k) != nil, ignored, refused} {
				if is {
					known++
				}
			}
			require.Equal(t, 1, known, "%s %s: flag %v, ignored %v, refused %v", config, k, fs.Lookup(k) != nil, ignored, refused)
			n++
		}
	}
	require.Greater(t, n, 200)
	for k, why := range recipe.TRL.Refused {
		require.NotEmpty(t, why, k)
	}
}

// Whole configurations as TRL writes them, every key at its default but bf16 and report_to, are read: nothing in them asks for other mathematics.
func TestTRLDefaults(t *testing.T) {
	for name, c := range map[string]struct {
		recipe  any
		foreign recipe.Foreign
	}{"grpo": {recipe.NewGRPO(), recipe.TRL}, "sft": {recipe.NewSFT(), recipe.TRLSFT}, "gkd": {recipe.NewDistill(), recipe.TRLDistill}} {
		fs := pflag.NewFlagSet(name, pflag.ContinueOnError)
		fs.SetNormalizeFunc(dashes)
		recipe.Bind(fs, c.recipe)
		ignored, err := recipe.Read("testdata/trl_"+name+"_defaults.yaml", fs, c.foreign)
		require.NoError(t, err)
		require.NotEmpty(t, ignored)
		set := 0
		fs.VisitAll(func(f *pflag.Flag) {
			if f.Changed {
				set++
			}
		})
		require.Greater(t, set, 25, name)
		if g, ok := c.recipe.(*recipe.GRPO); ok {
			require.NoError(t, g.Complete(fs))
		}
	}
}

// A file sets what the flags do not; what it ignores is told, and so is everything wrong with it at once.
func TestRead(t *testing.T) {
	g, fs := bound()
	require.NoError(t, fs.Parse([]string{"--learning_rate", "2e-6", "--num-generations=4"}))
	ignored, err := recipe.Read(file(t, `
learning_rate: 1.0e-05      # the flag wins
lr_scheduler_type: cosine_with_min_lr
lr_scheduler_kwargs: {min_lr_rate: 0.1}
bf16: true
tf32: true
use_vllm: true
reward_funcs: [accuracy, format, tag_count]
reward_weights:
- 1.0
- 0.5
- 0.25
epsilon_high: 0.28
beta: 1e-3
save_total_limit: null
repetition_penalty: 1.0
system_prompt: |
  Think first.
`), fs, recipe.TRL)
	require.NoError(t, err)
	require.Len(t, ignored, 2)
	require.Contains(t, strings.Join(ignored, "\n"), "tf32: computed in fp32")
	require.True(t, g.BF16)
	require.Equal(t, 2e-6, g.LearningRate)
	require.Equal(t, 4, g.Samples)
	require.Equal(t, []string{"accuracy", "format", "tag_count"}, g.Funcs)
	require.Equal(t, []float64{1, 0.5, 0.25}, g.Weights)
	require.Equal(t, 0.28, *g.EpsilonHigh)
	require.Equal(t, 0.001, g.Beta)
	require.Nil(t, g.SaveLimit)
	require.Equal(t, map[string]any{"min_lr_rate": 0.1}, g.SchedulerArg)
	require.Equal(t, "Think first.\n", g.System)

	_, fs = bound()
	_, err = recipe.Read(file(t, "learning_rat: 1\nrepetition_penalty: 1.1\nnum_generations: many\nbeta: [1]\nseed: 1\nseed: 2\n"), fs, recipe.TRL)
	for _, want := range []string{
		":1: learning_rat is unknown; did you mean learning_rate?", ":2: repetition_penalty is \"1.1\", which this library does not do: the sampler would not be the policy",
		`:3: num_generations: "many" is not an integer`, ":4: beta: is a list, want one number", ":6: seed was given on line 5 already",
	} {
		require.ErrorContains(t, err, want)
	}
	for text, want := range map[string]string{"": "is empty", "- a": "want keys and values", "a: [": "did not find"} {
		_, fs = bound()
		_, err = recipe.Read(file(t, text), fs, recipe.TRL)
		require.ErrorContains(t, err, want, text)
	}
}

// A null is TRL's None where that means something, Python's True and False are read, another optimiser is refused, and the command's own
// flags are no keys.
func TestReadAsTRL(t *testing.T) {
	g, fs := bound()
	ignored, err := recipe.Read(file(t, "scale_rewards: False\noptim: adamw_torch_fused\neval_steps: null\n"), fs, recipe.TRL)
	require.NoError(t, err)
	require.Empty(t, ignored)
	require.Equal(t, []any{"False", 500}, []any{g.ScaleRewards, g.EvalSteps})

	s := recipe.NewSFT()
	texts := pflag.NewFlagSet("sft", pflag.ContinueOnError)
	recipe.Bind(texts, s)
	_, err = recipe.Read(file(t, "max_length: null\n"), texts, recipe.TRLSFT)
	require.NoError(t, err)
	require.Zero(t, s.Length, "no limit")

	_, fs = bound()
	fs.String("config", "", "")
	_, err = recipe.Read(file(t, "config: other.yaml\noptim: adafactor\n"), fs, recipe.TRL)
	require.ErrorContains(t, err, ":1: config is unknown")
	require.ErrorContains(t, err, `:2: optim is "adafactor", which this library does not do: the optimiser is AdamW`)
}

// What Write writes, Read reads: a run's config.yaml makes the same run.
func TestWriteRead(t *testing.T) {
	g, _ := bound()
	low := 0.05
	g.MinP, g.Funcs, g.SchedulerArg, g.System = &low, []string{"accuracy"}, map[string]any{"min_lr": 1e-7}, "say: \"hi\"\n- x"
	var b bytes.Buffer
	require.NoError(t, recipe.Write(&b, g))
	h, fs := bound()
	_, err := recipe.Read(file(t, b.String()), fs, recipe.TRL)
	require.NoError(t, err)
	require.Equal(t, g, h)
	require.Equal(t, recipe.Values(g), recipe.Values(h))
	require.NotContains(t, recipe.Values(g), "threads", "where a run is computed is not what it is")
}

// A preset sets what neither the flags nor the file did.
func TestPreset(t *testing.T) {
	g, fs := bound()
	require.NoError(t, fs.Parse([]string{"--beta", "0.04", "--preset", "r1zero"}))
	_, err := recipe.Read(file(t, "num_generations: 8\n"), fs, recipe.TRL)
	require.NoError(t, err)
	require.NoError(t, g.Complete(fs))
	require.Equal(t, []any{0.04, 8, 3e-6, 10.0, "grpo", true, 400}, []any{g.Beta, g.Samples, g.LearningRate, g.Objective.Epsilon, g.Loss, g.SyncRef, g.SyncSteps})
	g.Preset = "r2"
	require.ErrorContains(t, g.Complete(fs), `preset is "r2"`)
}

func ExampleRead() {
	g := recipe.NewGRPO()
	fs := pflag.NewFlagSet("grpo", pflag.ContinueOnError)
	recipe.Bind(fs, g)
	dir, _ := os.MkdirTemp("", "recipe")
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "recipe.yaml")
	_ = os.WriteFile(path, []byte("num_generations: 16\nuse_vllm: true\n"), 0o644)
	ignored, err := recipe.Read(path, fs, recipe.TRL)
	fmt.Println(g.Samples, ignored, err)
	// Output: 16 [use_vllm: completions come from the trainer's own weights and kernels, in this process] <nil>
}
