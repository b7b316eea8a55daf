package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/reward"
	"github.com/gor1/gor1/reward/remote"
)

func python(t *testing.T, file, function string, change func(c *remote.CommandConfig)) *remote.Command {
	if _, err := exec.LookPath("python3"); err != nil {
		if strings.Contains(os.Getenv("R1_REQUIRE"), "pip") {
			t.Fatal("python3 is required: apt-get install python3")
		}
		t.Skip("no python3: apt-get install python3")
	}
	serve, err := filepath.Abs("serve.py")
	require.NoError(t, err)
	c := remote.CommandConfig{Name: "python", Path: "python3", Args: []string{serve, file, function}, Batch: 8}
	if change != nil {
		change(&c)
	}
	p, err := remote.NewCommand(c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	return p
}

func TestServe(t *testing.T) {
	p := python(t, "reward.py", "short_and_right", nil)
	problem := reward.Problem{Prompt: "6 * 7?", Answer: "42", Columns: map[string]any{"kind": "multiplication", "level": 2}}
	right := "<think>x</think><answer>42</answer>"
	rs := reward.EvaluateGroup(context.Background(), p.Group(), []reward.Sample{{Problem: problem, Completion: right}, {Problem: problem, Completion: "no"}})
	require.NoError(t, rs[0].Err)
	v, _ := rs[0].Score.Value()
	require.InDelta(t, 1/(1+float64(len(right))/1000), v, 1e-12)
	v, ok := rs[1].Score.Value()
	require.True(t, ok)
	require.Equal(t, 0.0, v)
	require.Equal(t, 1, p.Starts())
}

// faulty scores the length of a completion and does otherwise where a fault is planted.
const faulty = `
import os, sys, time
def score(prompts, completions, fault, **kwargs):
    print("7.0")  # no reply: standard output is not the program's to write to
    c, f = completions[0], fault[0]
    if f == "exit": os._exit(0)
    if f == "kill": os.kill(os.getpid(), 9)
    if f == "hang": time.sleep(1000)
    if f == "spin":
        while True: pass
    if f == "raise": raise ValueError(c)
    if f == "nan": return [float("nan")]
    if f == "inf": return [float("inf")]
    if f == "text": return ["1.0"]
    if f == "list": return [[1.0]]
    if f == "bool": return [True]
    if f == "none": return [None]
    if f == "empty": return []
    if f == "not a list": return 1.0
    return [float(len(c))]
`

// A Python reward under 1,000 calls with crashes, hangs and garbage planted: none of those is scored, all are counted, and every other
// sample has its own score.
func TestFaultsAreNeverScored(t *testing.T) {
	file := filepath.Join(t.TempDir(), "faulty.py")
	require.NoError(t, os.WriteFile(file, []byte(faulty), 0o644))
	const calls = 1000
	p := python(t, file, "score", func(c *remote.CommandConfig) { c.Timeout = 2 * time.Second })
	faults := []string{"exit", "kill", "hang", "spin", "raise", "nan", "inf", "text", "list", "bool", "none", "empty", "not a list"}
	r := rand.New(rand.NewPCG(1, 1))
	tally, planted, alive := reward.Tally{}, 0, 0
	for from := 0; from < calls; from += 20 {
		group := make([]reward.Sample, 20)
		for i := range group {
			fault := ""
			if r.IntN(16) == 0 {
				fault = faults[planted%len(faults)]
				planted++
			}
			group[i] = reward.Sample{Completion: strings.Repeat("x", from+i+1), Problem: reward.Problem{ID: fmt.Sprint(from + i), Columns: map[string]any{"fault": fault}}}
		}
		for i, r := range reward.EvaluateGroup(context.Background(), p.Group(), group) {
			tally.Add(r.Parts)
			v, ok := r.Score.Value()
			fault := group[i].Problem.Columns["fault"].(string)
			require.Equal(t, fault == "", ok, "call %d, fault %q: %v", from+i, fault, r.Err)
			if ok {
				require.Equal(t, float64(from+i+1), v)
				alive++
			}
		}
	}
	c := tally["python"]
	require.Equal(t, reward.Counts{Scored: calls - planted, Unscored: planted, TimedOut: c.TimedOut, Failed: c.Failed}, c)
	t.Logf("measured: %d calls, %d faults planted, 0 of them scored, %d other samples right, %d starts", calls, planted, alive, p.Starts())
}
