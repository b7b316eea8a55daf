package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/internal/toy/bilingual"
	"github.com/gor1/gor1/pipeline"
)

var long = flag.Bool("long", false, "run the long tests: 10 kills of a shortened recipe, and the whole recipe's claims")

// TestMain lets a test run this example as a process of its own, to be killed.
func TestMain(m *testing.M) {
	if out := os.Getenv("R1_EXAMPLE_OUT"); out != "" {
		os.Exit(bilingual.Main(arguments(out), os.Stdout, os.Stderr, experiment))
	}
	os.Exit(m.Run())
}

func arguments(out string) []string {
	return []string{"--short", "0.1", "--no-cache", "--threads", "1", "--out", out}
}

func start(t *testing.T, out string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "R1_EXAMPLE_OUT="+out)
	cmd.Stderr = os.Stderr
	require.NoError(t, cmd.Start())
	return cmd
}

// hashes are what every stage left, by content.
func hashes(t *testing.T, out string) (text string) {
	ledger, err := pipeline.ReadLedger(out)
	require.NoError(t, err)
	require.Len(t, ledger, 16)
	for _, e := range ledger {
		text += fmt.Sprintln(e.Stage, e.Key, e.Hash, e.Output.Scores["accuracy"])
	}
	return text
}

// A shortened recipe that is killed at ten random instants, whatever it is doing, ends with the hashes of one that was not.
func TestKilled(t *testing.T) {
	if !*long {
		t.Skip("takes minutes: go test ./examples/r1 -long")
	}
	whole, broken := t.TempDir(), t.TempDir()
	started := time.Now()
	require.NoError(t, start(t, whole).Wait())
	took := time.Since(started)
	r := rand.New(rand.NewPCG(uint64(started.UnixNano()), 0))
	kills := 0
	for kills < 10 {
		cmd := start(t, broken)
		done := make(chan error, 1)
		go func() { done <- cmd.Wait() }()
		select {
		case <-time.After(time.Duration(r.Float64() * float64(took) / 6)):
			if err := cmd.Process.Kill(); !errors.Is(err, os.ErrProcessDone) { // it may have ended this instant: then the next turn sees it whole
				require.NoError(t, err)
				kills++
			}
			<-done
		case err := <-done: // it ended before its kill: begin again
			require.NoError(t, err)
			require.Equal(t, hashes(t, whole), hashes(t, broken))
			require.NoError(t, os.RemoveAll(broken))
		}
	}
	require.NoError(t, start(t, broken).Wait())
	require.Equal(t, hashes(t, whole), hashes(t, broken))
}

// The whole recipe shows R1's findings.
func TestClaims(t *testing.T) {
	if !*long {
		t.Skip("takes minutes: go test ./examples/r1 -long")
	}
	out := t.TempDir()
	var stderr strings.Builder
	require.Zero(t, bilingual.Main([]string{"--out", out}, &strings.Builder{}, &stderr, experiment), stderr.String())
	ledger, err := pipeline.ReadLedger(out)
	require.NoError(t, err)
	for _, c := range bilingual.Claims(ledger) {
		require.True(t, c.Holds, c.Text)
	}
}

// The usage is checked before anything is done.
func TestUsage(t *testing.T) {
	for _, args := range [][]string{{"--short", "0"}, {"--short", "2"}, {"now"}, {"--fly"}} {
		var stdout, stderr strings.Builder
		require.Equal(t, 2, bilingual.Main(args, &stdout, &stderr, func(context.Context, bilingual.BenchOptions) error { return nil }), args)
		require.Contains(t, stderr.String(), "r1: want flags only")
	}
}
