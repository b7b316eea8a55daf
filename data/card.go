package data

import (
	"bytes"
	"fmt"
	"regexp"
	"sort"
	"strings"

	"go.yaml.in/yaml/v3"
)

// cardHead is what the head of a data set's README.md says about files: configurations, each with the files of its splits.
type cardHead struct {
	Configs []struct {
		Name    string    `yaml:"config_name"`
		Default bool      `yaml:"default"`
		Dir     string    `yaml:"data_dir"`
		Files   yaml.Node `yaml:"data_files"`
	} `yaml:"configs"`
}

// cardSplits gives the files of each split of a configuration as README.md lists them; nil where it lists none.
func cardSplits(name string, paths []string, card []byte, config string) (map[string][]string, error) {
	head, ok := frontMatter(card)
	if !ok {
		return nil, nil
	}
	var h cardHead
	if err := yaml.Unmarshal(head, &h); err != nil {
		return nil, fmt.Errorf("data: %s: the head of README.md: %w", name, err)
	}
	if len(h.Configs) == 0 {
		return nil, nil
	}
	chosen, names := -1, []string{}
	for i, c := range h.Configs {
		names = append(names, c.Name)
		if c.Name == config || config == "" && (c.Default || c.Name == "default" && chosen < 0 || len(h.Configs) == 1) {
			chosen = i
		}
	}
	if chosen < 0 {
		return nil, fmt.Errorf("data: %s has the configurations %s, not %q; set Options.Config", name, strings.Join(names, ", "), config)
	}
	c := h.Configs[chosen]
	dir := strings.Trim(c.Dir, "/")
	if dir != "" {
		dir += "/"
	}
	if c.Files.Kind == 0 { // a folder only: its splits by name
		var inside []string
		for _, p := range paths {
			if rest, ok := strings.CutPrefix(p, dir); ok {
				inside = append(inside, rest)
			}
		}
		splits := splitFiles(inside)
		for _, files := range splits {
			for i := range files {
				files[i] = dir + files[i]
			}
		}
		return splits, nil
	}
	patterns, err := splitPatterns(&c.Files)
	if err != nil {
		return nil, fmt.Errorf("data: %s: data_files of configuration %q in README.md: %w", name, c.Name, err)
	}
	return match(name, paths, dir, patterns)
}

// frontMatter is the YAML between two lines of dashes.
func frontMatter(card []byte) ([]byte, bool) {
	card = bytes.ReplaceAll(bytes.TrimPrefix(card, []byte("\xef\xbb\xbf")), []byte("\r\n"), []byte("\n"))
	rest, ok := bytes.CutPrefix(card, []byte("---\n"))
	if !ok {
		return nil, false
	}
	head, _, ok := bytes.Cut(rest, []byte("\n---"))
	return head, ok
}

// splitPatterns reads data_files in its forms: a pattern, patterns (both are train), a map of splits, a list of {split, path}.
func splitPatterns(n *yaml.Node) (map[string][]string, error) {
	texts := func(n *yaml.Node) ([]string, error) {
		var one string
		if n.Decode(&one) == nil {
			return []string{one}, nil
		}
		var many []string
		err := n.Decode(&many)
		return many, err
	}
	if list, err := texts(n); err == nil {
		return map[string][]string{"train": list}, nil
	}
	out := map[string][]string{}
	if n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			list, err := texts(n.Content[i+1])
			if err != nil {
				return nil, err
			}
			out[n.Content[i].Value] = list
		}
		return out, nil
	}
	var entries []struct {
		Split string    `yaml:"split"`
		Path  yaml.Node `yaml:"path"`
	}
	if err := n.Decode(&entries); err != nil {
		return nil, err
	}
	for _, e := range entries {
		list, err := texts(&e.Path)
		if err != nil {
			return nil, err
		}
		out[e.Split] = append(out[e.Split], list...)
	}
	return out, nil
}

// match finds the files of each pattern; one that matches nothing is an error.
func match(name string, paths []string, dir string, patterns map[string][]string) (map[string][]string, error) {
	files := dataFiles(paths)
	splits := map[string][]string{}
	for split, list := range patterns {
		seen := map[string]bool{}
		for _, pattern := range list {
			re, err := glob(dir + pattern)
			if err != nil {
				return nil, fmt.Errorf("data: %s: the pattern %q in README.md: %w", name, pattern, err)
			}
			found := false
			for _, f := range files {
				if re.MatchString(f) {
					found = true
					seen[f] = true
				}
			}
			if !found {
				return nil, fmt.Errorf("data: %s: README.md gives %q for the split %q, and no .jsonl, .json, .csv or .parquet file is called so", name, dir+pattern, split)
			}
		}
		for f := range seen {
			splits[split] = append(splits[split], f)
		}
		sort.Strings(splits[split])
	}
	return splits, nil
}

// glob compiles a pattern: * and ? stay within a folder, ** does not, [abc] is a class.
func glob(pattern string) (*regexp.Regexp, error) {
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; {
		case strings.HasPrefix(pattern[i:], "**/"):
			b.WriteString("(.*/)?")
			i += 2
		case strings.HasPrefix(pattern[i:], "**"):
			b.WriteString(".*")
			i++
		case c == '*':
			b.WriteString("[^/]*")
		case c == '?':
			b.WriteString("[^/]")
		case c == '[' && strings.Contains(pattern[i:], "]"):
			class := pattern[i : i+strings.Index(pattern[i:], "]")+1]
			b.WriteString(strings.Replace(class, "[!", "[^", 1))
			i += len(class) - 1
		default:
			b.WriteString(regexp.QuoteMeta(pattern[i : i+1]))
		}
	}
	return regexp.Compile("^(?:" + b.String() + ")$")
}
