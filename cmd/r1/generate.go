package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/model/chat"
	"github.com/gor1/gor1/model/tokenizer"
	"github.com/gor1/gor1/reward"
	"github.com/gor1/gor1/sampling"
)

// prompts is a codec of token ids that are there: the text of a prompt is its number.
type prompts [][]int32

func (p prompts) Encode(text string) ([]int32, error) {
	n, err := strconv.Atoi(text)
	return p[n], err
}

func (prompts) Decode([]int32) string { return "" }

// continuations are the likeliest tokens after each sequence, n of each, end-of-sequence tokens included.
func continuations(ctx context.Context, m *model.LM, seqs [][]int32, n int) ([][]int32, error) {
	problems := make([]reward.Problem, len(seqs))
	for i := range problems {
		problems[i].Prompt = strconv.Itoa(i)
	}
	e := sampling.New(m, sampling.Options{Codec: prompts(seqs), MaxTokens: n, EOS: []int32{}})
	groups, err := sampling.Rollout(ctx, e, sampling.Request{Problems: problems, Samples: 1})
	out := make([][]int32, len(groups))
	for i, g := range groups {
		out[i] = g.Samples[0].Tokens
	}
	return out, err
}

func newGenerate() *cobra.Command {
	var f modelFlags
	var prompt string
	var maxTokens int
	var temperature float32
	var seed uint64
	var raw, asJSON bool
	cmd := &cobra.Command{
		Use:   "generate",
		Short: "Answer a question, or continue a text",
		Long: "Prints what the model writes after a prompt, as it writes it. Where the model has a chat template, the prompt is a user's message in it;\n" +
			"with --raw, and where there is none, the prompt is a text to continue, tokenised with special tokens. Control characters are shown as\n" +
			"escapes; --json has every character as it is.",
		Example: "  r1 generate --model DIR -p \"What is the capital of France?\"\n  r1 generate --model DIR -p \"2 + 2 =\" --raw --temperature 0.7 --seed 3 --json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if maxTokens < 1 || !(temperature >= 0 && temperature <= 1e3) {
				return fmt.Errorf("%w: --max-tokens is %d, --temperature %g: want at least 1, and 0 to 1000", errUsage, maxTokens, temperature)
			}
			m, free, err := f.open(cmd)
			if err != nil {
				return err
			}
			g := generation{m: m, max: maxTokens, temperature: temperature, seed: seed, raw: raw}
			return errors.Join(g.run(cmd, f.model, prompt, asJSON), free())
		},
	}
	f.add(cmd)
	cmd.Flags().StringVarP(&prompt, "prompt", "p", "", "the message to answer, or the text to continue")
	cmd.Flags().IntVar(&maxTokens, "max-tokens", 128, "stop after so many tokens")
	cmd.Flags().Float32Var(&temperature, "temperature", 0, "of the draws; 0: always the likeliest token")
	cmd.Flags().Uint64Var(&seed, "seed", 0, "of the draws: the same seed gives the same text")
	cmd.Flags().BoolVar(&raw, "raw", false, "continue the prompt as it stands, without the chat template")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object when done, with reasoning and answer apart")
	return cmd
}

// visible writes control characters but newlines and tabs as Go escapes: what a model writes must not drive a terminal.
func visible(text string) string {
	if !strings.ContainsFunc(text, controls) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if controls(r) {
			b.WriteString(strings.Trim(strconv.QuoteRune(r), "'"))
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

func controls(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }

type generation struct {
	m           *model.LM
	max         int
	temperature float32
	seed        uint64
	raw         bool
}

// prompt is the text before the completion and its ids, with the tags of the model's thinking. A chat template writes the special
// tokens itself.
func (g generation) prompt(tok *tokenizer.Tokenizer, dir, text string) (string, []int32, chat.Tags, error) {
	if g.raw {
		return text, tok.Encode(text, true), chat.Think(), nil
	}
	t, err := chat.Load(dir)
	if errors.Is(err, chat.ErrNoTemplate) {
		return text, tok.Encode(text, true), chat.Think(), nil
	}
	if err != nil {
		return "", nil, chat.Tags{}, fmt.Errorf("%w; --raw does without the chat template", err)
	}
	r, err := t.Render(chat.Conversation(true, chat.Message{Role: "user", Content: text}), time.Now())
	if err != nil {
		return "", nil, chat.Tags{}, fmt.Errorf("%w; --raw does without the chat template", err)
	}
	return r.Text, tok.Encode(r.Text, false), t.Tags(), nil
}

// splittable is the completion with the tags of its thinking in it, be they special tokens, and without other special tokens.
func splittable(tok *tokenizer.Tokenizer, ids []int32, tags chat.Tags) string {
	return tok.Decode(slices.DeleteFunc(slices.Clone(ids), func(id int32) bool {
		t, _ := tok.Token(id)
		return tok.IsSpecial(id) && t != tags.Open && t != tags.Close
	}), false)
}

func (g generation) run(cmd *cobra.Command, dir, prompt string, asJSON bool) error {
	tok, err := loadTokenizer(dir)
	if err != nil {
		return err
	}
	if have := g.m.Config().VocabSize; tok.VocabSize() > have {
		return fmt.Errorf("%s: the tokenizer has %d tokens, the model's vocabulary %d: they do not belong together", dir, tok.VocabSize(), have)
	}
	before, ids, tags, err := g.prompt(tok, dir, prompt)
	if err != nil {
		return err
	}
	if room := g.m.Config().MaxPositions - len(ids); len(ids) == 0 || room < 1 {
		return fmt.Errorf("the prompt has %d tokens: want 1 to %d (max_position_embeddings less one)", len(ids), g.m.Config().MaxPositions-1)
	} else if g.max > room {
		g.max = room
	}
	eos := tok.EOS()
	for _, id := range g.m.Config().EOS {
		eos = append(eos, int32(id))
	}
	text := tok.NewStream(true)
	e := sampling.New(g.m, sampling.Options{Codec: prompts{ids}, Temperature: g.temperature, MaxTokens: g.max, Seed: g.seed, EOS: eos})
	groups, err := sampling.Rollout(cmd.Context(), e, sampling.Request{
		Problems: []reward.Problem{{Prompt: "0"}}, Samples: 1,
		Token: func(_ *sampling.Group, _ int, id int32) {
			if !asJSON && !slices.Contains(eos, id) {
				fmt.Fprint(cmd.OutOrStdout(), visible(text.Add(id)))
			}
		},
	})
	if err != nil {
		return err
	}
	got, stop := groups[0].Samples[0].Tokens, "length"
	if groups[0].Samples[0].Stop == sampling.StopEOS {
		stop = "stop"
	}
	if !asJSON {
		_, err := fmt.Fprintln(cmd.OutOrStdout(), visible(text.Flush()))
		return err
	}
	enc := json.NewEncoder(cmd.OutOrStdout())
	enc.SetEscapeHTML(false)
	whole := tok.Decode(got, true)
	parts := chat.Split(splittable(tok, got, tags), tags, tags.Opened(before))
	return enc.Encode(map[string]any{
		"prompt": prompt, "text": whole, "tokens": got, "stop": stop,
		"reasoning": parts.Reasoning, "answer": parts.Answer, "closed": parts.Closed,
	})
}
