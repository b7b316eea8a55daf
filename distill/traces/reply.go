package traces

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// draft is what a reply says before it is judged as a whole.
type draft struct {
	Answer
	id, role, finish string
	other            bool // the teacher did something else than write text
}

// parse reads a reply: a chat completion, or a stream of its pieces.
func parse(reply []byte) (Answer, error) {
	if !utf8.Valid(reply) {
		return Answer{}, Rejected{"not UTF-8", ""}
	}
	text := bytes.TrimSpace(reply)
	var d draft
	var err error
	if len(text) > 0 && text[0] != '{' && (bytes.HasPrefix(text, []byte("data:")) || bytes.HasPrefix(text, []byte("event:")) || text[0] == ':') {
		err = d.stream(string(text))
	} else {
		err = d.whole(text)
	}
	if err != nil {
		return Answer{}, err
	}
	return d.judge()
}

// judge takes a draft that is one whole text.
func (d draft) judge() (Answer, error) {
	a := d.Answer
	switch {
	case d.other:
		return a, Rejected{"no text", "a tool call or a refusal"}
	case d.finish != "stop":
		return a, Rejected{"unfinished", fmt.Sprintf("finish_reason is %.40q", d.finish)}
	case d.role != "" && d.role != "assistant":
		return a, Rejected{"wrong role", fmt.Sprintf("%.40q", d.role)}
	}
	if a.Reasoning == "" { // a server without a parser for reasoning leaves it in the content, R1's template its opening tag in the prompt
		if reasoning, content, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(a.Content), "<think>"), "</think>"); ok {
			a.Reasoning, a.Content = reasoning, content
		}
	}
	a.Reasoning, a.Content = strings.TrimSpace(a.Reasoning), strings.TrimSpace(a.Content)
	both := a.Reasoning + "\n" + a.Content
	switch {
	case a.Content == "":
		return a, Rejected{"empty", ""}
	case strings.Contains(both, "<think>") || strings.Contains(both, "</think>"):
		return a, Rejected{"stray think tags", ""}
	case strings.ContainsAny(both, "\x00\uFFFD"):
		return a, Rejected{"broken characters", ""}
	}
	return a, nil
}

// whole reads a chat completion.
func (d *draft) whole(text []byte) error {
	top, err := object(text)
	if err != nil {
		return err
	}
	choice, err := d.head(top)
	if err != nil {
		return err
	}
	if choice == nil {
		return Rejected{"not one choice", "there is none"}
	}
	if d.finish, err = choice.text("finish_reason"); err != nil {
		return err
	}
	message, err := choice.object("message")
	if err != nil {
		return err
	}
	return d.add(message)
}

// stream reads server-sent events: pieces of one choice, then [DONE].
func (d *draft) stream(text string) error {
	done := false
	for event := range strings.SplitSeq(strings.ReplaceAll(text, "\r\n", "\n"), "\n\n") {
		var data []string
		for line := range strings.SplitSeq(event, "\n") {
			name, value, _ := strings.Cut(line, ":")
			switch {
			case name == "data":
				data = append(data, strings.TrimPrefix(value, " "))
			case name == "event" && strings.TrimSpace(value) == "error":
				return Rejected{"an error", "in the stream"}
			case name != "" && name != "event" && name != "id" && name != "retry":
				return Rejected{"not a stream", fmt.Sprintf("%.80q", line)}
			}
		}
		switch payload := strings.Join(data, "\n"); {
		case len(data) == 0:
		case done:
			return Rejected{"not a stream", "it goes on after its end"}
		case payload == "[DONE]":
			done = true
		default:
			if err := d.piece([]byte(payload)); err != nil {
				return err
			}
		}
	}
	if !done {
		return Rejected{"cut", "the stream has no end"}
	}
	return nil
}

// piece adds one event's data.
func (d *draft) piece(data []byte) error {
	top, err := object(data)
	if err != nil {
		return err
	}
	before := d.Model
	id, err := top.text("id")
	if err != nil {
		return err
	}
	choice, err := d.head(top)
	if err != nil {
		return err
	}
	if d.id == "" {
		d.id = id
	}
	if d.id != id || before != "" && before != d.Model {
		return Rejected{"not one reply", "pieces of two"}
	}
	if choice == nil { // usage, at the end
		return nil
	}
	was := d.finish
	finish, err := choice.text("finish_reason")
	if err != nil {
		return err
	}
	delta, err := choice.object("delta")
	if err != nil {
		return err
	}
	had := len(d.Reasoning) + len(d.Content)
	if err := d.add(delta); err != nil {
		return err
	}
	if was != "" && (finish != "" || len(d.Reasoning)+len(d.Content) > had) {
		return Rejected{"not a stream", "it goes on after its end"}
	}
	if finish != "" {
		d.finish = finish
	}
	return nil
}

