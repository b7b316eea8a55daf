package data

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func rowOf(t testing.TB, line string) Row {
	o, err := parseObject([]byte(line))
	require.NoError(t, err)
	return Row{Fields: o, Place: Place{"x.jsonl", 1, 1}}
}

func user(text string) Message {
	return Message{"user", text, Object{{"role", "user"}, {"content", text}}}
}

func assistant(text string) Message {
	return Message{"assistant", text, Object{{"role", "assistant"}, {"content", text}}}
}

// The rows are those of TRL's page "dataset formats and types".
func TestShapes(t *testing.T) {
	sky, blue, green := user("What color is the sky?"), assistant("It is blue."), assistant("It is green.")
	for line, want := range map[string]Example{
		`{"text":"The sky is blue."}`: {Shape: LanguageModeling, Text: Content{Text: "The sky is blue."}},
		`{"messages":[{"role":"user","content":"What color is the sky?"},{"role":"assistant","content":"It is blue."}]}`: {
			Shape: LanguageModeling, Text: Content{Messages: []Message{sky, blue}}},
		`{"prompt":"The sky is"}`: {Shape: PromptOnly, Prompt: Content{Text: "The sky is"}},
		`{"prompt":[{"role":"user","content":"What color is the sky?"}],"answer":5,"text":null}`: {
			Shape: PromptOnly, Prompt: Content{Messages: []Message{sky}}, Columns: Object{{"answer", int64(5)}, {"text", nil}}},
		`{"prompt":"The sky is","completion":" blue."}`: {Shape: PromptCompletion, Prompt: Content{Text: "The sky is"}, Completion: Content{Text: " blue."}},
		`{"prompt":"The sky is","chosen":" blue.","rejected":" green."}`: {
			Shape: Preference, Prompt: Content{Text: "The sky is"}, Chosen: Content{Text: " blue."}, Rejected: Content{Text: " green."}},
		`{"chosen":"The sky is blue.","rejected":"The sky is green."}`: {
			Shape: Preference, Prompt: Content{Text: "The sky is"}, Chosen: Content{Text: " blue."}, Rejected: Content{Text: " green."}},
		`{"chosen":[{"role":"user","content":"What color is the sky?"},{"role":"assistant","content":"It is blue."}],
		  "rejected":[{"role":"user","content":"What color is the sky?"},{"role":"assistant","content":"It is green."}]}`: {
			Shape: Preference, Prompt: Content{Messages: []Message{sky}}, Chosen: Content{Messages: []Message{blue}}, Rejected: Content{Messages: []Message{green}}},
		`{"prompt":"p","tools":[{"type":"function"}]}`:       {Shape: PromptOnly, Prompt: Content{Text: "p"}, Tools: []any{Object{{"type", "function"}}}},
		`{"prompt":"p","tools":"[{\"type\":\"function\"}]"}`: {Shape: PromptOnly, Prompt: Content{Text: "p"}, Tools: []any{Object{{"type", "function"}}}},
		`{"prompt":"p","tools":""}`:                          {Shape: PromptOnly, Prompt: Content{Text: "p"}},
		`{"messages":[{"role":"assistant","content":null,"tool_calls":[],"name":null},{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}]}`: {
			Shape: LanguageModeling, Text: Content{Messages: []Message{
				{"assistant", "", Object{{"role", "assistant"}, {"tool_calls", []any{}}}},
				{"user", "ab", Object{{"role", "user"}, {"content", []any{Object{{"type", "text"}, {"text", "a"}}, Object{{"type", "text"}, {"text", "b"}}}}}}}}},
	} {
		got, err := rowOf(t, line).Example()
		require.NoError(t, err, line)
		require.Equal(t, want, got, line)
	}
}

