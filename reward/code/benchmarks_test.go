package code

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"flag"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/gor1/gor1/reward"
	"github.com/gor1/gor1/reward/code/sandbox"
)

var (
	long  = flag.Bool("long", false, "run the long tests: every HumanEval and MBPP problem and its mutants")
	every = flag.Int("every", 1, "with -long: mutants of one problem in so many")
)

// rows reads a gzipped jsonl file of testdata.
func rows(t *testing.T, name string) []map[string]any {
	f, err := os.Open("testdata/" + name)
	require.NoError(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	var out []map[string]any
	for s := bufio.NewScanner(z); s.Scan(); {
		var row map[string]any
		require.NoError(t, json.Unmarshal(s.Bytes(), &row))
		out = append(out, row)
	}
	return out
}

// newGrader opens a grader that can run Python, or skips.
func newGrader(t testing.TB, cfg Config) *Grader {
	var err error
	if cfg.Sandbox == nil {
		cfg.Sandbox, err = sandbox.Open(sandbox.Config{})
		if err != nil {
			t.Skip(err)
		}
		t.Cleanup(func() { require.NoError(t, cfg.Sandbox.Close()) })
	}
	g, err := New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, g.Close()) })
	if g.cfg.Python == "" {
		if strings.Contains(os.Getenv("R1_REQUIRE"), "python") {
			t.Fatal("no python3 in /usr/bin or /usr/local/bin: apt-get install python3")
		}
		t.Skip("no python3 in /usr/bin or /usr/local/bin: apt-get install python3")
	}
	return g
}

// benchmark is one problem with its canonical answer.
type benchmark struct {
	id       string
	problem  reward.Problem
	solution string
}

func humanEval(t *testing.T) []benchmark {
	var out []benchmark
	for _, r := range rows(t, "humaneval.jsonl.gz") {
		out = append(out, benchmark{r["task_id"].(string), reward.Problem{Columns: r}, r["prompt"].(string) + r["canonical_solution"].(string)})
	}
	return out
}

func mbpp(t *testing.T) []benchmark {
	var out []benchmark
	for _, r := range rows(t, "mbpp.jsonl.gz") {
		out = append(out, benchmark{"MBPP", reward.Problem{Columns: r}, r["code"].(string)})
	}
	return out
}

// Canonical solutions pass every test.
func TestCanonical(t *testing.T) {
	g := newGrader(t, Config{})
	for name, all := range map[string][]benchmark{"HumanEval": humanEval(t), "MBPP": mbpp(t)} {
		step := 1
		if !*long {
			step = 32
		}
		var mu sync.Mutex
		failed := 0
		var group errgroup.Group
		group.SetLimit(runtime.NumCPU())
		for i := 0; i < len(all); i += step {
			group.Go(func() error {
				b := all[i]
				tests, err := ParseTests(b.problem)
				require.NoError(t, err)
				rep, err := g.Grade(t.Context(), tests, b.solution)
				if err != nil || !rep.All() {
					mu.Lock()
					defer mu.Unlock()
					failed++
					t.Errorf("%s %d: %v %+v", b.id, i, err, rep)
				}
				return nil
			})
		}
		require.NoError(t, group.Wait())
		t.Logf("table: %s: %d of %d canonical solutions failed", name, failed, (len(all)+step-1)/step)
	}
}
