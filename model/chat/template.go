package chat

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/gor1/gor1/model/chat/internal/jinja"
)

// Error is a failure of a template: what Python would raise and the line of the template. It is found with errors.As in the errors
// of Parse, Load and Render. A message of raise_exception has the kind TemplateError.
type Error = jinja.Error

// ErrLimit is wrapped by the error of a render whose budget of steps, bytes or depth is spent. The budget depends on nothing but
// the template and its variables.
var ErrLimit = jinja.ErrLimit

// Template is a model's chat template, or its several named ones, with the special tokens it may use. Several goroutines may use one.
type Template struct {
	named  map[string]source
	tokens *jinja.Dict
}

type source struct {
	text string
	t    *jinja.Template
}

const defaultName, toolName = "default", "tool_use"

// Parse reads one template. Its special tokens are whatever the variables of each render say.
func Parse(text string) (*Template, error) {
	t := &Template{named: map[string]source{}, tokens: jinja.NewDict()}
	if err := t.add(defaultName, text); err != nil {
		return nil, fmt.Errorf("chat: template: %w", err)
	}
	return t, nil
}

func (t *Template) add(name, text string) error {
	parsed, err := jinja.Parse(text)
	if err != nil {
		return err
	}
	t.named[name] = source{text, parsed}
	return nil
}

// Vars are the variables of one render: messages, tools, add_generation_prompt and any others. The zero value has none.
type Vars struct{ d *jinja.Dict }

// ParseVars reads variables from one JSON object. The order of keys counts, as it does in Python, and 1 is an int, 1.0 a float.
func ParseVars(object []byte) (Vars, error) {
	v, err := jinja.ParseJSON(bytes.NewReader(object))
	if err != nil {
		return Vars{}, fmt.Errorf("chat: variables: %w", err)
	}
	d, ok := v.(*jinja.Dict)
	if !ok {
		return Vars{}, errors.New("chat: variables: want one JSON object")
	}
	return Vars{d}, nil
}

// Message is one turn of a conversation.
type Message struct{ Role, Content string }

// Conversation are the variables of a plain conversation, with add_generation_prompt where the model is to go on from it.
func Conversation(generate bool, messages ...Message) Vars {
	l := &jinja.List{}
	for _, m := range messages {
		l.Items = append(l.Items, jinja.NewDict("role", m.Role, "content", m.Content))
	}
	return Vars{jinja.NewDict("messages", l, "add_generation_prompt", generate)}
}

// Rendered is a conversation as the model's text.
type Rendered struct {
	Text string
	// Spans are the byte ranges [start, end) of Text that {% generation %} blocks made: what the assistant wrote. They are in the
	// order in which the blocks ended. A template without such blocks has none.
	Spans [][2]int
}

// Render renders a conversation. Special tokens and, as None or false, tools, documents and add_generation_prompt are there unless
// the variables say otherwise; tools pick the template named tool_use where there is one. now is what strftime_now writes, in its own
// zone. A failing template gives an *Error. The text has its special tokens in it: it is to be tokenised without adding more.
func (t *Template) Render(v Vars, now time.Time) (Rendered, error) {
	vars := jinja.NewDict("tools", nil, "documents", nil, "add_generation_prompt", false)
	vars.Update(t.tokens)
	vars.Update(v.d)
	if err := checkTools(vars); err != nil {
		return Rendered{}, err
	}
	tools, _ := vars.Get("tools")
	s, err := t.pick(tools != nil)
	if err != nil {
		return Rendered{}, err
	}
	r, err := s.t.Render(vars, jinja.Options{Now: now})
	if err != nil {
		return Rendered{}, fmt.Errorf("chat: template: %w", err)
	}
	return Rendered{Text: r.Text, Spans: r.Spans}, nil
}

// checkTools refuses what transformers refuses before it renders.
func checkTools(vars *jinja.Dict) error {
	for _, name := range [...]string{"tools", "documents"} {
		v, _ := vars.Get(name)
		l, ok := v.(*jinja.List)
		if v == nil {
			continue
		}
		if !ok {
			return fmt.Errorf("chat: %s: want a list of objects or null", name)
		}
		for i, item := range l.Items {
			if _, ok := item.(*jinja.Dict); !ok {
				return fmt.Errorf("chat: %s: item %d is no object", name, i)
			}
		}
	}
	return nil
}

func (t *Template) pick(tools bool) (source, error) {
	if s, ok := t.named[toolName]; ok && tools {
		return s, nil
	}
	if s, ok := t.named[defaultName]; ok {
		return s, nil
	}
	return source{}, errors.New("chat: the model has several chat templates and none is named default or fits: name one with Named")
}

// Text is the default template as chat_template.jinja holds it; empty where none is named default.
func (t *Template) Text() string { return t.named[defaultName].text }

// Named is the template with one of its several texts, such as "rag", in place of the default.
func (t *Template) Named(name string) (*Template, error) {
	s, ok := t.named[name]
	if !ok {
		return nil, fmt.Errorf("chat: no template is named %q", name)
	}
	return &Template{named: map[string]source{defaultName: s}, tokens: t.tokens}, nil
}