// head reads what stands above a choice, and the choice; nil: there is none.
func (d *draft) head(top fields) (fields, error) {
	if e, ok := top["error"]; ok && string(e) != "null" {
		return nil, Rejected{"an error", fmt.Sprintf("%.200q", e)}
	}
	var err error
	if d.Model, err = top.text("model"); err != nil {
		return nil, err
	}
	if usage, ok := top["usage"]; ok && string(usage) != "null" {
		u, err := object(usage)
		if err != nil {
			return nil, err
		}
		if n, ok := u["completion_tokens"]; ok && string(n) != "null" {
			if err := json.Unmarshal(n, &d.Tokens); err != nil || d.Tokens < 0 {
				return nil, Rejected{"wrong type", "usage.completion_tokens"}
			}
		}
	}
	var choices []json.RawMessage
	if err := json.Unmarshal(top["choices"], &choices); err != nil {
		return nil, Rejected{"wrong type", "choices is no list"}
	}
	if len(choices) > 1 {
		return nil, Rejected{"not one choice", fmt.Sprintf("there are %d", len(choices))}
	}
	if len(choices) == 0 {
		return nil, nil
	}
	choice, err := object(choices[0])
	if err != nil {
		return nil, err
	}
	if index, ok := choice["index"]; ok && string(index) != "0" {
		return nil, Rejected{"not one choice", fmt.Sprintf("it is number %.20s", index)}
	}
	return choice, nil
}

// add adds a message, or a piece of one. DeepSeek's servers call the reasoning reasoning_content, vLLM's reasoning; a server may send both.
func (d *draft) add(m fields) error {
	var text [4]string
	for i, name := range []string{"role", "content", "reasoning_content", "reasoning"} {
		var err error
		if text[i], err = m.text(name); err != nil {
			return err
		}
	}
	if text[2] != "" && text[3] != "" && text[2] != text[3] {
		return Rejected{"two reasonings", "reasoning_content and reasoning differ"}
	}
	if text[2] == "" {
		text[2] = text[3]
	}
	if d.role == "" {
		d.role = text[0]
	}
	d.Content += text[1]
	d.Reasoning += text[2]
	for _, name := range []string{"tool_calls", "function_call", "refusal", "audio"} {
		switch string(m[name]) {
		case "", "null", "[]", `""`:
		default:
			d.other = true
		}
	}
	return nil
}

// fields are a JSON object's, each name as it is written: encoding/json would take "Content" for content, and the last of two.
type fields map[string]json.RawMessage

// object reads one JSON object and nothing after it.
func object(text []byte) (fields, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, Rejected{"not JSON", fmt.Sprintf("want an object, got %.120q", text)}
	}
	out := fields{}
	for d.More() {
		name, err := d.Token()
		var value json.RawMessage
		if err == nil {
			err = d.Decode(&value)
		}
		key, ok := name.(string)
		if err != nil || !ok {
			return nil, Rejected{"not JSON", fmt.Sprint(err)}
		}
		if _, twice := out[key]; twice {
			return nil, Rejected{"not JSON", fmt.Sprintf("%.40q is there twice", key)}
		}
		out[key] = value
	}
	if _, err := d.Token(); err != nil {
		return nil, Rejected{"not JSON", "it breaks off"}
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, Rejected{"not JSON", "something follows it"}
	}
	return out, nil
}

// text is a field that is a text, empty where it is absent or null.
func (f fields) text(name string) (string, error) {
	v, ok := f[name]
	if !ok || string(v) == "null" {
		return "", nil
	}
	var s string
	if err := json.Unmarshal(v, &s); err != nil {
		return "", Rejected{"wrong type", name + " is no text"}
	}
	return s, nil
}

// object is a field that must be an object.
func (f fields) object(name string) (fields, error) {
	v, ok := f[name]
	if !ok {
		return nil, Rejected{"wrong type", name + " is missing"}
	}
	return object(v)
}
