package data

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// folder makes a folder of files; each holds one row with its name.
func folder(t testing.TB, texts map[string]string) string {
	dir := t.TempDir()
	for name, text := range texts {
		path := filepath.Join(dir, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	return dir
}

func rowsOf(names ...string) map[string]string {
	m := map[string]string{}
	for _, n := range names {
		m[n] = fmt.Sprintf("{\"f\":%q}\n", n)
	}
	return m
}

// The splits are those that the datasets library makes of the same folders.
func TestSplitsAsDatasets(t *testing.T) {
	text, err := os.ReadFile("testdata/splits.json")
	require.NoError(t, err)
	var cases []struct {
		Files  []string
		Splits map[string][]string
	}
	require.NoError(t, json.Unmarshal(text, &cases))
	require.Len(t, cases, 20)
	for _, c := range cases {
		require.Equal(t, c.Splits, splitFiles(c.Files), c.Files)
	}
}

// The file that TestSplitsAsDatasets reads is what the library says.
func TestPythonSplits(t *testing.T) {
	python := os.Getenv("R1_HUB_PYTHON")
	if python == "" {
		const hint = "run .ci/hub/run, or set R1_HUB_PYTHON to a Python with datasets"
		if strings.Contains(os.Getenv("R1_REQUIRE"), "pip") {
			t.Fatal(hint)
		}
		t.Skip(hint)
	}
	out, err := exec.Command(python, "testdata/splits.py", "check").CombinedOutput()
	require.NoError(t, err, string(out))
}

func TestFolder(t *testing.T) {
	dir := folder(t, rowsOf("train-1.jsonl", "train-0.jsonl", "test.jsonl", ".git/train.jsonl", "notes.txt"))
	d := open(t, dir, Options{})
	rows := readAll(t, d)
	require.Equal(t, []Object{{{"f", "train-0.jsonl"}}, {{"f", "train-1.jsonl"}}}, fields(rows))
	require.Equal(t, filepath.ToSlash(dir)+"/train-1.jsonl:1", rows[1].Place.String())
	requireResumes(t, "folder", d)
	require.Len(t, readAll(t, open(t, dir, Options{Split: "test"})), 1)

	// A moved folder goes on, one with another file does not.
	moved := folder(t, rowsOf("train-1.jsonl", "train-0.jsonl"))
	require.Len(t, take(t, open(t, moved, Options{}), rows[0].Next, 0), 1)
	require.NoError(t, os.WriteFile(filepath.Join(moved, "train-2.jsonl"), []byte("{}"), 0o644))
	for _, err := range open(t, moved, Options{}).Rows(context.Background(), rows[0].Next) {
		require.ErrorContains(t, err, "belongs to other data")
	}
	for says, o := range map[string]Options{
		`has no split "dev"; it has test, train`: {Split: "dev"},
		"has no configurations in its README.md": {Config: "main"},
	} {
		_, err := Open(context.Background(), dir, o)
		require.ErrorContains(t, err, says)
	}
	_, err := Open(context.Background(), folder(t, rowsOf("a.txt")), Options{})
	require.ErrorContains(t, err, "has no file called .jsonl")
	_, err = Open(context.Background(), folder(t, rowsOf("a.jsonl", "b.csv")), Options{})
	require.ErrorContains(t, err, "files of two kinds, a.jsonl and b.csv")
}

const gsm8kCard = "---\nlicense:\n- mit\nconfigs:\n- config_name: main\n  data_files:\n  - split: train\n    path: main/train-*\n  - split: test\n    path: main/test-*\n- config_name: socratic\n  data_files:\n  - split: train\n    path: socratic/train-*\n---\n# Title\n"

// fakeHub is a Hub over a folder that notes what was fetched.
type fakeHub struct {
	dir     string
	fetched []string
}

func (h *fakeHub) Files(_ context.Context, id, revision string) ([]string, error) {
	if id != "openai/gsm8k" || revision != "v1" {
		return nil, fmt.Errorf("there is no %s at %s", id, revision)
	}
	var names []string
	return names, filepath.WalkDir(h.dir, func(p string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			name, _ := filepath.Rel(h.dir, p)
			names = append(names, filepath.ToSlash(name))
		}
		return err
	})
}

func (h *fakeHub) Fetch(_ context.Context, _, _ string, files []string) (string, error) {
	h.fetched = append(h.fetched, files...)
	return h.dir, nil
}

// Of a hub's data set the card and the files of one split of one configuration are fetched.
func TestHub(t *testing.T) {
	texts := rowsOf("main/train-00000-of-00001.jsonl", "main/test-00000-of-00001.jsonl", "socratic/train-0.jsonl", "socratic/test-0.jsonl")
	texts["README.md"] = gsm8kCard
	h := &fakeHub{dir: folder(t, texts)}
	d := open(t, "openai/gsm8k", Options{Hub: h, Revision: "v1", Config: "main", Split: "test"})
	require.Equal(t, []string{"README.md", "main/test-00000-of-00001.jsonl"}, h.fetched)
	require.Equal(t, "openai/gsm8k/main/test-00000-of-00001.jsonl:1", readAll(t, d)[0].Place.String())
	for says, o := range map[string]Options{
		"has the configurations main, socratic, not \"\"":  {},
		"has the configurations main, socratic, not \"x\"": {Config: "x"},
		`has no split "test"; it has train`:                {Config: "socratic", Split: "test"},
		"there is no openai/gsm8k at v2":                   {Revision: "v2"},
	} {
		if o.Hub = h; o.Revision == "" {
			o.Revision = "v1"
		}
		_, err := Open(context.Background(), "openai/gsm8k", o)
		require.ErrorContains(t, err, says)
	}
}

// The forms of data_files that cards have.
func TestCards(t *testing.T) {
	paths := []string{"README.md", "a/train.jsonl", "a/b/train.jsonl", "a/test.jsonl", "data/x-1.jsonl", "data/x-2.jsonl", "top.jsonl"}
	for card, want := range map[string]map[string][]string{
		"no head":                  nil,
		"---\nlicense: mit\n---\n": nil,
		"---\nconfigs:\n- config_name: c\n  data_files: top.jsonl\n---\n":                                                                {"train": {"top.jsonl"}},
		"---\nconfigs:\n- config_name: c\n  data_files: [top.jsonl, \"data/*\"]\n---\n":                                                  {"train": {"data/x-1.jsonl", "data/x-2.jsonl", "top.jsonl"}},
		"---\nconfigs:\n- config_name: c\n  data_files:\n    train: a/**/train.jsonl\n    dev: [a/test.jsonl]\n---\n":                    {"train": {"a/b/train.jsonl", "a/train.jsonl"}, "dev": {"a/test.jsonl"}},
		"---\r\nconfigs:\r\n- config_name: c\r\n  data_files:\r\n  - split: x\r\n    path:\r\n    - data/x-[!1].jsonl\r\n---\r\n":        {"x": {"data/x-2.jsonl"}},
		"---\nconfigs:\n- config_name: c\n  data_dir: a\n---\n":                                                                          {"train": {"a/train.jsonl", "a/b/train.jsonl"}, "test": {"a/test.jsonl"}},
		"---\nconfigs:\n- config_name: z\n  data_files: top.jsonl\n- config_name: default\n  data_files: a/test.jsonl\n---\n":            {"train": {"a/test.jsonl"}},
		"---\nconfigs:\n- config_name: z\n  data_files: top.jsonl\n  default: true\n- config_name: y\n  data_files: a/test.jsonl\n---\n": {"train": {"top.jsonl"}},
	} {
		got, err := cardSplits("d", paths, []byte(card), "")
		require.NoError(t, err, card)
		for _, files := range got {
			slices.Sort(files)
		}
		for _, files := range want {
			slices.Sort(files)
		}
		require.Equal(t, want, got, card)
	}
	for card, says := range map[string]string{
		"---\nconfigs: [\n---\n": "the head of README.md",
		"---\nconfigs:\n- config_name: c\n  data_files: gone.jsonl\n---\n":      `README.md gives "gone.jsonl" for the split "train"`,
		"---\nconfigs:\n- config_name: c\n  data_files: \"../*.jsonl\"\n---\n":  `README.md gives "../*.jsonl"`,
		"---\nconfigs:\n- config_name: c\n  data_files: \"[z-a].jsonl\"\n---\n": "the pattern",
		"---\nconfigs:\n- config_name: c\n  data_files:\n  - split: {}\n---\n":  "data_files of configuration",
	} {
		_, err := cardSplits("d", paths, []byte(card), "")
		require.ErrorContains(t, err, says, card)
	}
}
