//go:build unix

package weights

import (
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// To open a pipe is to wait for whoever writes into it: a folder that holds one must not stop the program.
func TestPipe(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, syscall.Mkfifo(filepath.Join(dir, "model.safetensors"), 0o644))
	_, err := Open(dir)
	require.ErrorContains(t, err, "not a regular file")
}
