package data

import (
	"fmt"
	"slices"
	"strings"
)

// Shape is what a row is for; the names and columns are those of TRL's "dataset formats and types".
type Shape int

// The shapes. Each is of text or conversational: a list of messages stands wherever a text can.
const (
	LanguageModeling Shape = iota + 1 // text, or messages
	PromptOnly                        // prompt
	PromptCompletion                  // prompt, completion
	Preference                        // prompt, chosen, rejected; the prompt may also be the common beginning of the two
)

// String is TRL's name of the shape.
func (s Shape) String() string {
	names := []string{"language modeling", "prompt-only", "prompt-completion", "preference"}
	if s < LanguageModeling || s > Preference {
		return fmt.Sprintf("Shape(%d)", int(s))
	}
	return names[s-1]
}

// Message is one turn of a conversation.
type Message struct {
	Role    string
	Content string // of content given in parts, their texts joined
	Fields  Object // all of the message, as a chat template sees it; fields that are null (Parquet fills them in) are left out
}

// Content is a text or a conversation.
type Content struct {
	Text     string
	Messages []Message // nil: it is a text
}

// Example is a row read as one shape.
type Example struct {
	Shape            Shape
	Text             Content // language modeling: the column text or messages
	Prompt           Content
	Completion       Content
	Chosen, Rejected Content
	Tools            []any  // the column tools, schemas of functions; nil: none
	Columns          Object // all other columns, for reward functions and templates
}

// Example reads the row as the shape that its columns make. Columns that make two shapes are an error; see As.
func (r Row) Example() (Example, error) {
	var shapes []Shape
	switch has := r.Has; {
	case has("chosen") || has("rejected"):
		shapes = append(shapes, Preference)
	case has("completion"):
		shapes = append(shapes, PromptCompletion)
	case has("prompt"):
		shapes = append(shapes, PromptOnly)
	}
	if r.Has("text") || r.Has("messages") {
		shapes = append(shapes, LanguageModeling)
	}
	switch len(shapes) {
	case 0:
		return Example{}, r.fail("", "no shape: want text, messages, prompt, prompt and completion, or chosen and rejected; the row has %s: rename columns", strings.Join(r.Fields.Names(), ", "))
	case 2:
		return Example{}, r.fail("", "the columns make two shapes, %s and %s: say which, or leave columns out", shapes[0], shapes[1])
	}
	return r.As(shapes[0])
}

// As reads the row as the given shape; other columns, whatever their names, go into Columns.
func (r Row) As(shape Shape) (Example, error) {
	e := Example{Shape: shape}
	type column struct {
		name string
		to   *Content
	}
	var want []column
	switch shape {
	case LanguageModeling:
		switch text, messages := r.Has("text"), r.Has("messages"); {
		case text && messages:
			return Example{}, r.fail("", "has both text and messages; leave one out")
		case messages:
			want = []column{{"messages", &e.Text}}
		default:
			want = []column{{"text", &e.Text}}
		}
	case PromptOnly:
		want = []column{{"prompt", &e.Prompt}}
	case PromptCompletion:
		want = []column{{"prompt", &e.Prompt}, {"completion", &e.Completion}}
	case Preference:
		want = []column{{"chosen", &e.Chosen}, {"rejected", &e.Rejected}}
		if r.Has("prompt") {
			want = append(want, column{"prompt", &e.Prompt})
		}
	default:
		return Example{}, r.fail("", "there is no %v", shape)
	}
	for _, c := range want {
		var err error
		if *c.to, err = r.Content(c.name); err != nil {
			return Example{}, err
		}
		if (c.to.Messages == nil) != (want[0].to.Messages == nil) {
			return Example{}, r.fail(c.name, "is in another form than %q: both must be texts or both lists of messages", want[0].name)
		}
	}
	if want[0].name == "text" && e.Text.Messages != nil {
		return Example{}, r.fail("text", "is a list of messages; call the column messages")
	}
	if want[0].name == "messages" && e.Text.Messages == nil {
		return Example{}, r.fail("messages", "want a list of messages, got a string; call the column text")
	}
	if shape == Preference && !r.Has("prompt") {
		if err := e.splitPrompt(r); err != nil {
			return Example{}, err
		}
	}
	for _, f := range r.Fields {
		if f.Name != "tools" && !slices.ContainsFunc(want, func(c column) bool { return c.name == f.Name }) {
			e.Columns = append(e.Columns, f)
		}
	}
	var err error
	e.Tools, err = r.tools()
	return e, err
}

// splitPrompt takes the common beginning of chosen and rejected as the prompt: whole messages, or text up to the last space.
func (e *Example) splitPrompt(r Row) error {
	c, j := &e.Chosen, &e.Rejected
	if c.Messages == nil {
		n := 0
		for n < min(len(c.Text), len(j.Text)) && c.Text[n] == j.Text[n] {
			n++
		}
		n = strings.LastIndexAny(c.Text[:n], " \n") // a word that only begins alike is no prompt, nor is half a letter
		if n <= 0 {
			return r.fail("prompt", "is missing, and chosen and rejected do not begin alike")
		}
		e.Prompt.Text, c.Text, j.Text = c.Text[:n], c.Text[n:], j.Text[n:]
		return nil
	}
	n := 0
	for n < min(len(c.Messages), len(j.Messages)) && describeMessage(c.Messages[n]) == describeMessage(j.Messages[n]) {
		n++
	}
	if n == 0 || n == len(c.Messages) || n == len(j.Messages) {
		return r.fail("prompt", "is missing; of %d messages of chosen and %d of rejected, %d are a common beginning, want at least one and a message more in each", len(c.Messages), len(j.Messages), n)
	}
	e.Prompt.Messages, c.Messages, j.Messages = c.Messages[:n:n], c.Messages[n:], j.Messages[n:]
	return nil
}

