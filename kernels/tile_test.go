package kernels_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The kernel of the tile instruction, which few machines have, over tiles in plain C: it has the bits of class tile for every shape, and tiles that compute something
// else are refused.
func TestTileKernelInPlainC(t *testing.T) {
	cc, err := exec.Command("go", "env", "CC").Output()
	require.NoError(t, err)
	native, out := filepath.Join("internal", "native"), filepath.Join(t.TempDir(), "amx")
	build := exec.Command(strings.TrimSpace(string(cc)), "-std=c11", "-O1", "-I"+native, filepath.Join(native, "testdata", "amx.c"), filepath.Join(native, "cpu_tile.c"), "-lm", "-o", out)
	said, err := build.CombinedOutput()
	require.NoError(t, err, string(said))
	said, err = exec.Command(out).CombinedOutput()
	require.NoError(t, err, string(said))
	require.Contains(t, string(said), "shapes have the bits of class tile")
}
