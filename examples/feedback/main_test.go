package main

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
)

// Feedback makes what users prefer likely, by the reward model and by the rule that it was not trained on.
func TestFeedback(t *testing.T) {
	before, after, err := experiment(context.Background(), 1)
	require.NoError(t, err)
	require.Greater(t, after[0], before[0]+0.2)
	require.Greater(t, after[1], before[1]+0.2)
}
