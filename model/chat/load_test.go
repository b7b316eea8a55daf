package chat

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// folder writes files into a new folder.
func folder(t *testing.T, files map[string]string) string {
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	}
	return dir
}

func TestLoad(t *testing.T) {
	const plain, tools = `{}`, `{"tools":[{"type":"function"}]}`
	for _, c := range []struct {
		name  string
		files map[string]string
		vars  string
		want  string
	}{
		{"the entry", map[string]string{"tokenizer_config.json": `{"chat_template":"entry"}`}, plain, "entry"},
		{"the file alone", map[string]string{"chat_template.jinja": "file"}, plain, "file"},
		{"the file wins", map[string]string{"chat_template.jinja": "file", "tokenizer_config.json": `{"chat_template":"entry"}`}, plain, "file"},
		{"the file wins over a list", map[string]string{"chat_template.jinja": "file", "tokenizer_config.json": `{"chat_template":[{"name":"tool_use","template":"T"}]}`}, tools, "file"},
		{"a list", map[string]string{"tokenizer_config.json": `{"chat_template":[{"name":"default","template":"D"},{"name":"tool_use","template":"T"}]}`}, plain, "D"},
		{"a list, with tools", map[string]string{"tokenizer_config.json": `{"chat_template":[{"name":"default","template":"D"},{"name":"tool_use","template":"T"}]}`}, tools, "T"},
		{"a list without tool_use", map[string]string{"tokenizer_config.json": `{"chat_template":[{"name":"default","template":"D"},{"name":"rag","template":"R"}]}`}, tools, "D"},
		{"more files", map[string]string{"chat_template.jinja": "D", "additional_chat_templates/tool_use.jinja": "T"}, tools, "T"},
		{"tokens", map[string]string{"tokenizer_config.json": `{"chat_template":"{{ bos_token }}{{ eos_token }}{{ image_token }}{{ x_token }}{{ pad_token is defined }}",
			"bos_token":"<s>","eos_token":{"__type":"AddedToken","content":"</s>"},"image_token":"<i>","pad_token":null,"extra_special_tokens":{"x_token":"<x>"}}`}, plain, "<s></s><i><x>False"},
		{"a variable wins over a token", map[string]string{"tokenizer_config.json": `{"chat_template":"{{ bos_token }}","bos_token":"<s>"}`}, `{"bos_token":"<B>"}`, "<B>"},
		{"an older folder", map[string]string{"chat_template.jinja": "{{ bos_token }}", "tokenizer_config.json": `{}`, "special_tokens_map.json": `{"bos_token":{"content":"<s>"}}`}, plain, "<s>"},
		{"not an older folder", map[string]string{"chat_template.jinja": "{{ bos_token }}", "tokenizer_config.json": `{"added_tokens_decoder":{},"bos_token":"<a>"}`, "special_tokens_map.json": `{"bos_token":"<s>"}`}, plain, "<a>"},
		{"what transformers passes", map[string]string{"chat_template.jinja": "{{ tools is none }}{{ documents is none }}{{ add_generation_prompt }}{{ messages is defined }}"}, plain, "TrueTrueFalseFalse"},
		{"a newline at the end", map[string]string{"chat_template.jinja": "a\n\n"}, plain, "a\n"},
	} {
		tmpl, err := Load(folder(t, c.files))
		require.NoError(t, err, c.name)
		v, err := ParseVars([]byte(c.vars))
		require.NoError(t, err)
		r, err := tmpl.Render(v, clock)
		require.NoError(t, err, c.name)
		require.Equal(t, c.want, r.Text, c.name)
	}
}