func TestShapeErrors(t *testing.T) {
	for line, says := range map[string]string{
		`{"question":"a","answer":"b"}`:                               `no shape: want text, messages, prompt`,
		`{"text":"a","prompt":"b"}`:                                   "make two shapes, prompt-only and language modeling",
		`{"text":"a","messages":[]}`:                                  "both text and messages",
		`{"prompt":5}`:                                                `field "prompt": want a string or a list of messages, got 5 (an integer)`,
		`{"prompt":"a","completion":null,"chosen":"b"}`:               `field "rejected": is missing`,
		`{"completion":"a"}`:                                          `field "prompt": is missing`,
		`{"prompt":"a","completion":[{"role":"user","content":"b"}]}`: `field "completion": is in another form than "prompt"`,
		`{"prompt":[]}`:                                               `field "prompt": is a list without messages`,
		`{"prompt":["a"]}`:                                            `field "prompt[0]": want a message, an object with role and content, got "a"`,
		`{"prompt":[{"role":"user"}]}`:                                `field "prompt[0]": content: want a string, got null`,
		`{"prompt":[{"role":"user","content":5}]}`:                    `field "prompt[0]": content: want a string, got 5`,
		`{"prompt":[{"role":5,"content":"a"}]}`:                       `field "prompt[0]": want a role, got 5`,
		`{"prompt":[{"from":"human","value":"a"}]}`:                   `has from and value; turn them`,
		`{"prompt":[{"role":"user","content":[{"type":"image"}]}]}`:   `content[0]: only parts of type text can be read`,
		`{"messages":"a"}`:                                            "call the column text",
		`{"text":[{"role":"user","content":"a"}]}`:                    "call the column messages",
		`{"chosen":"a","rejected":"b"}`:                               "do not begin alike",
		`{"chosen":[{"role":"user","content":"a"}],"rejected":[{"role":"user","content":"a"}]}`: "want at least one and a message more in each",
		`{"prompt":"a","tools":5}`:   `field "tools": want a list of schemas, got 5`,
		`{"prompt":"a","tools":"{"}`: `field "tools": is a string that ends after 1 bytes`,
	} {
		_, err := rowOf(t, line).Example()
		require.ErrorContains(t, err, says, line)
		require.ErrorContains(t, err, "x.jsonl:1")
	}
	e, err := rowOf(t, `{"text":"a","prompt":"b"}`).As(PromptOnly)
	require.NoError(t, err)
	require.Equal(t, Example{Shape: PromptOnly, Prompt: Content{Text: "b"}, Columns: Object{{"text", "a"}}}, e)
	_, err = rowOf(t, `{"text":"a"}`).As(0)
	require.ErrorContains(t, err, "Shape(0)")
}

func TestFromValue(t *testing.T) {
	row, err := FromValue(rowOf(t, `{"conversations":[{"from":"system","value":"s"},{"from":"human","value":"a"},{"from":"gpt","value":"b"}],"id":1,"tags":["x"]}`))
	require.NoError(t, err)
	e, err := row.Example()
	require.NoError(t, err)
	require.Equal(t, Example{Shape: LanguageModeling, Columns: Object{{"id", int64(1)}, {"tags", []any{"x"}}},
		Text: Content{Messages: []Message{{"system", "s", Object{{"role", "system"}, {"content", "s"}}}, user("a"), assistant("b")}}}, e)
	row, err = FromValue(rowOf(t, `{"prompt":[{"from":"human","value":"a"}],"chosen":{"from":"gpt","value":"b"},"rejected":{"from":"gpt","value":"c"}}`))
	require.NoError(t, err)
	e, err = row.Example()
	require.NoError(t, err)
	require.Equal(t, Example{Shape: Preference, Prompt: Content{Messages: []Message{user("a")}}, Chosen: Content{Messages: []Message{assistant("b")}},
		Rejected: Content{Messages: []Message{assistant("c")}}}, e)
	_, err = FromValue(rowOf(t, `{"conversations":[{"from":"human","value":"a"}],"messages":1}`))
	require.ErrorContains(t, err, "has that column too")
}
