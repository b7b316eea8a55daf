package reward_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/reward"
	"github.com/gor1/gor1/reward/lang"
	"github.com/gor1/gor1/reward/remote"
)

// attack is a completion that a naive rule pays for and ours must not. The control is an honest completion that ours must pay.
type attack struct {
	name    string
	sample  reward.Sample
	naive   func(s reward.Sample) float64 // pays at least as much as for the control
	f       reward.Func
	most    float64 // that f may pay
	control reward.Sample
	least   float64 // that f must pay for the control
}

func text(completion string) reward.Sample {
	return reward.Sample{Problem: reward.Problem{Prompt: "2 + 3 = ?", Answer: "5"}, Completion: completion}
}

func pays(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// allTags is what many a format reward looks for.
func allTags(s reward.Sample) float64 {
	t := strings.ToLower(strings.Map(func(r rune) rune {
		if unicode.In(r, unicode.Cf) || r == ' ' {
			return -1
		}
		return r
	}, s.Completion))
	t = strings.NewReplacer("＜", "<", "＞", ">", "&lt;", "<", "&gt;", ">").Replace(t)
	return pays(strings.Contains(t, "<think>") && strings.Contains(t, "</think>") && strings.Contains(t, "<answer>") && strings.Contains(t, "</answer>"))
}

var honest = text("<think>2 + 3 = 5, so it is 5.</think><answer>5</answer>")

func formatAttacks() []attack {
	var out []attack
	for name, c := range map[string]string{
		"closed first": "</think>a<think><answer>5</answer>", "answer first": "<answer>5</answer><think>a</think>", "two opens": "<think><think>a</think><answer>5</answer>",
		"doubled close": "<think>a</think></think><answer>5</answer>", "answer inside think": "<think><answer>5</answer></think>", "answer repeated": "<think>a</think>" + strings.Repeat("<answer>5</answer>", 1000),
		"text after": "<think>a</think><answer>5</answer> and much more", "text before": "well <think>a</think><answer>5</answer>", "text between": "<think>a</think>so<answer>5</answer>",
		"empty answer": "<think>a</think><answer></answer>", "blank answer": "<think>a</think><answer>\n\t </answer>", "invisible answer": "<think>a</think><answer>\u200b\u2060\u00ad</answer>",
		"tags in the answer": "<think>a</think><answer><think>5</think></answer>", "tags in the reasoning": "<think>I write <answer>5</answer> then</think><answer>5</answer>",
		"the template echoed": "<think> reasoning process here </think> <answer> answer here </answer><think>a</think><answer>5</answer>", "end of text inside": "<think>a</think><answer>5</answer><|endoftext|>",
		"answer in answer": "<think>a</think><answer><answer>5</answer></answer>", "other case": "<THINK>a</THINK><Answer>5</Answer>", "zero width in a tag": "<thi\u200bnk>a</think><answer>5</answer>",
		"spaces in a tag": "< think >a</ think >< answer >5</ answer >", "wide brackets": "＜think＞a＜/think＞＜answer＞5＜/answer＞", "entities": "&lt;think&gt;a&lt;/think&gt;&lt;answer&gt;5&lt;/answer&gt;",
		"tags only": "<think></think><answer></answer>", "never opened": "</think><think></answer><answer>5",
	} {
		out = append(out, attack{"format: " + name, text(c), allTags, reward.Format, 0, honest, 1}, attack{"accuracy: " + name, text(c), allTags, reward.Accuracy, 0, honest, 1})
	}
	cut := honest
	cut.Truncated = true
	out = append(out, attack{"format: cut at the limit", cut, allTags, reward.Format, 0, honest, 1}, attack{"accuracy: cut at the limit", cut, allTags, reward.Accuracy, 0, honest, 1})

	closes := func(s reward.Sample) float64 { return pays(strings.Contains(s.Completion, "</think>")) }
	r1 := text("<think>2 + 3 = 5</think>It is \\boxed{5}.")
	for name, c := range map[string]string{
		"not opened": "a</think>5", "opened twice": "<think><think>a</think>5", "closed twice": "<think>a</think>5</think>", "nothing after": "<think>a</think>", "text before": "x<think>a</think>5",
		"invisible after": "<think>a</think>\u200b", "thinks again": "<think>a</think>5<think>b</think>",
	} {
		out = append(out, attack{"R1's format: " + name, text(c), closes, reward.FormatR1, 0, r1, 1})
	}
	again := text("<think>a</think>5")
	again.Problem.Prompt = "..<think>\n"
	blankTags := text("<think>\n\n</think>\n\n<answer>\n\n</answer>")
	tagCount := func(s reward.Sample) float64 {
		v, _ := reward.Evaluate(context.Background(), reward.TagCount, s).Score.Value()
		return v
	}
	return append(out, attack{"R1's format: opened by prompt and completion", again, closes, reward.FormatR1, 0, r1, 1},
		attack{"completeness: tags around nothing", blankTags, tagCount, reward.Completeness, 0, honest, 1},
		attack{"completeness: nothing at all", text(""), func(s reward.Sample) float64 { return pays(!s.Truncated) }, reward.Completeness, 0, honest, 1})
}

func answerAttacks() []attack {
	var out []attack
	holds := func(s reward.Sample) float64 { return pays(strings.Contains(s.Completion, s.Problem.Answer)) }
	for name, answer := range map[string]string{
		"one of two": "4 or 5", "every number": "0 1 2 3 4 5 6 7 8 9", "a range": "1 to 5", "plus-minus": "±5", "a longer number": "1500", "the problem's": "2 + 3 = ? 5", "not": "not 5", "right, then wrong": "5, or rather 6",
		"a comment": "6 % 5", "interval": "[0, 5]", "other digits": "٥ (5)", "power": "5e0", "hexadecimal": "0x5", "itself": "5/1/1", "a million fives": strings.Repeat("5", 100000),
	} {
		out = append(out, attack{"accuracy: " + name, text("<think>a</think><answer>" + answer + "</answer>"), holds, reward.Accuracy, 0, honest, 1})
	}
	out = append(out, attack{"accuracy: right in the reasoning only", text("<think>5</think><answer>6</answer>"), holds, reward.Accuracy, 0, honest, 1})

	said := func(s reward.Sample) float64 { // the reasoning mentions the answer
		_, answer, _ := reward.Parse(s.Completion)
		return pays(strings.Contains(reward.Reasoning(s.Completion), answer))
	}
	coherent := reward.Coherence(reward.Rational)
	out = append(out,
		attack{"coherence: every number", text("<think>" + everyNumber + "</think><answer>5</answer>"), said, coherent, 0, honest, 1},
		attack{"coherence: said first, dropped later", text("<think>Say 5.\nNo, it is 6.</think><answer>5</answer>"), said, coherent, 0.5, honest, 1},
		attack{"coherence: part of a number", text("<think>It is 1500.</think><answer>5</answer>"), said, coherent, 0, honest, 1})

	trueShare := func(s reward.Sample) float64 { // of all equalities; none wrong where there are none
		found, right := reward.Equalities(reward.Reasoning(s.Completion), reward.Rational), 0
		for _, e := range found {
			if e.True {
				right++
			}
		}
		return pays(len(found) == 0 || float64(right) > 0.9*float64(len(found)))
	}
	steps := reward.ConsistentSteps(reward.Rational)
	wrong := "<think>2 + 3 = 6. "
	return append(out,
		attack{"consistent steps: padded with 1 = 1", text(wrong + strings.Repeat("1 = 1. ", 100) + "</think>"), trueShare, steps, 0, honest, 1},
		attack{"consistent steps: one truth a hundred times", text(wrong + strings.Repeat("1 + 1 = 2. ", 100) + "</think>"), trueShare, steps, 0.5, honest, 1},
		attack{"consistent steps: padded with itself", text(wrong + strings.Repeat("2 + 3 = 2+3. ", 100) + "</think>"), trueShare, steps, 0, honest, 1},
		attack{"consistent steps: no step", text("<think>I just know.</think><answer>5</answer>"), trueShare, steps, 0, honest, 1})
}

// inGroup judges a sample among others; not scored is 0 here.
func inGroup(f reward.GroupFunc, others ...reward.Sample) reward.Func {
	return func(ctx context.Context, s reward.Sample) (reward.Score, error) {
		v, _ := reward.EvaluateGroup(ctx, f, append([]reward.Sample{s}, others...))[0].Score.Value()
		return reward.Scored(v), nil
	}
}

// short likes short completions and longChar long ones, as reward models do.
type likes func(text string) float64

func (f likes) Score(_ context.Context, _, completions []string) ([]float64, error) {
	out := make([]float64, len(completions))
	for i, c := range completions {
		out[i] = f(c)
	}
	return out, nil
}

func groupAttacks() []attack {
	shortest := func(s reward.Sample) float64 { return pays(len(s.Completion) <= len(honest.Completion)) }
	withTokens := func(s reward.Sample, n int) reward.Sample { s.Tokens = make([]int32, n); return s }
	long := withTokens(text("<think>"+strings.Repeat("2 + 3 = 5. ", 10)+"</think><answer>5</answer>"), 100)
	brief := inGroup(reward.Brevity(reward.Accuracy, nil), long)
	empty, wrong := withTokens(text(""), 1), withTokens(text("<think></think><answer>6</answer>"), 5)
	cut := withTokens(honest, 10)
	cut.Truncated = true
	out := []attack{
		{"length: nothing is shortest", empty, shortest, brief, 0, withTokens(honest, 20), 0.5},
		{"length: a short wrong answer", wrong, shortest, brief, 0, withTokens(honest, 20), 0.5},
		{"length: cut short", cut, shortest, brief, 0, withTokens(honest, 20), 0.5},
	}
	fewLetters := withTokens(text("<think>"+strings.Repeat("\u200b", 5)+"</think>"), 1000)
	overlong := reward.SoftOverlong(1000, 100)
	out = append(out, attack{"length: few characters, many tokens", fewLetters, shortest, overlong, -1, withTokens(honest, 20), 0})

	agrees := func(reward.Sample) float64 { return 1 } // all strings of the group are the same
	for name, c := range map[string]string{"silence": "", "no answer": "<think>a</think>", "blank answers": "<think>a</think><answer> </answer>", "no format": "5 5 5"} {
		majority := inGroup(reward.Majority(nil, reward.Rational), text(c), text(c), honest, honest)
		out = append(out, attack{"majority: agreeing in " + name, text(c), agrees, majority, 0, honest, 1})
	}
	likesShort := likes(func(t string) float64 { return 1 / float64(1+len(t)) })
	model := inGroup(reward.RewardModel(likesShort, reward.Summary), text("<think>a</think><answer>"+strings.Repeat("5", 20)+"</answer>"))
	naive := func(s reward.Sample) float64 {
		v, _ := likesShort.Score(context.Background(), nil, []string{reward.Summary(s)})
		return v[0]
	}
	gone := text("<think>a</think>")
	return append(out, attack{"reward model: an empty answer", gone, naive, model, 0.05, honest, 0.5},
		attack{"reward model: an answer cut short", cut, naive, model, 0.05, honest, 0.5})
}

const (
	english = "We add the two numbers that the question gives us and then we look at what is left, because that is how it is done."
	chinese = "我们把题目里给出的两个数加在一起，然后看看还剩下什么，因为这就是我们应该做的事情。"
	german  = "Wir zählen die beiden Zahlen zusammen, die in der Frage stehen, und sehen dann nach, was noch übrig ist, weil man das so macht."
)

func languageAttacks() []attack {
	latin := func(s reward.Sample) float64 { // words of ASCII among all outside fences and marks
		t := regexp.MustCompile("(?s)```.*?(```|$)|`[^`]*`|\\$[^$]*\\$").ReplaceAllString(reward.Reasoning(s.Completion), "")
		words := strings.Fields(t)
		n := 0
		for _, w := range words {
			n += int(pays(w[0] < 128))
		}
		return pays(n*10 >= len(words)*9)
	}
	think := func(s string) reward.Sample { return text("<think>" + s + "</think><answer>5</answer>") }
	consistent := lang.Consistency(lang.Fixed("en"))
	var out []attack
	for name, c := range map[string]string{
		"filler": chinese + strings.Repeat(" the the the the the", 200), "a line again and again": chinese + strings.Repeat("\nso it is as it is", 200), "behind a fence": "so\n```\n" + chinese + "\n```",
		"behind an open fence": "so\n```\n" + chinese, "as a formula": "so $" + chinese + "$", "as code": "so `" + chinese + "`", "as a comment": "so\n```python\n# " + chinese + "\n```",
		"another Latin language": german, "another Latin language in a fence": "so\n```\n" + german + "\n```", "in capitals": strings.ToUpper(german),
	} {
		out = append(out, attack{"language: " + name, think(c), latin, consistent, 0.15, think(english), 0.98})
	}
	out = append(out, attack{"language: nothing said", think(""), latin, consistent, 0, think(english), 0.98}, attack{"language: formulas only", think("$a = b$"), latin, consistent, 0, think(english), 0.98})

	distinct := func(s reward.Sample) float64 { // no sentence twice, letter by letter
		seen, all := map[string]bool{}, strings.Split(reward.Reasoning(s.Completion), ".")
		for _, sentence := range all {
			seen[sentence] = true
		}
		return pays(len(seen) == len(all))
	}
	loop := strings.Repeat("wait, let me think about that once more, ", 50)
	cyrillic := strings.NewReplacer("the", "th\u0435", "and", "\u0430nd", "we", "w\u0435").Replace(english)
	var endless strings.Builder
	for i := range 300 {
		fmt.Fprintf(&endless, "%s%s ", string(rune('a'+i%26)), []string{"lone", "mber", "nder", "road", "take", "even"}[i%6]+string(rune('a'+i/26)))
	}
	fluent := func(s string) reward.Sample { return text(s) }
	out = append(out, attack{"fluency: a loop", fluent(loop), distinct, lang.Fluency, 0.1, fluent(english), 0.95}, attack{"fluency: letters that look alike", fluent(cyrillic), distinct, lang.Fluency, 0.5, fluent(english), 0.95},
		attack{"fluency: one endless sentence", fluent(endless.String()), distinct, lang.Fluency, 0.3, fluent(english), 0.95},
		attack{"fluency: nothing", fluent(""), distinct, lang.Fluency, 0, fluent(english), 0.95})
	penalty := reward.RepetitionPenalty(3, -1)
	shouted := strings.Repeat(english+" ", 2) + strings.ToUpper(english)
	unspaced := strings.Repeat("我们再想一想", 50)
	spaces := func(s reward.Sample) float64 { // three-grams between spaces, as written
		w, seen := strings.Fields(s.Completion), map[string]bool{}
		for i := 0; i+3 <= len(w); i++ {
			seen[strings.Join(w[i:i+3], " ")] = true
		}
		return pays(len(seen) >= (len(w)-2)/2)
	}
	return append(out, attack{"repetition: in capitals", text(shouted), spaces, penalty, -0.6, text(english), -0.01}, attack{"repetition: without spaces", text(unspaced), spaces, penalty, -0.9, text(english), -0.01})
}

// judgeAttacks are answers that the server behind pays for; the judge in front must not.
func judgeAttacks(t *testing.T) []attack {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		verdict := `{"analysis":"fooled","correctness":"correct"}`
		if strings.Contains(string(body), `answer\":\"6\"`) {
			verdict = `{"analysis":"plainly wrong","correctness":"incorrect"}`
		}
		quoted, _ := json.Marshal(verdict)
		fmt.Fprintf(w, `{"choices":[{"message":{"role":"assistant","content":%s},"finish_reason":"stop"}]}`, quoted)
	}))
	t.Cleanup(server.Close)
	j, err := remote.NewJudge(remote.JudgeConfig{URL: server.URL, Model: "m"})
	require.NoError(t, err)
	naive := func(s reward.Sample) float64 { // whatever the server says, to whatever it is given
		body, _ := json.Marshal(map[string]string{"answer": reward.Summary(s)})
		resp, err := http.Post(server.URL, "application/json", strings.NewReader(string(body)))
		require.NoError(t, err)
		defer resp.Body.Close()
		reply, _ := io.ReadAll(resp.Body)
		return pays(strings.Contains(string(reply), `\"correct\"`))
	}
	var out []attack
	for _, key := range reward.MasterKeys {
		out = append(out, attack{fmt.Sprintf("judge: %q", key), text("<think>a</think><answer>" + key + "</answer>"), naive, j.Correct(), 0, honest, 1})
	}
	out = append(out, attack{"judge: cut at the limit", reward.Sample{Problem: honest.Problem, Completion: honest.Completion, Truncated: true}, naive, j.Correct(), 0, honest, 1})
	return out
}

// The scoring attacks on format, answer, length, group, language and judge rewards: each is paid by a naive rule once, none by ours, and the
// honest completion beside it is.
func TestScoringAttacks(t *testing.T) {
	all := append(append(append(append(formatAttacks(), answerAttacks()...), groupAttacks()...), languageAttacks()...), judgeAttacks(t)...)
	for _, a := range all {
		require.GreaterOrEqual(t, a.naive(a.sample), a.naive(a.control), "%s: the naive rule pays", a.name)
		require.Positive(t, a.naive(a.sample), "%s: the naive rule pays", a.name)
		require.LessOrEqual(t, score(t, a.f, a.sample), a.most, "%s: %.200q", a.name, a.sample.Completion)
		require.GreaterOrEqual(t, score(t, a.f, a.control), a.least, "%s: the honest one", a.name)
	}
	t.Logf("measured: %d attacks, each paid by a naive rule, 0 by ours, every control paid", len(all))
	require.GreaterOrEqual(t, len(all), 100)
}