// describeMessage is equal for equal messages.
func describeMessage(m Message) string {
	text, err := m.Fields.MarshalJSON()
	if err != nil {
		return fmt.Sprintf("%v", m.Fields)
	}
	return string(text)
}

// Content reads a column that is a text or a list of messages.
func (r Row) Content(name string) (Content, error) {
	v, err := r.value(name)
	if err != nil {
		return Content{}, err
	}
	switch v := v.(type) {
	case string:
		return Content{Text: v}, nil
	case []any:
		messages, err := r.messages(name, v)
		return Content{Messages: messages}, err
	}
	return Content{}, r.fail(name, "want a string or a list of messages, got %s", describe(v))
}

// Messages reads a column that is a list of messages.
func (r Row) Messages(name string) ([]Message, error) {
	list, err := r.List(name)
	if err != nil {
		return nil, err
	}
	return r.messages(name, list)
}

func (r Row) messages(name string, list []any) ([]Message, error) {
	if len(list) == 0 {
		return nil, r.fail(name, "is a list without messages")
	}
	messages := make([]Message, len(list))
	for i, v := range list {
		m, err := readMessage(v)
		if err != nil {
			return nil, r.fail(fmt.Sprintf("%s[%d]", name, i), "%w", err)
		}
		messages[i] = m
	}
	return messages, nil
}

// readMessage reads {"role": ..., "content": ...} and keeps its other fields.
func readMessage(v any) (Message, error) {
	o, ok := v.(Object)
	if !ok {
		return Message{}, fmt.Errorf("want a message, an object with role and content, got %s", describe(v))
	}
	var m Message
	for _, f := range o {
		if f.Value != nil {
			m.Fields = append(m.Fields, f)
		}
	}
	role, ok := m.Fields.Get("role")
	if m.Role, _ = role.(string); m.Role == "" {
		if _, sharegpt := m.Fields.Get("from"); sharegpt && !ok {
			return Message{}, fmt.Errorf("has from and value; turn them into role and content with Map and FromValue")
		}
		return Message{}, fmt.Errorf("want a role, got %s", describe(role))
	}
	content, ok := m.Fields.Get("content")
	switch c := content.(type) {
	case string:
		m.Content = c
	case []any:
		text, err := joinParts(c)
		if err != nil {
			return Message{}, err
		}
		m.Content = text
	default:
		if _, calls := m.Fields.Get("tool_calls"); ok || !calls {
			return Message{}, fmt.Errorf("content: want a string, got %s", describe(content))
		}
	}
	return m, nil
}

// joinParts reads content of the form [{"type": "text", "text": ...}].
func joinParts(parts []any) (string, error) {
	var b strings.Builder
	for i, p := range parts {
		o, _ := p.(Object)
		kind, _ := o.Get("type")
		text, _ := o.Get("text")
		s, ok := text.(string)
		if kind != "text" || !ok {
			return "", fmt.Errorf("content[%d]: only parts of type text can be read, got %s with type %s", i, describe(p), describe(kind))
		}
		b.WriteString(s)
	}
	return b.String(), nil
}

// tools reads the column tools: a list of schemas, or the JSON text of one, as data sets that Arrow stored have it.
func (r Row) tools() ([]any, error) {
	v, _ := r.Fields.Get("tools")
	if s, ok := v.(string); ok && s != "" {
		var err error
		if v, err = parseJSON([]byte(s)); err != nil {
			return nil, r.fail("tools", "is a string that %w", err)
		}
	}
	switch v := v.(type) {
	case nil:
		return nil, nil
	case string:
		return nil, nil
	case []any:
		return v, nil
	}
	return nil, r.fail("tools", "want a list of schemas, got %s", describe(v))
}

// FromValue is for Map: it turns messages of the form {"from": "human", "value": ...} into {"role": "user", "content": ...} in all
// columns, and calls the column conversations messages. The roles human and gpt become user and assistant, others stay.
func FromValue(r Row) (Row, error) {
	fields := slices.Clone(r.Fields)
	for i, f := range fields {
		switch v := f.Value.(type) {
		case []any:
			list := make([]any, len(v))
			for k, m := range v {
				list[k] = chatML(m)
			}
			fields[i].Value = list
		case Object:
			if m, ok := chatML(v).(Object); ok && len(m) > 0 && m[0].Name == "role" {
				fields[i].Value = []any{m} // a preference pair's single answer
			}
		}
		if f.Name == "conversations" {
			if _, taken := fields.Get("messages"); taken {
				return r, r.fail(f.Name, "cannot be called messages: the row has that column too")
			}
			fields[i].Name = "messages"
		}
	}
	r.Fields = fields
	return r, nil
}

// chatML converts one message, or returns what is none as it is.
func chatML(v any) any {
	o, ok := v.(Object)
	if !ok {
		return v
	}
	from, hasFrom := o.Get("from")
	value, hasValue := o.Get("value")
	if !hasFrom || !hasValue {
		return v
	}
	switch from {
	case "human":
		from = "user"
	case "gpt":
		from = "assistant"
	}
	return Object{{"role", from}, {"content", value}}
}
