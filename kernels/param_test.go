package kernels_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A parameter may be written piece by piece; a piece that does not lie inside it is an error and changes nothing.
func TestWriteAt(t *testing.T) {
	dev := openCPU(t)
	p, err := dev.NewParam("w", nil, 2, 3)
	require.NoError(t, err)
	require.NoError(t, p.WriteAt([]float32{1, 2, 3, 4}, 0))
	require.NoError(t, p.WriteAt([]float32{5, 6}, 4))
	require.NoError(t, p.WriteAt(nil, 6))
	for _, at := range []int{-1, 5, 6, 7, 1 << 62} {
		require.ErrorContains(t, p.WriteAt([]float32{9, 9}, at), "2 values at")
	}
	v, err := p.Values()
	require.NoError(t, err)
	require.Equal(t, []float32{1, 2, 3, 4, 5, 6}, v)
	require.NoError(t, p.Free())
	require.ErrorContains(t, p.WriteAt([]float32{1}, 0), "after Free")
}
