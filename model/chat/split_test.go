package chat

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var splits = []struct {
	name   string
	text   string
	tags   Tags
	opened bool
	want   Parts
}{
	{"plain", "<think>\n1+1\n</think>\n\n2", Think(), false, Parts{Reasoning: "1+1", Answer: "2", Thought: true, Closed: true}},
	{"opened by the prompt", "\n1+1\n</think>\n\n2\n", Think(), true, Parts{Reasoning: "1+1", Answer: "2\n", Thought: true, Closed: true}},
	{"opened twice", "<think>\n1+1</think>2", Think(), true, Parts{Reasoning: "1+1", Answer: "2", Thought: true, Closed: true}},
	{"unclosed", "<think>\n1+1 ", Think(), false, Parts{Reasoning: "1+1", Thought: true}},
	{"unclosed, opened by the prompt", "so 1+1", Think(), true, Parts{Reasoning: "so 1+1", Thought: true}},
	{"half a closing tag", "<think>a</thi", Think(), false, Parts{Reasoning: "a</thi", Thought: true}},
	{"no thinking", " 2 is the <think>answer</think>", Think(), false, Parts{Answer: " 2 is the <think>answer</think>"}},
	{"half an opening tag", " <thi", Think(), false, Parts{Answer: " <thi"}},
	{"empty", "", Think(), false, Parts{}},
	{"blank", " \n", Think(), false, Parts{Answer: " \n"}},
	{"empty thinking", "<think>\n\n</think>\n\n2", Think(), false, Parts{Answer: "2", Thought: true, Closed: true}},
	{"closed and nothing more", "a</think>", Think(), true, Parts{Reasoning: "a", Thought: true, Closed: true}},
	{"a tag later on", "<think>a</think>b</think>c<think>d", Think(), false, Parts{Reasoning: "a", Answer: "b</think>c<think>d", Thought: true, Closed: true}},
	{"stray closing tag", "a</think>b", Think(), false, Parts{Answer: "a</think>b"}},
	{"whitespace inside", "<think> a \n\n b </think> c  d ", Think(), false, Parts{Reasoning: "a \n\n b", Answer: "c  d ", Thought: true, Closed: true}},
	{"unicode", "<think>数\u00a0é😀</think>é😀", Think(), false, Parts{Reasoning: "数\u00a0é😀", Answer: "é😀", Thought: true, Closed: true}},
	{"in a code span", "<think>write `</think>` at the end</think>done", Think(), false, Parts{Reasoning: "write `</think>` at the end", Answer: "done", Thought: true, Closed: true}},
	{"in a code span of two", "<think>``a ` </think> ``</think>done", Think(), false, Parts{Reasoning: "``a ` </think> ``", Answer: "done", Thought: true, Closed: true}},
	{"a backtick alone", "<think>the ` sign</think>done\n`x`", Think(), false, Parts{Reasoning: "the ` sign", Answer: "done\n`x`", Thought: true, Closed: true}},
	{"a backtick on another line", "<think>the ` sign\n</think>`x`", Think(), false, Parts{Reasoning: "the ` sign", Answer: "`x`", Thought: true, Closed: true}},
	{"in a fence", "<think>so:\n```xml\n<think>a</think>\n```\nyes</think>done", Think(), false, Parts{Reasoning: "so:\n```xml\n<think>a</think>\n```\nyes", Answer: "done", Thought: true, Closed: true}},
	{"after a fence", "<think>\n```\ncode\n```\n</think>\n```\n</think>\n```", Think(), false, Parts{Reasoning: "```\ncode\n```", Answer: "```\n</think>\n```", Thought: true, Closed: true}},
	{"right after a fence", "<think>\n```\ncode\n```</think>done", Think(), false, Parts{Reasoning: "```\ncode\n```", Answer: "done", Thought: true, Closed: true}},
	{"a fence left open", "<think>\n```\ncode\n</think>\n```go\nx\n```\n", Think(), false, Parts{Reasoning: "```\ncode", Answer: "```go\nx\n```\n", Thought: true, Closed: true}},
	{"a fence left open to the end", "<think>\n```\ncode\n</think>\nx", Think(), false, Parts{Reasoning: "```\ncode", Answer: "x", Thought: true, Closed: true}},
	{"a longer fence", "<think>\n````\n```\n</think>\n```\n````\nb</think>c", Think(), false, Parts{Reasoning: "````\n```\n</think>\n```\n````\nb", Answer: "c", Thought: true, Closed: true}},
	{"a fence on one line", "<think>\n```</think>``` is code</think>c", Think(), false, Parts{Reasoning: "```</think>``` is code", Answer: "c", Thought: true, Closed: true}},
	{"R1-Zero", "<think> a </think> <answer> 2 </answer>\n", R1Zero(), false, Parts{Reasoning: "a", Answer: "2", Thought: true, Closed: true}},
	{"R1-Zero, opened", "a</think><answer>2</answer>", R1Zero(), true, Parts{Reasoning: "a", Answer: "2", Thought: true, Closed: true}},
	{"R1-Zero, more", "<think>a</think><answer>2</answer> so", R1Zero(), false, Parts{Reasoning: "a", Answer: "2", Rest: "so", Thought: true, Closed: true}},
	{"R1-Zero, answer unclosed", "<think>a</think><answer>2 </ans", R1Zero(), false, Parts{Reasoning: "a", Answer: "2 </ans", Thought: true, Closed: true}},
	{"R1-Zero, no answer tag", "<think>a</think> 2 <answer>3</answer>", R1Zero(), false, Parts{Reasoning: "a", Answer: "2 <answer>3</answer>", Thought: true, Closed: true}},
	{"R1-Zero, no thinking", "<answer>2</answer>", R1Zero(), false, Parts{Answer: "2"}},
	{"R1-Zero, answer in thinking", "<think>a<answer>1</answer></think><answer>2</answer>", R1Zero(), false, Parts{Reasoning: "a<answer>1</answer>", Answer: "2", Thought: true, Closed: true}},
	{"another model's tags", "[THINK]a[/THINK]b", Tags{Open: "[THINK]", Close: "[/THINK]"}, false, Parts{Reasoning: "a", Answer: "b", Thought: true, Closed: true}},
}

