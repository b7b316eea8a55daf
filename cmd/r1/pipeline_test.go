package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/pipeline"
)

// lineFile is a recipe of every kind of stage on a small model, in R1's lineage.
func lineFile(t *testing.T) (path, out string) {
	dir, model := t.TempDir(), textModel(t)
	config := filepath.Join(model, "config.json") // every fourth id ends a text: completions of a model that knows nothing end
	written, err := os.ReadFile(config)
	require.NoError(t, err)
	var fields map[string]any
	require.NoError(t, json.Unmarshal(written, &fields))
	var ends []int
	for id := 0; id < int(fields["vocab_size"].(float64)); id += 4 {
		ends = append(ends, id)
	}
	fields["eos_token_id"] = ends
	written, err = json.Marshal(fields)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(config, written, 0o644))
	texts := filepath.Join(dir, "texts.jsonl")
	require.NoError(t, os.WriteFile(texts, []byte(`{"prompt":"one and one","completion":" two","domain":"sums"}`+"\n"+`{"prompt":"who","completion":" me","domain":"self"}`+"\n"), 0o644))
	out, path = filepath.Join(dir, "out"), filepath.Join(dir, "recipe.yaml")
	text := fmt.Sprintf(`output_dir: %[1]s
model_name_or_path: %[2]s
eval: {dataset_name: %[3]s, max_completion_length: 4, prompt_template: none, max_prompt_length: 30}
stages:
  - {name: cold, kind: sft, from: base, config: {dataset_name: %[4]s, max_steps: 2, learning_rate: 1e-3}}
  - name: rl
    kind: grpo
    from: cold
    until: converged
    gate: {accuracy: 0}
    config: {dataset_name: %[3]s, max_prompt_length: 30, prompt_template: none, reward_funcs: [repetition_penalty], repetition_n_grams: 1, num_generations: 4, per_device_train_batch_size: 8, max_completion_length: 6, max_steps: 9, eval_strategy: steps, eval_steps: 1, beta: 0.01}
  - {name: traces, kind: sample, from: rl@best, config: {dataset_name: %[3]s, max_prompt_length: 30, prompt_template: none, reward_funcs: [repetition_penalty], repetition_n_grams: 1, num_generations: 8, max_completion_length: 30, keep_reward: -1, keep: shortest}}
  - {name: merged, kind: merge, config: {sources: ["@traces=1", "%[4]s=2"], rows: 12}}
  - {name: second, kind: sft, from: base, config: {dataset_name: "@merged", max_steps: 2, learning_rate: 1e-3}}
  - {name: student, kind: distill, config: {model_name_or_path: %[2]s, dataset_name: "@traces", max_steps: 2}}
  - {name: taught, kind: distill, from: base, config: {mode: logits, teacher_model_name_or_path: "@second", dataset_name: %[4]s, max_completion_length: 4, max_steps: 2}}
  - {name: last, kind: eval, from: student, config: {dataset_name: %[3]s, max_completion_length: 4, prompt_template: none, max_prompt_length: 30}}
`, out, model, problems(t), texts)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	return path, out
}

// A recipe runs whole, is planned without being run, is not done twice, and is done again from a stage on with the same hashes.
func TestPipeline(t *testing.T) {
	path, out := lineFile(t)
	code, stdout, stderr := call("pipeline", "run", path, "--dry-run", "--json")
	require.Zero(t, code, stderr)
	require.NoDirExists(t, out)
	var plan []planLine
	for line := range strings.Lines(stdout) {
		var p planLine
		require.NoError(t, json.Unmarshal([]byte(line), &p))
		plan = append(plan, p)
	}
	require.Len(t, plan, 8)
	require.Equal(t, "[rl@best]", plan[2].From)
	require.Equal(t, "[base traces]", plan[3].From)
	require.Equal(t, "[traces]", plan[5].From, "a student has a model of its own")
	require.Positive(t, plan[1].Megabytes)
	require.Positive(t, plan[1].Seconds)

	code, _, stderr = call("pipeline", "run", path, "--json")
	require.Zero(t, code, stderr)
	ledger, err := pipeline.ReadLedger(out)
	require.NoError(t, err)
	require.Equal(t, "[base second]", plan[6].From, "the student and its teacher")
	require.Len(t, ledger, 9)
	require.Equal(t, 4.0, ledger[2].Output.Scores["steps"], "nothing is ever right: converged after the first measurement and three more")
	require.Contains(t, ledger[4].Output.Scores, "tokens: self")
	require.Equal(t, ledger[0].Output.Last, ledger[5].Inputs[0], "the second SFT starts from the base again")
	require.FileExists(t, filepath.Join(out, "08-last", "eval.json"))
	page, err := os.ReadFile(filepath.Join(out, "report.html"))
	require.NoError(t, err)
	require.Contains(t, string(page), "<svg")

	code, _, stderr = call("pipeline", "run", path, "--from", "second")
	require.Zero(t, code, stderr)
	again, err := pipeline.ReadLedger(out)
	require.NoError(t, err)
	for i := range ledger {
		require.Equal(t, ledger[i].Hash, again[i].Hash, ledger[i].Stage)
	}
	code, stdout, _ = call("pipeline", "run", path, "--dry-run", "--json", "--from", "second")
	require.Zero(t, code)
	require.Equal(t, 4, strings.Count(stdout, `"done":true`), stdout)
}

func TestPipelineErrors(t *testing.T) {
	path, out := lineFile(t)
	whole, err := os.ReadFile(path)
	require.NoError(t, err)
	for _, c := range []struct {
		from, to, want string
		code           int
	}{
		{"kind: sft, from: base", "kind: sfd, from: base", `stage 1, "cold": kind is "sfd", want one of distill, eval, grpo, merge, sample, sft`, 1},
		{"until: converged", "until: done", `until is "done"`, 1},
		{"from: cold", "from: warm", `takes the output of "warm", which is no stage before it`, 1},
		{"max_steps: 9", "max_stepz: 9", "max_stepz is unknown; did you mean max_steps?", 1},
		{"keep: shortest", "keep: best", `keep is "best"`, 1},
		{"gate: {accuracy: 0}", "gate: {accuracy: 2}", "stage rl: the gate refused the stage's output: accuracy is 0, want at least 2; change the stage, or its gate, and do it again with --from rl", 1},
		{"output_dir", "output_dirs", "field output_dirs not found", 2},
		{"stages:", "stage:", "field stage not found", 2},
	} {
		text := strings.Replace(string(whole), c.from, c.to, 1)
		require.NotEqual(t, string(whole), text, c.from)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
		code, _, stderr := call("pipeline", "run", path)
		require.Equal(t, c.code, code, stderr)
		require.Contains(t, stderr, c.want)
		require.NoError(t, os.RemoveAll(out))
	}
	code, _, stderr := call("pipeline", "run")
	require.Equal(t, 2, code)
	require.Contains(t, stderr, "want one recipe")
}
