//go:build unix

package weights

import (
	"bytes"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// A file that another process cuts short while it is mapped is an error, not the end of the process: on a page that is gone, inside
// a page (which reads as zeros), and where the file is read instead of mapped.
func TestCutShortWhileOpen(t *testing.T) {
	page := os.Getpagesize()
	content := func() []byte {
		b, err := os.ReadFile(write(t, map[string]Tensor{"a": {"U8", []int{4*page + 100}, bytes.Repeat([]byte{7}, 4*page+100)}}))
		require.NoError(t, err)
		return b
	}()
	for name, left := range map[string]int{"whole pages": page, "inside the last page": len(content) - 50, "everything": 0} {
		for _, mapped := range []bool{true, false} {
			path := file(t, t.TempDir(), "x.safetensors", content)
			f := open(t, path)
			s := f.sources[0]
			require.NotNil(t, s.data, "this system maps files")
			if !mapped {
				require.NoError(t, unmapFile(s.data))
				s.data = nil
			}
			a, err := f.Tensor("a")
			require.NoError(t, err)
			require.Equal(t, byte(7), a.Data[len(a.Data)-1])
			require.NoError(t, os.Truncate(path, int64(left)))
			_, err = f.Tensor("a")
			require.Error(t, err, "%s, mapped %t", name, mapped)
			require.ErrorContains(t, err, path)
		}
	}
}

// Only a fault in the mapping is turned into an error.
func TestOtherPanicsGoOn(t *testing.T) {
	s := open(t, write(t, map[string]Tensor{"a": FromFloat32([]float32{1}, 1)})).sources[0]
	require.PanicsWithValue(t, "mine", func() { _ = s.view(0, 1, func([]byte) { panic("mine") }) })
	require.Panics(t, func() { _ = s.view(0, 1, func([]byte) { var p *int; *p = 1 }) })
	require.Panics(t, func() { _ = s.view(0, 1, func(b []byte) { _ = b[len(b)] }) })
}

// What is read of a mapping is what ReadAt reads.
func TestMappedIsRead(t *testing.T) {
	for _, path := range []string{"testdata/blocks.gguf", "testdata/blocks.safetensors"} {
		a, b := open(t, path), open(t, path)
		require.NoError(t, unmapFile(b.sources[0].data))
		b.sources[0].data = nil
		for _, name := range a.Names() {
			x, err := a.Tensor(name)
			require.NoError(t, err)
			y, err := b.Tensor(name)
			require.NoError(t, err)
			require.Equal(t, x, y)
		}
	}
}