// A template from elsewhere, a file or a folder, speaks with the folder's own special tokens.
func TestLoadWith(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	const text = "{{ bos_token }}{{ messages[0].content }}"
	for path, content := range map[string]string{
		filepath.Join(dir, "tokenizer_config.json"):   `{"bos_token":"<own>","chat_template":"mine"}`,
		filepath.Join(other, "tokenizer_config.json"): `{"bos_token":"<other>"}`,
		filepath.Join(other, "chat_template.jinja"):   text,
	} {
		require.NoError(t, os.WriteFile(path, []byte(content), 0o644))
	}
	for _, from := range []string{other, filepath.Join(other, "chat_template.jinja")} {
		tmpl, err := LoadWith(dir, from)
		require.NoError(t, err)
		require.Equal(t, text, tmpl.Text())
		r, err := tmpl.Render(Conversation(false, Message{Role: "user", Content: "hi"}), time.Time{})
		require.NoError(t, err)
		require.Equal(t, "<own>hi", r.Text)
	}
	_, err := LoadWith(dir, filepath.Join(dir, "none.jinja"))
	require.ErrorContains(t, err, "none.jinja")
	_, err = LoadWith(other, t.TempDir())
	require.ErrorIs(t, err, ErrNoTemplate)
}

func TestLoadErrors(t *testing.T) {
	for _, c := range []struct {
		files map[string]string
		says  string
	}{
		{nil, "no chat template: neither chat_template.jinja nor an entry of tokenizer_config.json"},
		{map[string]string{"tokenizer_config.json": `{"chat_template":null}`}, "no chat template"},
		{map[string]string{"tokenizer_config.json": `{`}, "tokenizer_config.json"},
		{map[string]string{"tokenizer_config.json": `null`}, "want a JSON object"},
		{map[string]string{"tokenizer_config.json": `{"chat_template":5}`}, "want a template or a list"},
		{map[string]string{"tokenizer_config.json": `{"chat_template":"a\n{% if %}"}`}, "tokenizer_config.json: chat_template: line 2: TemplateSyntaxError"},
		{map[string]string{"chat_template.jinja": "a\n\n{{ x y }}"}, "chat_template.jinja: line 3: TemplateSyntaxError"},
	} {
		_, err := Load(folder(t, c.files))
		require.ErrorContains(t, err, c.says)
	}
	_, err := Load(t.TempDir())
	require.ErrorIs(t, err, ErrNoTemplate)

	tmpl, err := Load(folder(t, map[string]string{"tokenizer_config.json": `{"chat_template":[{"name":"rag","template":"R"}]}`}))
	require.NoError(t, err)
	_, err = tmpl.Render(Vars{}, clock)
	require.ErrorContains(t, err, "none is named default")
	tmpl, err = tmpl.Named("rag")
	require.NoError(t, err)
	r, err := tmpl.Render(Vars{}, clock)
	require.NoError(t, err)
	require.Equal(t, "R", r.Text)
	_, err = tmpl.Named("rag")
	require.ErrorContains(t, err, `no template is named "rag"`)
}

func TestVarsErrors(t *testing.T) {
	for object, says := range map[string]string{
		`[]`: "want one JSON object", `{"a":1} {}`: "text after", `{"a":`: "unexpected", ``: "unexpected EOF", `{"a":NaN}`: "invalid character",
	} {
		_, err := ParseVars([]byte(object))
		require.ErrorContains(t, err, says)
	}
	tmpl, err := Parse("{{ tools }}")
	require.NoError(t, err)
	for object, says := range map[string]string{
		`{"tools":{}}`: "tools: want a list", `{"tools":[1]}`: "tools: item 0 is no object", `{"documents":["a"]}`: "documents: item 0 is no object",
	} {
		v, err := ParseVars([]byte(object))
		require.NoError(t, err)
		_, err = tmpl.Render(v, clock)
		require.ErrorContains(t, err, says)
	}
}

// The tags of the thinking are those the template speaks of, and a prompt may have opened it.
func TestTags(t *testing.T) {
	for text, want := range map[string]string{"<think>x</think>": "<think>", "[THINK][/THINK]": "[THINK]", "plain": "<think>"} {
		tmpl, err := Parse(text)
		require.NoError(t, err)
		require.Equal(t, want, tmpl.Tags().Open)
	}
	for prompt, want := range map[string]bool{
		"<|Assistant|><think>\n": true, "<|Assistant|><think>": true, "<|Assistant|>": false, "<think>\n\n</think>\n\n": false, "say <think> now": false, "": false,
	} {
		require.Equal(t, want, Think().Opened(prompt), prompt)
	}
}
