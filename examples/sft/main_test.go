package main

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

// The right answer of every held-out paraphrase is ranked first after training; none of them was trained on.
func TestSupport(t *testing.T) {
	train, held, answers := read()
	for _, h := range held {
		for _, p := range train {
			require.NotEqual(t, h.question, p.question)
		}
	}
	require.Len(t, answers, 8)
	before, after, err := experiment(context.Background(), 1)
	require.NoError(t, err)
	require.Less(t, before, 0.5)
	require.Equal(t, 1.0, after)
}
