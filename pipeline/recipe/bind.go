// Package recipe reads what a training run is to be from YAML files and flags, under the names that TRL and open-r1 use, and builds
// the run from the packages. Names exist here and nowhere else.
package recipe

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
	yaml "go.yaml.in/yaml/v3"
)

// Bind adds a flag for every field of the struct that v points to, and of the structs embedded in it. The tags key and help name
// and explain it; the field's value is the default. A pointer is a value that may be absent. The tag null is what YAML's null sets, where
// that is not the default.
func Bind(fs *pflag.FlagSet, v any) {
	walk(reflect.ValueOf(v).Elem(), func(t reflect.StructField, f reflect.Value) {
		key := t.Tag.Get("key")
		fs.Var(&setting{f, t.Tag.Get("null")}, key, t.Tag.Get("help"))
		if f.Kind() == reflect.Bool {
			fs.Lookup(key).NoOptDefVal = "true"
		}
	})
}

// Values are the struct's fields by key, absent ones left out: what a checkpoint records. Fields tagged `run:"-"` (where and how fast,
// not what) are left out.
func Values(v any) map[string]any {
	all := map[string]any{}
	rv := reflect.ValueOf(v).Elem()
	walk(rv, func(t reflect.StructField, f reflect.Value) {
		if t.Tag.Get("run") == "-" || f.Kind() == reflect.Pointer && f.IsNil() {
			return
		}
		if f.Kind() == reflect.Pointer {
			f = f.Elem()
		}
		all[t.Tag.Get("key")] = f.Interface()
	})
	return all
}

func walk(v reflect.Value, each func(t reflect.StructField, f reflect.Value)) {
	for i := range v.NumField() {
		if t := v.Type().Field(i); t.Anonymous {
			walk(v.Field(i), each)
		} else if t.Tag.Get("key") != "" {
			each(t, v.Field(i))
		}
	}
}

// setting is one field as a flag.
type setting struct {
	v    reflect.Value
	null string // what YAML's null sets; empty: it leaves the value as it is
}

// Type is the kind of value, for the help.
func (s *setting) Type() string {
	t := s.v.Type()
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.Float64:
		return "number"
	case reflect.Int, reflect.Uint64:
		return "integer"
	case reflect.Slice:
		return "list"
	case reflect.Map:
		return "JSON"
	}
	return t.Kind().String()
}

// String is the value as Set reads it.
func (s *setting) String() string {
	if !s.v.IsValid() {
		return ""
	}
	v := s.v
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return ""
		}
		v = v.Elem()
	}
	switch v.Kind() {
	case reflect.Slice:
		parts := make([]string, v.Len())
		for i := range parts {
			parts[i] = fmt.Sprint(v.Index(i))
		}
		return strings.Join(parts, ",")
	case reflect.Map:
		if v.Len() == 0 {
			return ""
		}
		text, _ := json.Marshal(v.Interface())
		return string(text)
	}
	return fmt.Sprint(v)
}

// Set reads the value. Lists are separated by commas, maps are JSON.
func (s *setting) Set(text string) error {
	v := s.v
	if v.Kind() == reflect.Pointer {
		p := reflect.New(v.Type().Elem())
		if err := setValue(p.Elem(), text); err != nil {
			return err
		}
		v.Set(p)
		return nil
	}
	return setValue(v, text)
}

func setValue(v reflect.Value, text string) error {
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		b, err := strconv.ParseBool(strings.ToLower(text))
		if err != nil {
			return fmt.Errorf("%q is not true or false", text)
		}
		v.SetBool(b)
	case reflect.Int:
		n, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("%q is not an integer", text)
		}
		v.SetInt(int64(n))
	case reflect.Uint64:
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return fmt.Errorf("%q is not an integer of at least 0", text)
		}
		v.SetUint(n)
	case reflect.Float64:
		x, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
			return fmt.Errorf("%q is not a number", text)
		}
		v.SetFloat(x)
	case reflect.Slice:
		return setList(v, strings.Split(text, ","))
	case reflect.Map:
		m := map[string]any{}
		if err := json.Unmarshal([]byte(text), &m); err != nil {
			return fmt.Errorf("%q is not a JSON object", text)
		}
		v.Set(reflect.ValueOf(m))
	}
	return nil
}

func setList(v reflect.Value, parts []string) error {
	list := reflect.MakeSlice(v.Type(), 0, len(parts))
	for _, p := range parts {
		if p = strings.TrimSpace(p); p == "" {
			continue
		}
		one := reflect.New(v.Type().Elem()).Elem()
		if err := setValue(one, p); err != nil {
			return err
		}
		list = reflect.Append(list, one)
	}
	v.Set(list)
	return nil
}

// Foreign says what becomes of keys that other trainers know and ours does not.
type Foreign struct {
	Ignored map[string]string // by key: why it changes nothing
	Refused map[string]string // by key: why it would change the mathematics, and what to write instead
	// Harmless are values of refused keys that ask for nothing: {"repetition_penalty": "1.0"}.
	Harmless map[string][]string
}

// Read sets the flags of fs that a YAML file names and that were not given on the command line: a flag beats the file. It returns
// one line for each key of other trainers that was ignored. Every key that is unknown, refused or has a wrong value is in the error,
// with its line.
func Read(path string, fs *pflag.FlagSet, foreign Foreign) (ignored []string, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("recipe: %w", err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, fmt.Errorf("recipe: %s: %w", path, err)
	}
	if len(doc.Content) == 0 {
		return nil, fmt.Errorf("recipe: %s is empty", path)
	}
	return readNode(path, doc.Content[0], fs, foreign)
}

