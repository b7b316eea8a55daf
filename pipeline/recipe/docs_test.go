package recipe_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/pipeline/recipe"
)

// Every recipe of the repository reads without a fault or an ignored key.
func TestRecipes(t *testing.T) {
	files, err := filepath.Glob("../../recipes/*/*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, f := range files {
		text, err := os.ReadFile(f)
		require.NoError(t, err)
		if strings.Contains(string(text), "reward_funcs") {
			g, fs := bound()
			ignored, err := recipe.Read(f, fs, recipe.TRL)
			require.NoError(t, err)
			require.Empty(t, ignored, f)
			require.NoError(t, g.Complete(fs))
			require.NotEmpty(t, g.Dataset, f)
			continue
		}
		fs := pflag.NewFlagSet("sft", pflag.ContinueOnError)
		fs.SetNormalizeFunc(dashes)
		recipe.Bind(fs, recipe.NewSFT())
		ignored, err := recipe.Read(f, fs, recipe.TRLSFT)
		require.NoError(t, err)
		require.Empty(t, ignored, f)
	}
}

func dashes(_ *pflag.FlagSet, name string) pflag.NormalizedName {
	return pflag.NormalizedName(strings.ReplaceAll(name, "_", "-"))
}

// tables are docs/from-trl.md's, made from the flags themselves.
func tables() string {
	var b strings.Builder
	flags := func(title string, v any) {
		fmt.Fprintf(&b, "\n## %s\n\n| key | default | what it is |\n|---|---|---|\n", title)
		fs := pflag.NewFlagSet("", pflag.ContinueOnError)
		recipe.Bind(fs, v)
		fs.VisitAll(func(f *pflag.Flag) {
			value := strings.ReplaceAll(f.DefValue, "|", "\\|")
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", f.Name, value, strings.ReplaceAll(f.Usage, "|", "\\|"))
		})
	}
	flags("`r1 grpo`", recipe.NewGRPO())
	flags("`r1 sft`", recipe.NewSFT())
	b.WriteString("\n## Keys that change nothing here\n\n")
	why := map[string][]string{}
	for k, w := range recipe.TRL.Ignored {
		why[w] = append(why[w], "`"+k+"`")
	}
	for _, w := range slices.Sorted(maps.Keys(why)) {
		slices.Sort(why[w])
		fmt.Fprintf(&b, "- %s: %s\n", w, strings.Join(why[w], ", "))
	}
	b.WriteString("\n## Keys that are refused\n\n| key | instead | values that ask for nothing |\n|---|---|---|\n")
	for _, k := range slices.Sorted(maps.Keys(recipe.TRL.Refused)) {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", k, recipe.TRL.Refused[k], strings.Join(recipe.TRL.Harmless[k], ", "))
	}
	return b.String()
}

// The page's tables are the program's: R1_UPDATE=1 writes them.
func TestFromTRLPage(t *testing.T) {
	const path, mark = "../../docs/from-trl.md", "\n## `r1 grpo`\n"
	page, err := os.ReadFile(path)
	require.NoError(t, err)
	head, _, ok := strings.Cut(string(page), mark)
	require.True(t, ok, "the page has no heading %q", mark)
	want := head + tables()
	if os.Getenv("R1_UPDATE") != "" {
		require.NoError(t, os.WriteFile(path, []byte(want), 0o644))
		return
	}
	require.Equal(t, want, string(page), "run R1_UPDATE=1 go test ./pipeline/recipe -run FromTRLPage")
}

// Every key that docs/from-verl.md sends a reader to is a flag.
func TestFromVerlPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/from-verl.md")
	require.NoError(t, err)
	_, fs := bound()
	checked := 0
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(line, "|")
		if len(cells) < 5 || !strings.HasPrefix(strings.TrimSpace(cells[1]), "`") {
			continue
		}
		for i, key := range strings.Split(cells[3], "`") {
			if i%2 == 1 {
				require.NotNil(t, fs.Lookup(key), "%s", key)
				checked++
			}
		}
	}
	require.Greater(t, checked, 30)
}
