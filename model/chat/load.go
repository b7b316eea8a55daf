package chat

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gor1/gor1/model/chat/internal/jinja"
)

// ErrNoTemplate is wrapped by Load's error for a folder that has no chat template, as base models have none.
var ErrNoTemplate = errors.New("no chat template")

const maxFile = 64 << 20

// Load reads the chat template of a model folder with its special tokens. chat_template.jinja and the files of
// additional_chat_templates win over the entry chat_template of tokenizer_config.json, which may be a list of named templates.
// Special tokens are the entries whose names end in _token, strings or objects with a content; special_tokens_map.json adds to them
// where the configuration has no added_tokens_decoder. This is what transformers 5 reads.
func Load(dir string) (*Template, error) {
	t, config, err := bare(dir)
	if err != nil {
		return nil, err
	}
	if err := t.readFiles(dir); err != nil {
		return nil, err
	}
	if len(t.named) == 0 {
		if err := t.readEntry(config["chat_template"]); err != nil {
			return nil, fmt.Errorf("chat: %s: chat_template: %w", filepath.Join(dir, "tokenizer_config.json"), err)
		}
	}
	if len(t.named) == 0 {
		return nil, fmt.Errorf("chat: %s: %w: neither chat_template.jinja nor an entry of tokenizer_config.json", dir, ErrNoTemplate)
	}
	return t, nil
}

// LoadWith is the folder's special tokens with another template: a file with its text, or a folder whose template it is.
func LoadWith(dir, from string) (*Template, error) {
	t, _, err := bare(dir)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(from)
	if err != nil {
		return nil, fmt.Errorf("chat: %w", err)
	}
	if info.IsDir() {
		other, err := Load(from)
		if err != nil {
			return nil, err
		}
		t.named = other.named
		return t, nil
	}
	text, err := readLimited(from)
	if err == nil {
		err = t.add(defaultName, string(text))
	}
	if err != nil {
		return nil, fmt.Errorf("chat: %s: %w", from, err)
	}
	return t, nil
}

// bare is a folder's special tokens without a template, and its tokenizer_config.json.
func bare(dir string) (*Template, map[string]json.RawMessage, error) {
	t := &Template{named: map[string]source{}, tokens: jinja.NewDict()}
	config, err := readObject(filepath.Join(dir, "tokenizer_config.json"))
	if err != nil {
		return nil, nil, err
	}
	if _, ok := config["added_tokens_decoder"]; !ok {
		legacy, err := readObject(filepath.Join(dir, "special_tokens_map.json"))
		if err != nil {
			return nil, nil, err
		}
		for k, v := range legacy {
			config[k] = v
		}
	}
	if err := t.readTokens(config); err != nil {
		return nil, nil, fmt.Errorf("chat: %s: %w", dir, err)
	}
	return t, config, nil
}

// readObject reads a JSON object; a file that is not there is an empty one.
func readObject(path string) (map[string]json.RawMessage, error) {
	o := map[string]json.RawMessage{}
	data, err := readLimited(path)
	if errors.Is(err, fs.ErrNotExist) {
		return o, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &o)
	}
	if err != nil {
		return nil, fmt.Errorf("chat: %s: %w", path, err)
	}
	if o == nil {
		return nil, fmt.Errorf("chat: %s: want a JSON object", path)
	}
	return o, nil
}

func readLimited(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("larger than %d bytes", maxFile)
	}
	return data, err
}

// readTokens takes the special tokens out of the configuration.
func (t *Template) readTokens(config map[string]json.RawMessage) error {
	extra := map[string]json.RawMessage{}
	_ = json.Unmarshal(config["extra_special_tokens"], &extra) // a list of tokens without names is no matter of templates
	named := map[string]json.RawMessage{}
	for k, v := range config {
		if strings.HasSuffix(k, "_token") {
			named[k] = v
		}
	}
	for k, v := range extra {
		named[k] = v
	}
	var names []string
	for k := range named {
		names = append(names, k)
	}
	slices.Sort(names)
	for _, k := range names {
		var token any
		if err := json.Unmarshal(named[k], &token); err != nil {
			return fmt.Errorf("%s: %w", k, err)
		}
		switch token := token.(type) {
		case string:
			t.tokens.Set(k, token)
		case map[string]any:
			if s, ok := token["content"].(string); ok {
				t.tokens.Set(k, s)
			}
		}
	}
	return nil
}

// readFiles reads the templates that are files of their own.
func (t *Template) readFiles(dir string) error {
	more, err := filepath.Glob(filepath.Join(escapeGlob(dir), "additional_chat_templates", "*.jinja"))
	if err != nil {
		return fmt.Errorf("chat: %s: %w", dir, err)
	}
	for _, path := range append(more, filepath.Join(dir, "chat_template.jinja")) {
		data, err := readLimited(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		name := strings.TrimSuffix(filepath.Base(path), ".jinja")
		if name == "chat_template" && filepath.Dir(path) == filepath.Clean(dir) {
			name = defaultName
		}
		if err == nil {
			err = t.add(name, string(data))
		}
		if err != nil {
			return fmt.Errorf("chat: %s: %w", path, err)
		}
	}
	return nil
}

// escapeGlob quotes the characters that mean something to filepath.Glob.
func escapeGlob(dir string) string {
	return strings.NewReplacer("*", "[*]", "?", "[?]", "[", "[[]").Replace(dir)
}

// readEntry reads the entry of tokenizer_config.json: one template or a list of named ones.
func (t *Template) readEntry(entry json.RawMessage) error {
	if len(entry) == 0 || string(entry) == "null" {
		return nil
	}
	var text string
	if json.Unmarshal(entry, &text) == nil {
		return t.add(defaultName, text)
	}
	var list []struct{ Name, Template string }
	if err := json.Unmarshal(entry, &list); err != nil {
		return errors.New("want a template or a list of objects with name and template")
	}
	for _, e := range list {
		if err := t.add(e.Name, e.Template); err != nil {
			return fmt.Errorf("template %q: %w", e.Name, err)
		}
	}
	return nil
}