// readNode is Read of a mapping that was read from a file.
func readNode(path string, top *yaml.Node, fs *pflag.FlagSet, foreign Foreign) (ignored []string, err error) {
	if top.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("recipe: %s:%d: want keys and values, such as \"learning_rate: 1e-6\"", path, top.Line)
	}
	var wrong []string
	seen := map[string]int{}
	for i := 0; i+1 < len(top.Content); i += 2 {
		key, value := top.Content[i].Value, top.Content[i+1]
		at := fmt.Sprintf("%s:%d: %s", path, top.Content[i].Line, key)
		if line, twice := seen[key]; twice {
			wrong = append(wrong, fmt.Sprintf("%s was given on line %d already", at, line))
			continue
		}
		seen[key] = top.Content[i].Line
		f, ours := settingOf(fs, key)
		if value.Tag == "!!null" && (!ours || f.Value.(*setting).null == "") {
			continue
		}
		if !ours {
			why, fault := foreign.judge(key, value)
			switch {
			case fault != "":
				wrong = append(wrong, at+" "+fault+near(key, fs))
			case why != "":
				ignored = append(ignored, fmt.Sprintf("%s: %s", key, why))
			}
			continue
		}
		if f.Changed {
			continue
		}
		if err := setNode(f.Value.(*setting), value); err != nil {
			wrong = append(wrong, fmt.Sprintf("%s: %v", at, err))
		}
		f.Changed = true
	}
	if len(wrong) > 0 {
		return nil, fmt.Errorf("recipe: %s", strings.Join(wrong, "\n  "))
	}
	return ignored, nil
}

// settingOf is the flag of a key; ok is false for a name that is none of the bound ones, such as the command's own --config.
func settingOf(fs *pflag.FlagSet, key string) (f *pflag.Flag, ok bool) {
	if f = fs.Lookup(key); f != nil {
		_, ok = f.Value.(*setting)
	}
	return f, ok
}

// judge tells what to do with a key that is not ours: why it is ignored, or what is wrong with it.
func (f Foreign) judge(key string, value *yaml.Node) (why, fault string) {
	if why, ok := f.Ignored[key]; ok {
		return why, ""
	}
	if why, ok := f.Refused[key]; ok {
		if slices.Contains(f.Harmless[key], strings.ToLower(value.Value)) {
			return "", ""
		}
		return "", "is " + short(value) + ", which this library does not do: " + why
	}
	return "", "is unknown"
}

func short(n *yaml.Node) string {
	if n.Kind == yaml.ScalarNode {
		return strconv.Quote(n.Value)
	}
	return "given"
}

// near names the known key that is most like a mistyped one.
func near(key string, fs *pflag.FlagSet) string {
	best, at := "", 3
	fs.VisitAll(func(f *pflag.Flag) {
		name := strings.ReplaceAll(f.Name, "-", "_")
		if d := distance(key, name); d < at {
			best, at = name, d
		}
	})
	if best == "" || at == 0 {
		return ""
	}
	return "; did you mean " + best + "?"
}

// distance is Levenshtein's.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// setNode sets a value from a YAML value.
func setNode(s *setting, n *yaml.Node) error {
	switch n.Kind {
	case yaml.ScalarNode:
		if n.Tag == "!!null" {
			return s.Set(s.null)
		}
		return s.Set(n.Value)
	case yaml.SequenceNode:
		if s.v.Kind() != reflect.Slice {
			return fmt.Errorf("is a list, want one %s", s.Type())
		}
		parts := make([]string, len(n.Content))
		for i, c := range n.Content {
			if c.Kind != yaml.ScalarNode {
				return fmt.Errorf("entry %d is not a plain value", i)
			}
			parts[i] = c.Value
		}
		return setList(s.v, parts)
	case yaml.MappingNode:
		if s.v.Kind() != reflect.Map {
			return fmt.Errorf("is a mapping, want one %s", s.Type())
		}
		m := map[string]any{}
		if err := n.Decode(&m); err != nil {
			return err
		}
		s.v.Set(reflect.ValueOf(m))
		return nil
	}
	return fmt.Errorf("is not a plain value")
}

// Keys are the names of v's fields, sorted.
func Keys(v any) []string {
	names := map[string]bool{}
	walk(reflect.ValueOf(v).Elem(), func(t reflect.StructField, _ reflect.Value) { names[t.Tag.Get("key")] = true })
	return slices.Sorted(maps.Keys(names))
}

// Write writes the struct that v points to as YAML that Read reads: what a run was made with, for doing it again.
func Write(w io.Writer, v any) error {
	var err error
	walk(reflect.ValueOf(v).Elem(), func(t reflect.StructField, f reflect.Value) {
		if err != nil || f.Kind() == reflect.Pointer && f.IsNil() || f.Kind() == reflect.Map && f.Len() == 0 {
			return
		}
		var text []byte
		if text, err = json.Marshal(f.Interface()); err == nil { // JSON is YAML
			_, err = fmt.Fprintf(w, "%s: %s\n", t.Tag.Get("key"), text)
		}
	})
	return err
}
