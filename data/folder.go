package data

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"sort"
	"strings"
)

// Hub gives the files of data sets that are not on this machine. model/hub's Datasets is one.
type Hub interface {
	// Files lists the paths of a data set's files, with slashes.
	Files(ctx context.Context, id, revision string) ([]string, error)
	// Fetch brings the named files onto this machine and returns the folder in which they lie under their paths.
	Fetch(ctx context.Context, id, revision string, files []string) (dir string, err error)
}

var hubID = regexp.MustCompile(`^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$`)

// isHubID says whether a name has the form of a hub id.
func isHubID(name string) bool {
	ext, _ := kinds(name)
	return hubID.MatchString(name) && ext == "" && !strings.Contains(name, "..")
}

// openFolder opens one split of a folder; name is what it is called in messages.
func openFolder(dir, name string, o Options) (*Dataset, error) {
	var paths []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		if d.IsDir() && rel != "." && hidden(d.Name()) {
			return filepath.SkipDir
		}
		if !d.IsDir() {
			paths = append(paths, filepath.ToSlash(rel))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	card, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("data: %w", err)
	}
	chosen, err := choose(name, paths, card, o)
	if err != nil {
		return nil, err
	}
	files := make([]file, len(chosen))
	for i, p := range chosen {
		files[i] = file{path: filepath.Join(dir, filepath.FromSlash(p)), name: path.Join(filepath.ToSlash(name), p)}
	}
	return newDataset(o, files)
}

// openHub fetches the files of one split and opens them.
func openHub(ctx context.Context, id string, o Options) (*Dataset, error) {
	paths, err := o.Hub.Files(ctx, id, o.Revision)
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	var card []byte
	if slices.Contains(paths, "README.md") {
		dir, err := o.Hub.Fetch(ctx, id, o.Revision, []string{"README.md"})
		if err != nil {
			return nil, fmt.Errorf("data: %w", err)
		}
		if card, err = os.ReadFile(filepath.Join(dir, "README.md")); err != nil {
			return nil, fmt.Errorf("data: %w", err)
		}
	}
	chosen, err := choose(id, paths, card, o)
	if err != nil {
		return nil, err
	}
	dir, err := o.Hub.Fetch(ctx, id, o.Revision, chosen)
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	files := make([]file, len(chosen))
	for i, p := range chosen {
		files[i] = file{path: filepath.Join(dir, filepath.FromSlash(p)), name: path.Join(id, p)}
	}
	return newDataset(o, files)
}

// choose picks the files of the split and configuration among a data set's paths: by the list in the head of its README.md if it
// has one, else by their names.
func choose(name string, paths []string, card []byte, o Options) ([]string, error) {
	splits, err := cardSplits(name, paths, card, o.Config)
	if err != nil {
		return nil, err
	}
	if splits == nil {
		if o.Config != "" && o.Config != "default" {
			return nil, fmt.Errorf("data: %s has no configurations in its README.md; leave out Options.Config (%q), or open the folder of that name", name, o.Config)
		}
		splits = splitFiles(paths)
	}
	split := o.Split
	if split == "" {
		split = "train"
	}
	files := splits[split]
	if len(files) == 0 {
		have := make([]string, 0, len(splits))
		for s := range splits {
			have = append(have, s)
		}
		sort.Strings(have)
		if len(have) == 0 {
			return nil, fmt.Errorf("data: %s has no file called .jsonl, .json, .csv or .parquet", name)
		}
		return nil, fmt.Errorf("data: %s %w %q; it has %s", name, ErrNoSplit, split, strings.Join(have, ", "))
	}
	first, _ := kinds(files[0])
	for _, f := range files {
		if kind, _ := kinds(f); kind != first {
			return nil, fmt.Errorf("data: %s: the split %q has files of two kinds, %s and %s; open one of them by its path", name, split, files[0], f)
		}
	}
	return files, nil
}

// hidden says whether a file or folder is left out: .git, __pycache__.
func hidden(name string) bool { return strings.HasPrefix(name, ".") || strings.HasPrefix(name, "__") }

// ignored are JSON files that are no rows; the datasets library leaves them out.
var ignored = []string{"config.json", "dataset_info.json", "dataset_infos.json", "dataset_dict.json"}

// dataFiles keeps the files with rows, sorted by path.
func dataFiles(paths []string) []string {
	var out []string
	for _, p := range paths {
		kind, _ := kinds(p)
		if kind == "" || slices.Contains(ignored, path.Base(p)) || slices.ContainsFunc(strings.Split(p, "/"), hidden) {
			continue
		}
		out = append(out, p)
	}
	sort.Strings(out)
	return out
}

var (
	sharded  = regexp.MustCompile(`^data/([^/]+)-\d{5}-of-\d{5}[^/]*\.[^/]*$`)
	keywords = []struct{ split, words string }{
		{"train", "train|training"},
		{"validation", "validation|valid|dev|val"},
		{"test", "test|testing|eval|evaluation"},
	}
)

// splitFiles divides files into splits by their names, as the datasets library does (its data_files.py): data/SPLIT-00000-of-00001,
// else folders called after a split, else files called after one, else all are "train".
func splitFiles(paths []string) map[string][]string {
	files := dataFiles(paths)
	splits := map[string][]string{}
	for _, f := range files {
		if m := sharded.FindStringSubmatch(f); m != nil {
			splits[m[1]] = append(splits[m[1]], f)
		}
	}
	for _, part := range []func(string) string{path.Dir, path.Base} {
		if len(splits) > 0 {
			break
		}
		for _, k := range keywords {
			word := regexp.MustCompile(`(^|[-._ 0-9/])(` + k.words + `)([-._ 0-9/]|$)`)
			for _, f := range files {
				if word.MatchString(part(f)) {
					splits[k.split] = append(splits[k.split], f)
				}
			}
		}
	}
	if len(splits) == 0 && len(files) > 0 {
		splits["train"] = files
	}
	return splits
}
