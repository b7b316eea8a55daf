package main

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The answer is what the words say.
func TestQuestions(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		text, answer := question(r)
		f := strings.Fields(strings.TrimSuffix(strings.TrimPrefix(text, "What is "), "?"))
		n := slices.Index(words, f[0])
		for i := 1; i < len(f); i += 2 {
			b := slices.Index(words, f[i+1])
			require.Contains(t, []string{"plus", "minus"}, f[i])
			if f[i] == "minus" {
				b = -b
			}
			n += b
			require.GreaterOrEqual(t, n, 0, text)
		}
		require.Equal(t, n, answer, text)
	}
}

// The splits have their sizes, are the same for the same seed, and share no question.
func TestSplits(t *testing.T) {
	dir := t.TempDir()
	lines := func(name string, held bool) []string {
		path := filepath.Join(dir, name)
		require.NoError(t, write(path, 300, held, rand.New(rand.NewPCG(1, 2))))
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		return strings.Split(strings.TrimSpace(string(text)), "\n")
	}
	train, test := lines("train.jsonl", false), lines("test.jsonl", true)
	require.Len(t, train, 300)
	require.Len(t, test, 300)
	require.Equal(t, train, lines("again.jsonl", false))
	for _, q := range test {
		require.NotContains(t, train, q)
	}
}
