package sft

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/gor1/gor1/data"
	"github.com/gor1/gor1/model/chat"
	"github.com/gor1/gor1/model/tokenizer"
)

// Prepare says how a row becomes a [Sequence], as TRL's SFTTrainer does it.
type Prepare struct {
	Tokenizer *tokenizer.Tokenizer
	Template  *chat.Template // for conversations; nil: rows are texts
	MaxLength int            // longer sequences are cut; 0: no limit
	KeepEnd   bool           // cut the beginning instead of the end
	// WholePrompt learns the prompt of a row with a completion as well (completion_only_loss false).
	WholePrompt bool
	// AssistantOnly learns only what the template marks as the assistant's, with {% generation %} (assistant_only_loss). A message with a
	// field "weight" of 0 or 1, or "train" of false or true, is weighed by it.
	AssistantOnly bool
	// Variables are the template's, for every row: {"enable_thinking": true}.
	Variables map[string]any
}

// ErrNothing is wrapped by the error of a row in which nothing is to be learnt: cutting took all of it. Trainers leave such rows out.
var ErrNothing = errors.New("nothing to learn is left")

// Sequence tokenises a row: a text, a conversation, or a prompt with its completion. Errors name the row.
func (p Prepare) Sequence(row data.Row) (Sequence, error) {
	e, err := row.Example()
	if err != nil {
		return Sequence{}, err
	}
	q, err := p.example(e, row)
	if err != nil {
		return q, fmt.Errorf("sft: %s: %w", row.Place, err)
	}
	if p.MaxLength > 0 && len(q.IDs) > p.MaxLength {
		if p.KeepEnd {
			q = q.Cut(Segment{0, len(q.IDs) - p.MaxLength, len(q.IDs)})
		} else {
			q = q.Cut(Segment{0, 0, p.MaxLength})
		}
	}
	if len(q.IDs) < 2 || q.Weights != nil && !slices.ContainsFunc(q.Weights[1:], func(w float32) bool { return w != 0 }) {
		return q, fmt.Errorf("sft: %s: %w: %d tokens, max_length %d", row.Place, ErrNothing, len(q.IDs), p.MaxLength)
	}
	return q, nil
}

// Prompt tokenises the prompt of a row alone, as it stands at the beginning of its Sequence. It is not cut.
func (p Prepare) Prompt(row data.Row) ([]int32, error) {
	e, err := row.As(data.PromptOnly)
	if err != nil {
		return nil, err
	}
	if e.Prompt.Messages == nil {
		return p.Tokenizer.Encode(e.Prompt.Text, true), nil
	}
	if p.Template == nil {
		return nil, fmt.Errorf("sft: %s: it is a conversation, but %w; add a chat_template.jinja to the model's folder", row.Place, chat.ErrNoTemplate)
	}
	head, err := p.render(e.Prompt.Messages, e, true)
	if err != nil {
		return nil, fmt.Errorf("sft: %s: %w", row.Place, err)
	}
	return p.Tokenizer.Encode(head.Text, false), nil
}

func (p Prepare) example(e data.Example, row data.Row) (Sequence, error) {
	switch {
	case e.Shape == data.LanguageModeling && e.Text.Messages == nil:
		return Sequence{IDs: p.close(p.Tokenizer.Encode(e.Text.Text, true))}, nil
	case e.Shape == data.LanguageModeling:
		return p.conversation(nil, e.Text.Messages, e, row)
	case e.Shape == data.PromptCompletion && e.Prompt.Messages == nil:
		return p.text(e.Prompt.Text, e.Completion.Text), nil
	case e.Shape == data.PromptCompletion:
		return p.conversation(e.Prompt.Messages, e.Completion.Messages, e, row)
	}
	return Sequence{}, fmt.Errorf("a row of the shape %s cannot be learnt by SFT; want text, messages, or prompt and completion", e.Shape)
}

// close adds the end-of-sequence token where the text does not end with one.
func (p Prepare) close(ids []int32) []int32 {
	eos := p.Tokenizer.EOS()
	if len(eos) == 0 || len(ids) > 0 && slices.Contains(eos, ids[len(ids)-1]) {
		return ids
	}
	return append(ids, eos[0])
}

