// Package arch holds tests of the whole tree: which room may import which, that every exported name is documented, and that
// the text of the repository keeps to itself.
package arch

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/gor1/gor1"

// rooms lists what each package of the module may import of the module. A package that is not here may import nothing of it.
var rooms = map[string][]string{
	"kernels":                {"kernels/internal/native", "kernels/libtorch"},
	"optim":                  {"kernels"},
	"model":                  {"kernels", "model/weights"},
	"sampling":               {"kernels", "model", "reward", "sampling/pick"},
	"sampling/pick":          {"reward", "reward/lang"},
	"distill/traces":         {"reward/remote"},
	"sft":                    {"kernels", "optim", "model", "model/chat", "model/tokenizer", "data"},
	"grpo":                   {"kernels", "optim", "sampling"},
	"distill":                {"kernels", "optim", "model", "sampling", "sft"},
	"eval":                   {"kernels", "model", "sampling", "reward"},
	"serve":                  {"kernels", "model", "sampling"},
	"pipeline":               {"kernels", "model", "model/weights", "sampling", "sampling/pick", "reward", "data", "optim", "sft", "grpo", "distill", "eval", "run"},
	"pipeline/recipe":        {"*"},
	"reward/code":            {"reward", "reward/code/sandbox"},
	"reward/lang":            {"reward"},
	"reward/remote":          {"reward"},
	"reward":                 {"reward/mathx"},
	"internal/toy":           {"kernels", "model", "optim", "reward", "sampling", "sft"},
	"internal/toy/lab":       {"internal/progress", "internal/toy", "grpo", "kernels", "model", "reward", "run", "sampling"},
	"internal/toy/bilingual": {"internal/progress", "internal/toy", "data", "eval", "kernels", "model", "pipeline", "reward", "run", "sampling", "sft"},
	"cmd/r1":                 {"*"},
	"kernels/libtorch":       {"kernels/internal/native"},
	"internal/bench":         {"grpo", "kernels", "model", "optim", "reward", "sampling", "sft"},
	"bench/compare":          {"internal/bench", "kernels"},
	// The bench of the whole recipe shows a line of stages: it is the examples', and only they import it.
	"examples/r1zero":     {"*"},
	"examples/pyreward":   {"reward", "reward/remote"},
	"examples/ppo":        {"*"},
	"examples/r1":         {"*"},
	"examples/twoplustwo": {"*"},
	"examples/sft":        {"*"},
	"examples/coldstart":  {"*"},
	"examples/feedback":   {"*"},
}

type pkg struct {
	ImportPath, Dir   string
	Imports           []string
	GoFiles, CgoFiles []string
}

func packages(t *testing.T) []pkg {
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,Imports,GoFiles,CgoFiles", "./...")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	require.NoError(t, err)
	var all []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else {
			require.NoError(t, err)
		}
		all = append(all, p)
	}
}

// Arrows point one way.
func TestArrows(t *testing.T) {
	for _, p := range packages(t) {
		name := strings.TrimPrefix(p.ImportPath, module+"/")
		for _, imported := range p.Imports {
			to, ours := strings.CutPrefix(imported, module+"/")
			if !ours || strings.HasPrefix(to, name+"/internal/") {
				continue
			}
			allowed := rooms[name]
			if strings.HasPrefix(name, "examples/") {
				allowed = []string{"*"} // an example shows how rooms go together
			}
			require.True(t, slices.Contains(allowed, to) || slices.Contains(allowed, "*"), "%s imports %s: not among %v", name, to, allowed)
			require.False(t, strings.HasPrefix(to, "cmd/") || strings.HasPrefix(to, "examples/"), "%s imports %s", name, to)
		}
	}
	for _, room := range []string{"grpo", "sft", "reward", "sampling", "distill", "kernels", "examples", "go.mod", "go.sum", "README.md", "LICENSE", "NOTICE", "CONTRIBUTING.md", "docs/LOG.md", "docs/architecture.md", ".ci/run"} {
		_, err := os.Stat(filepath.Join("../..", room))
		require.NoError(t, err)
	}
}

// Every package has a comment and every exported name says what it does.
func TestDocumented(t *testing.T) {
	for _, p := range packages(t) {
		if strings.Contains(p.ImportPath, "/internal/native") || strings.HasSuffix(p.ImportPath, "/arch") {
			continue
		}
		fset := token.NewFileSet()
		var files []*ast.File
		for _, name := range append(p.GoFiles, p.CgoFiles...) {
			f, err := parser.ParseFile(fset, filepath.Join(p.Dir, name), nil, parser.ParseComments)
			require.NoError(t, err)
			files = append(files, f)
		}
		d, err := doc.NewFromFiles(fset, files, p.ImportPath)
		require.NoError(t, err)
		require.NotEmpty(t, d.Doc, "package %s has no comment", p.ImportPath)
		if d.Name == "main" {
			continue
		}
		var missing []string
		note := func(name, text string) {
			if strings.TrimSpace(text) == "" {
				missing = append(missing, name)
			}
		}
		funcs := func(prefix string, fs []*doc.Func) {
			for _, f := range fs {
				if ast.IsExported(f.Name) && !slices.Contains([]string{"String", "Error"}, f.Name) {
					note(prefix+f.Name, f.Doc)
				}
			}
		}
		funcs("", d.Funcs)
		for _, ty := range d.Types {
			if !ast.IsExported(ty.Name) {
				continue
			}
			note(ty.Name, ty.Doc)
			funcs(ty.Name+".", ty.Methods)
			funcs("", ty.Funcs)
		}
		require.Empty(t, missing, "package %s: exported and not documented", p.ImportPath)
	}
}

// Text that has no place in a public tree: paths of a machine, and words about anything but the project.
var forbidden = regexp.MustCompile(`\.\./shared|/work/(main|shared)|/root/|/home/[a-z]`)

func TestTextKeepsToItself(t *testing.T) {
	root := "../.."
	require.NoError(t, filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if d.Name() == ".git" || d.Name() == "out" {
				return filepath.SkipDir
			}
			return nil
		}
		if !slices.Contains([]string{".go", ".c", ".h", ".md", ".sh", ".py", ".yaml", ".mod", ""}, filepath.Ext(path)) || strings.HasSuffix(path, "arch_test.go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if hit := forbidden.Find(text); hit != nil && !strings.Contains(string(text), "\x00") {
			t.Errorf("%s says %q", path, hit)
		}
		return nil
	}))
}
