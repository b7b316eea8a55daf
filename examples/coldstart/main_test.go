package main

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

// The cold start lowers the perplexity of held-out pairs and teaches the pattern.
func TestColdStart(t *testing.T) {
	train, held, err := read()
	require.NoError(t, err)
	require.Len(t, train, 52)
	require.Len(t, held, 13)
	before, after, err := experiment(context.Background(), 1)
	require.NoError(t, err)
	require.Less(t, after[0], 0.9*before[0])
	require.Zero(t, before[1])
	require.Greater(t, after[1], 0.3)
}