// text is a prompt and a completion tokenised as one text, of which the prompt's own number of tokens is not learnt.
func (p Prepare) text(prompt, completion string) Sequence {
	q := Sequence{IDs: p.close(p.Tokenizer.Encode(prompt+completion, true))}
	if !p.WholePrompt {
		q.Weights = after(len(p.Tokenizer.Encode(prompt, true)), len(q.IDs))
	}
	return q
}

// after weighs the tokens from n on.
func after(n, total int) []float32 {
	w := make([]float32, total)
	for i := min(n, total); i < total; i++ {
		w[i] = 1
	}
	return w
}

// conversation renders messages with the model's template; the prompt's are those before the completion's.
func (p Prepare) conversation(prompt, messages []data.Message, e data.Example, row data.Row) (Sequence, error) {
	if p.Template == nil {
		return Sequence{}, fmt.Errorf("it is a conversation, but %w; add a chat_template.jinja to the model's folder", chat.ErrNoTemplate)
	}
	all, err := p.render(append(slices.Clone(prompt), messages...), e, false)
	if err != nil {
		return Sequence{}, err
	}
	ids, spans := p.Tokenizer.EncodeOffsets(all.Text, false)
	q := Sequence{IDs: ids}
	if len(prompt) > 0 && !p.WholePrompt {
		head, err := p.render(prompt, e, true)
		if err != nil {
			return q, err
		}
		q.Weights = after(len(p.Tokenizer.Encode(head.Text, false)), len(ids))
	}
	if !p.AssistantOnly {
		return q, nil
	}
	if len(all.Spans) == 0 {
		return q, errors.New("assistant_only_loss: the chat template marks nothing as the assistant's; put {% generation %} and {% endgeneration %} around what the assistant writes in it, or use prompt and completion rows")
	}
	weights, err := perTurn(append(slices.Clone(prompt), messages...), len(all.Spans))
	if err != nil {
		return q, err
	}
	mask := make([]float32, len(ids))
	for i, s := range spans {
		for j, g := range all.Spans {
			if s.Start < g[1] && s.End > g[0] {
				mask[i] = weights[j]
			}
		}
	}
	for i := range q.Weights {
		mask[i] *= q.Weights[i]
	}
	q.Weights = mask
	return q, nil
}

// perTurn are the weights of what the assistant wrote, one a span: 1, or what the messages' own fields say.
func perTurn(messages []data.Message, spans int) ([]float32, error) {
	weights, said := []float32{}, false
	for i, m := range messages {
		if m.Role != "assistant" {
			continue
		}
		w := float32(1)
		for _, name := range []string{"weight", "train"} {
			v, ok := m.Fields.Get(name)
			if !ok {
				continue
			}
			said = true
			switch v {
			case int64(1), 1.0, true:
			case int64(0), 0.0, false:
				w = 0
			default:
				return nil, fmt.Errorf("message %d: %s is %v, want 0 or 1", i, name, v)
			}
		}
		weights = append(weights, w)
	}
	switch {
	case len(weights) == spans:
		return weights, nil
	case said:
		return nil, fmt.Errorf("messages have weights of their own, but the template marks %d stretches for %d assistant messages: it is not clear which is whose", spans, len(weights))
	}
	return slices.Repeat([]float32{1}, spans), nil
}

func (p Prepare) render(messages []data.Message, e data.Example, generate bool) (chat.Rendered, error) {
	vars := map[string]any{}
	for _, f := range e.Columns {
		if f.Name == "chat_template_kwargs" {
			if own, ok := f.Value.(data.Object); ok {
				for _, v := range own {
					vars[v.Name] = v.Value
				}
			}
		}
	}
	for k, v := range p.Variables {
		vars[k] = v
	}
	list := make([]data.Object, len(messages))
	for i, m := range messages {
		list[i] = m.Fields
	}
	vars["messages"], vars["add_generation_prompt"] = list, generate
	if e.Tools != nil {
		vars["tools"] = e.Tools
	}
	text, err := json.Marshal(vars)
	if err != nil {
		return chat.Rendered{}, err
	}
	v, err := chat.ParseVars(text)
	if err != nil {
		return chat.Rendered{}, err
	}
	return p.Template.Render(v, time.Unix(0, 0).UTC())
}
