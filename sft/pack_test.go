package sft_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/sft"
)

// Best fit leaves less than 3 % of the packed rows empty on the mixed lengths of GSM8K and MATH, taken 1,000 rows at a time in random order, as
// the trainer takes them; and every token is in exactly one row.
func TestPackingEfficiency(t *testing.T) {
	text, err := os.ReadFile("testdata/lengths.txt")
	require.NoError(t, err)
	var lengths []int
	for line := range strings.Lines(string(text)) {
		var length, count int
		_, err := fmt.Sscan(line, &length, &count)
		require.NoError(t, err)
		for range count {
			lengths = append(lengths, length)
		}
	}
	require.Len(t, lengths, 7473+7474)
	rand.New(rand.NewPCG(1, 1)).Shuffle(len(lengths), func(i, j int) { lengths[i], lengths[j] = lengths[j], lengths[i] })
	for _, most := range []int{512, 1024, 2048, 4096} {
		const window = 1000
		tokens, rows, want := 0, 0, 0
		for from := 0; from < len(lengths); from += window {
			part := lengths[from:min(from+window, len(lengths))]
			packed, err := sft.BestFit(part, most)
			require.NoError(t, err)
			rows += len(packed)
			seen := make([]int, len(part))
			for _, row := range packed {
				used := 0
				for _, s := range row {
					seen[s.Example]++
					used += s.To - s.From
				}
				require.LessOrEqual(t, used, most)
				tokens += used
			}
			for i, n := range part {
				require.Equal(t, 1, seen[i])
				want += min(n, most) // a longer row is cut
			}
		}
		require.Equal(t, want, tokens)
		efficiency := float64(tokens) / float64(rows*most)
		t.Logf("rows of %d: %.2f %% filled", most, 100*efficiency)
		require.GreaterOrEqual(t, efficiency, 0.97)
	}
}
