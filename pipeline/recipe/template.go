package recipe

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/gor1/gor1/data"
	"github.com/gor1/gor1/model/chat"
	"github.com/gor1/gor1/model/tokenizer"
)

// r1zero is the template of arXiv 2501.12948, table 1, in one paragraph, with the question in place of %s.
const r1zero = "A conversation between User and Assistant. The user asks a question, and the Assistant solves it. The assistant first thinks about the reasoning process in the mind and then provides the user with the answer. " +
	"The reasoning process and answer are enclosed within <think> </think> and <answer> </answer> tags, respectively, i.e., <think> reasoning process here </think> <answer> answer here </answer>. User: %s Assistant:"

// render makes the text of a prompt.
type render func(c data.Content, row data.Row) (string, error)

// asking is how prompts of the model in dir are made and tokenised. Where the recipe leaves the template open, a note says which it is.
func (p Questions) asking(dir string, notes *closers) (f render, c codec, err error) {
	if c.tok, err = tokenizer.Load(dir); err != nil {
		return nil, c, err
	}
	f, special, note, err := p.template(dir)
	if err != nil {
		return nil, c, err
	}
	if note != "" {
		notes.note("%s", note)
	}
	c.special = special
	return f, c, nil
}

// template is how prompts are made, whether the tokenizer must add the tokens that begin a text (a chat template writes them
// itself), and a note where the recipe leaves the choice open.
func (p Questions) template(dir string) (f render, special bool, note string, err error) {
	t, err := chat.Load(dir)
	if err == nil && p.Template != "chat" && p.Template != "" {
		note = fmt.Sprintf("the model has a chat template, which prompt_template %s does not use", p.Template)
	}
	switch p.Template {
	case "none":
		return p.plain, true, note, nil
	case "r1zero":
		return p.zero, true, note, nil
	case "chat", "":
	default:
		return nil, false, "", fmt.Errorf("recipe: prompt_template is %q, want chat, r1zero or none", p.Template)
	}
	switch {
	case err == nil:
		return p.chat(t), false, "", nil
	case !errors.Is(err, chat.ErrNoTemplate):
		return nil, false, "", err
	case p.Template == "chat":
		return nil, false, "", fmt.Errorf("recipe: prompt_template is chat, but %w; use r1zero for a base model, or put a chat_template.jinja into the folder", err)
	}
	return p.zero, true, "the model has no chat template: prompts are in R1-Zero's (prompt_template r1zero)", nil
}

// plain is the text as it is.
func (p Questions) plain(c data.Content, row data.Row) (string, error) {
	if c.Messages != nil || p.System != "" {
		return "", fmt.Errorf("recipe: %s: prompt_template none takes a prompt that is a text, and no system_prompt", row.Place)
	}
	return c.Text, nil
}

// zero asks the question in R1-Zero's template.
func (p Questions) zero(c data.Content, row data.Row) (string, error) {
	question := c.Text
	switch {
	case p.System != "":
		return "", errors.New("recipe: prompt_template r1zero has no place for a system_prompt")
	case len(c.Messages) > 1:
		return "", fmt.Errorf("recipe: %s: prompt_template r1zero asks one question, the prompt has %d messages", row.Place, len(c.Messages))
	case len(c.Messages) == 1:
		question = c.Messages[0].Content
	}
	return fmt.Sprintf(r1zero, question), nil
}

// chat asks in the model's own template. now is the Unix epoch: a run is the same on every day.
func (p Questions) chat(t *chat.Template) render {
	return func(c data.Content, row data.Row) (string, error) {
		var messages []any
		if p.System != "" {
			messages = append(messages, turn("system", p.System))
		}
		for _, m := range c.Messages {
			messages = append(messages, m.Fields)
		}
		if c.Messages == nil {
			messages = append(messages, turn("user", c.Text))
		}
		vars := map[string]any{}
		for k, v := range p.TemplateArgs {
			vars[k] = v
		}
		if tools, ok := row.Fields.Get("tools"); ok && tools != nil {
			vars["tools"] = tools
		}
		vars["messages"], vars["add_generation_prompt"] = messages, true
		text, err := json.Marshal(vars)
		if err != nil {
			return "", fmt.Errorf("recipe: %s: %w", row.Place, err)
		}
		v, err := chat.ParseVars(text)
		if err != nil {
			return "", fmt.Errorf("recipe: %s: %w", row.Place, err)
		}
		out, err := t.Render(v, time.Unix(0, 0).UTC())
		if err != nil {
			return "", fmt.Errorf("recipe: %s: %w", row.Place, err)
		}
		return out.Text, nil
	}
}

func turn(role, content string) data.Object {
	return data.Object{{Name: "role", Value: role}, {Name: "content", Value: content}}
}