func TestSplit(t *testing.T) {
	for _, c := range splits {
		require.Equal(t, c.want, Split(c.text, c.tags, c.opened), c.name)
	}
}

// stream feeds a splitter pieces and checks that its deltas are its parts.
func stream(t *testing.T, tags Tags, opened bool, pieces ...string) Parts {
	s := NewSplitter(tags, opened)
	var sum Delta
	add := func(d Delta) {
		sum.Reasoning += d.Reasoning
		sum.Answer += d.Answer
	}
	for _, p := range pieces {
		add(s.Add(p))
	}
	d, parts := s.Close()
	add(d)
	require.Equal(t, Delta{parts.Reasoning, parts.Answer}, sum, "%q", pieces)
	return parts
}

// A completion in pieces has the parts of the whole, wherever it is cut: at every pair of bytes, and into bytes.
func TestSplitterAgrees(t *testing.T) {
	for _, c := range splits {
		want := Split(c.text, c.tags, c.opened)
		for i := 0; i <= len(c.text); i++ {
			for j := i; j <= len(c.text); j++ {
				require.Equal(t, want, stream(t, c.tags, c.opened, c.text[:i], c.text[i:j], c.text[j:]), "%s cut at %d and %d", c.name, i, j)
			}
		}
		require.Equal(t, want, stream(t, c.tags, c.opened, strings.Split(c.text, "")...), c.name)
		bytes := make([]string, len(c.text))
		for i := range bytes {
			bytes[i] = c.text[i : i+1]
		}
		require.Equal(t, want, stream(t, c.tags, c.opened, bytes...), c.name)
	}
}

// Nothing is held back without need.
func TestSplitterIsPrompt(t *testing.T) {
	s := NewSplitter(Think(), false)
	for _, c := range []struct {
		piece string
		want  Delta
	}{
		{"<thi", Delta{}},
		{"nk>\nso", Delta{Reasoning: "so"}},
		{" 1 ", Delta{Reasoning: " 1"}},
		{"+ `x`", Delta{Reasoning: " + `x"}}, // the run of backticks may go on
		{" </", Delta{Reasoning: "`"}},
		{"think>", Delta{}},
		{"\n", Delta{}},
		{"\n2 ", Delta{Answer: "2 "}},
		{"</think>", Delta{Answer: "</think>"}},
	} {
		require.Equal(t, c.want, s.Add(c.piece), c.piece)
	}
}

func FuzzSplitter(f *testing.F) {
	for _, c := range splits {
		f.Add(c.text, uint8(len(c.text)/2), c.opened, c.tags.AnswerOpen != "")
	}
	f.Fuzz(func(t *testing.T, text string, cut uint8, opened, zero bool) {
		tags := Think()
		if zero {
			tags = R1Zero()
		}
		want := Split(text, tags, opened)
		n := min(int(cut), len(text))
		require.Equal(t, want, stream(t, tags, opened, text[:n], text[n:]))
		bytes := make([]string, len(text))
		for i := range bytes {
			bytes[i] = text[i : i+1]
		}
		require.Equal(t, want, stream(t, tags, opened, bytes...))
	})
}
