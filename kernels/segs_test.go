package kernels_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/kernels"
)

// Gathered rows belong to the sequences they came from: one goes on while rows ascend in it.
func TestSegsAt(t *testing.T) {
	segs := kernels.Segs{{Start: 0, Len: 4, Parent: -1}, {Start: 4, Len: 3, Parent: 0}, {Start: 7, Len: 3, Parent: 0}, {Start: 10, Len: 2, Parent: -1}}
	require.Equal(t, kernels.PackedSegs(2, 2, 1), segs.At([]int32{0, 2, 4, 5, 11}))
	require.Equal(t, kernels.PackedSegs(1, 2, 1, 3, 1), segs.At([]int32{3, 4, 5, 3, 7, 8, 9, 3}), "the prompt's last row before each child's")
	require.Equal(t, kernels.PackedSegs(1, 1), segs.At([]int32{3, 3}), "two samples of one token")
	require.Empty(t, segs.At(nil))
	require.Equal(t, kernels.PackedSegs(2), kernels.Segs(nil).At([]int32{-1, 9}), "whoever gathers complains")
}
