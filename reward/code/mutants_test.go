package code

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/gor1/gor1/reward/code/sandbox"
)

//go:embed testdata/mutate.py
var mutateScript string

// mutant is a canonical solution with one place changed, and what its tests say of it in one process with it.
type mutant struct {
	Source  string `json:"source"`
	Verdict string `json:"verdict"`
}

// mutants makes up to count of them; the first is the solution itself.
func mutants(t *testing.T, g *Grader, tests Tests, source string, count int) []mutant {
	in, err := json.Marshal(map[string]any{"source": source, "prelude": tests.Prelude, "entry": tests.Entry, "tests": append([]string{tests.Setup}, tests.Asserts...), "count": count})
	require.NoError(t, err)
	res, err := g.cfg.Sandbox.Run(t.Context(), sandbox.Command{Args: []string{g.cfg.Python, "-B", "mutate.py"}, Stdin: in,
		Files: []sandbox.File{{Name: "mutate.py", Data: []byte(mutateScript)}}, Limits: sandbox.Limits{CPU: time.Minute, Wall: 2 * time.Minute}})
	require.NoError(t, err)
	var out []mutant
	require.NoError(t, json.Unmarshal(res.Stdout, &out), "%v %s", res, res.Stderr)
	return out
}

// A canonical solution with one operator, constant or branch changed fails wherever the tests tell the two apart, and
// passes wherever they do not: the grader's verdict is that of tests and answer in one process.
func TestMutants(t *testing.T) {
	g := newGrader(t, Config{Test: sandbox.Limits{CPU: 5 * time.Second}})
	if g.cfg.Sandbox.Kind() == "landlock+seccomp" {
		t.Skip("the mutants' tests fork, which a landlock+seccomp sandbox does not allow")
	}
	t.Run("HumanEval", func(t *testing.T) { judgeMutants(t, g, humanEval(t)) })
	t.Run("MBPP", func(t *testing.T) { judgeMutants(t, g, mbpp(t)) })
}

func judgeMutants(t *testing.T, g *Grader, all []benchmark) {
	step, count := *every, 5
	if !*long {
		step, count = 60, 2
	}
	var mu sync.Mutex
	total := map[string]int{}
	var group errgroup.Group
	group.SetLimit(runtime.NumCPU())
	for i := 0; i < len(all); i += step {
		group.Go(func() error {
			tests, err := ParseTests(all[i].problem)
			if err != nil {
				return err
			}
			for _, m := range mutants(t, g, tests, all[i].solution, count)[1:] {
				mu.Lock()
				total[m.Verdict]++
				mu.Unlock()
				if m.Verdict != "passes" && m.Verdict != "fails" {
					continue
				}
				rep, err := g.Grade(t.Context(), tests, m.Source)
				if err != nil {
					return fmt.Errorf("problem %d: %w", i, err)
				}
				if rep.All() != (m.Verdict == "passes") {
					t.Errorf("problem %d: a mutant that %s in one process: %+v\n%s", i, m.Verdict, rep, m.Source)
				}
			}
			return nil
		})
	}
	require.NoError(t, group.Wait())
	t.Logf("table: mutants: %d fail, as they must; %d equivalent under the tests pass; %d too slow and %d that do not load left out",
		total["fails"], total["passes"], total["slow"], total["broken"])
	require.NotZero(t, total["fails"])
}
