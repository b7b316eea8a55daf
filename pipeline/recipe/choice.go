package recipe

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/gor1/gor1/data"
	"github.com/gor1/gor1/reward"
	"github.com/gor1/gor1/reward/lang"
	"github.com/gor1/gor1/sampling/pick"
)

// Choice is which completions are kept.
type Choice struct {
	FromRun    string   `key:"from_run" help:"select from the recorded rollouts of this run's directory in place of drawing; with model_name_or_path a token that its tokenizer puts first is taken off the prompts"`
	Keep       []string `key:"keep" help:"NAME>=NUMBER: what a reward, or reward (their sum), must at least give: accuracy>=1,format>=1"`
	Truncated  bool     `key:"keep_truncated" help:"keep completions that the limit cut"`
	Share      float64  `key:"min_language_share" help:"share of the reasoning's words that must be in reward_language; 0: any"`
	NoCode     bool     `key:"drop_code" help:"drop completions with a block of code, as R1's data had none"`
	Paragraph  int      `key:"max_paragraph" help:"drop completions with a paragraph of more characters; 0: never"`
	MinTokens  int      `key:"min_tokens" help:"of a completion"`
	Most       int      `key:"max_tokens" help:"of a completion; 0: no limit"`
	Repeats    float64  `key:"max_repetition" help:"drop completions of whose n-grams (repetition_n_grams) a greater share was said before; 1: never"`
	PassReward string   `key:"pass_reward" help:"the reward that says what is right, for pass rates"`
	PassMin    float64  `key:"pass_min" help:"what it gives at least to what is right"`
	Hardest    float64  `key:"pass_rate_low" help:"drop problems that are answered right less often"`
	Easiest    float64  `key:"pass_rate_high" help:"drop problems that are answered right more often"`
	Pick       string   `key:"choose" help:"of those that pass: all, first, shortest, longest, diverse, or best (by reward)"`
	Number     int      `key:"choose_n" help:"so many of a prompt"`
	Doubles    bool     `key:"keep_duplicates" help:"keep completions that say the same to the same prompt"`
	Against    []string `key:"decontaminate" help:"evaluation data sets, NAME or NAME:SPLIT (test): what shares a run of words with one of their prompts is dropped"`
	Words      int      `key:"decontaminate_words" help:"words of such a run"`
	Memory     int      `key:"decontaminate_mib" help:"memory of the index"`
	Form       string   `key:"format" help:"prompt_completion: texts as the model saw and wrote them; messages: conversations, for the chat template of the student"`

	prompt string // column of the question
}

func defaultChoice() Choice {
	return Choice{Keep: []string{"accuracy>=1"}, Repeats: 1, PassReward: "accuracy", PassMin: 1, Easiest: 1, Pick: "all", Number: 1, Words: 10, Memory: 16, Form: "prompt_completion"}
}

// selector is the whole choice: cheap filters first.
func (g *Sample) selector(ctx context.Context, from Sources, p *PreparedSample) (pick.Selector, error) {
	if g.Form != "prompt_completion" && g.Form != "messages" {
		return nil, fmt.Errorf("recipe: format is %q, want prompt_completion or messages", g.Form)
	}
	p.write.prompt = g.PromptColumn
	all := []pick.Selector{pick.Where("broken characters", func(c pick.Candidate) bool { return !strings.ContainsRune(c.Completion, '\uFFFD') })}
	if !g.Truncated {
		all = append(all, pick.Whole)
	}
	for _, text := range g.Keep {
		name, number, ok := strings.Cut(text, ">=")
		least, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if !ok || err != nil {
			return nil, fmt.Errorf("recipe: keep: %q: want NAME>=NUMBER, such as accuracy>=1", text)
		}
		all = append(all, pick.AtLeast(strings.TrimSpace(name), least))
	}
	if g.NoCode {
		all = append(all, pick.NoCode)
	}
	if g.Paragraph > 0 {
		all = append(all, pick.Paragraphs(g.Paragraph))
	}
	if g.MinTokens > 0 || g.Most > 0 {
		all = append(all, pick.Length(reward.TokenCount, g.MinTokens, g.Most))
	}
	if g.Repeats < 1 {
		all = append(all, pick.Repetition(g.NGrams, g.Repeats))
	}
	if g.Share > 0 {
		target, err := g.language()
		if err != nil {
			return nil, err
		}
		all = append(all, pick.OneLanguage(g.Share, target))
	}
	if g.Hardest > 0 || g.Easiest < 1 {
		all = append(all, pick.Difficulty(g.PassReward, g.PassMin, g.Hardest, g.Easiest))
	}
	clean, err := g.clean(ctx, from)
	if err != nil {
		return nil, err
	}
	all = append(all, clean...)
	if !g.Doubles {
		all = append(all, pick.Dedup())
	}
	last, err := g.pick()
	return pick.All(append(all, last...)...), err
}

// language is the language that a problem's reasoning must be in.
func (g *Sample) language() (func(p reward.Problem) string, error) {
	switch {
	case g.Language == "prompt" && g.FromRun != "":
		return nil, fmt.Errorf("recipe: a run's rollouts do not hold the questions alone: give reward_language as one of %s", strings.Join(lang.Languages(), ", "))
	case g.Language == "prompt":
		return lang.OfPrompt(question), nil
	case !slices.Contains(lang.Languages(), g.Language):
		return nil, fmt.Errorf("recipe: reward_language is %q, want prompt or one of %s", g.Language, strings.Join(lang.Languages(), ", "))
	}
	return lang.Fixed(g.Language), nil
}

// pick chooses some of what passed.
func (g *Sample) pick() ([]pick.Selector, error) {
	if g.Pick == "all" {
		return nil, nil
	}
	choices := map[string]pick.Selector{
		"first": pick.First(g.Number), "shortest": pick.Shortest(g.Number, reward.TokenCount), "longest": pick.Longest(g.Number, reward.TokenCount), "diverse": pick.Diverse(g.Number), "best": pick.Best(g.Number, "reward"),
	}
	s, ok := choices[g.Pick]
	if !ok || g.Number < 1 {
		return nil, fmt.Errorf("recipe: choose is %q and choose_n %d, want all, first, shortest, longest, diverse or best, and at least 1", g.Pick, g.Number)
	}
	return []pick.Selector{s}, nil
}

// clean drops what is in an evaluation set.
func (g *Sample) clean(ctx context.Context, from Sources) ([]pick.Selector, error) {
	if len(g.Against) == 0 {
		return nil, nil
	}
	x, err := pick.NewIndex(g.Words, g.Memory<<20)
	if err != nil {
		return nil, err
	}
	for _, text := range g.Against {
		name, split := text, "test"
		if at := strings.LastIndex(text, ":"); at > 0 && !strings.ContainsAny(text[at:], `/\`) {
			name, split = text[:at], text[at+1:]
		}
		set, err := data.Open(ctx, name, data.Options{Split: split, Hub: from.Data})
		if err != nil {
			return nil, err
		}
		for row, err := range set.Rows(ctx, data.Cursor{}) {
			if err != nil {
				return nil, err
			}
			c, err := row.Content(g.PromptColumn)
			if err != nil {
				return nil, err
			}
			texts := []string{c.Text}
			for _, m := range c.Messages {
				texts = append(texts, m.Content)
			}
			for _, t := range texts {
				if err := x.Add(t); err != nil {
					return nil, err
				}
			}
		}
	}
	asked := question
	if g.FromRun != "" {
		asked = func(p reward.Problem) string { return p.Prompt }
	}
	return []pick.Selector{pick.Decontaminate(x, asked)}, nil
}
