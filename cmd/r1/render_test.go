package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

const turn = `{"messages":[{"role":"user","content":"é <b>"},{"role":"assistant","content":"ü"}],"eos_token":"</s>"}`

func writeFile(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// r1 render writes a text with byte spans or an error for every line, in order.
func TestRender(t *testing.T) {
	file := writeFile(t, t.TempDir(), "x.jinja", "{% for m in messages %}{% if m.role not in ['user', 'assistant'] %}{{ raise_exception('bad role: ' + m.role) }}{% endif %}"+
		"{% if m.role == 'assistant' %}{% generation %}{{ m.content + eos_token }}{% endgeneration %}{% else %}{{ m.content }}|{% endif %}{% endfor %}")
	in := turn + "\n" + `{"messages":[{"role":"critic","content":""}]}` + "\n" + turn[:20] + "\n" + turn + "\n"
	want := `{"text":"é <b>|ü</s>","spans":[[7,13]]}`
	lines := feed(t, in, "render", "--template", file)
	require.Len(t, lines, 4)
	require.Equal(t, []string{want, `{"error":"bad role: critic"}`}, lines[:2])
	require.Contains(t, lines[2], `{"error":"chat: variables: `)
	require.Equal(t, want, lines[3])
	require.Equal(t, lines, feed(t, "", "render", "--template", file, "--input", writeFile(t, t.TempDir(), "in.jsonl", in)))

	bad := writeFile(t, t.TempDir(), "bad.jinja", "{{ 1 }}\n{% if %}")
	require.Equal(t, []string{`{"error":"line 2: TemplateSyntaxError: Expected an expression, got 'end of statement block'"}`}, feed(t, turn, "render", "--template", bad))
}

// A model folder brings its special tokens.
func TestRenderModel(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, dir, "tokenizer_config.json", `{"bos_token":{"__type":"AddedToken","content":"<s>"},"chat_template":"{{ bos_token }}{{ messages[0].content }}"}`)
	require.Equal(t, []string{`{"text":"<s>é <b>","spans":[]}`}, feed(t, turn, "render", "--model", dir))
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"render"}, 2, "want one of --model and --template"},
		{[]string{"render", "--model", dir, "--template", "x"}, 2, "want one of --model and --template"},
		{[]string{"render", "--template", "nowhere.jinja"}, 1, "nowhere.jinja"},
		{[]string{"render", "--model", t.TempDir()}, 1, "no chat template"},
		{[]string{"render", "--model", dir, "--input", "nowhere.jsonl"}, 1, "nowhere.jsonl"},
	} {
		code, stdout, stderr := callWith("", c.args...)
		require.Equal(t, c.code, code, "%v: %s", c.args, stderr)
		require.Contains(t, stderr, c.says)
		require.Empty(t, stdout)
	}
}

// A prompt is a message where the model has a template, unless --raw; reasoning and answer come apart.
func TestGenerateChat(t *testing.T) {
	dir := textModel(t)
	args := []string{"generate", "--model", dir, "-p", "Hello", "--max-tokens", "12", "--temperature", "1", "--seed", "5", "--json"}
	type output struct {
		Text, Reasoning, Answer string
		Tokens                  []int32
		Closed                  bool
	}
	run := func(args ...string) (o output) {
		require.NoError(t, json.Unmarshal([]byte(feed(t, "", args...)[0]), &o))
		return o
	}
	plain := run(args...)
	require.Equal(t, output{Text: plain.Text, Answer: plain.Text, Tokens: plain.Tokens}, plain)

	writeFile(t, dir, "chat_template.jinja", "{{ messages[0].role }}: {{ messages[0].content }}{% if add_generation_prompt %} <think>\n{% endif %}")
	opened := run(args...)
	require.NotEqual(t, plain.Tokens, opened.Tokens)
	require.Empty(t, opened.Answer)
	require.NotEmpty(t, opened.Reasoning)
	require.False(t, opened.Closed)
	require.Equal(t, plain, run(append(args, "--raw")...))

	args[4] = "user: Hello <think>\n"
	require.Equal(t, run(append(args, "--raw")...).Tokens, opened.Tokens, "the same text, written by hand")
	writeFile(t, dir, "chat_template.jinja", "{{ raise_exception('no') }}")
	code, _, stderr := callWith("", args...)
	require.Equal(t, 1, code)
	require.Contains(t, stderr, "no; --raw does without the chat template")
}

// What a model writes cannot move a terminal's cursor, set its title or ring it.
func TestVisible(t *testing.T) {
	require.Equal(t, "a\n\tb\\x1b]0;title\\a\\u009b2J é 中", visible("a\n\tb\x1b]0;title\a\u009b2J é 中"))
}
