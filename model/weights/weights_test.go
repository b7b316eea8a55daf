package weights

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// raw is a safetensors file of the given header and data, nothing checked.
func raw(header string, data ...byte) []byte {
	return append(append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...), data...)
}

func file(t testing.TB, dir, name string, content []byte) string {
	path := filepath.Join(dir, name)
	require.NoError(t, os.WriteFile(path, content, 0o644))
	return path
}

func open(t testing.TB, path string) *File {
	f, err := Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	return f
}

// The file of the format's own description, byte by byte as Python's safetensors 0.8.0 writes it.
func TestReadsPythonsFile(t *testing.T) {
	header := `{"__metadata__":{"format":"pt"},"b":{"dtype":"I64","shape":[],"data_offsets":[0,8]},"a":{"dtype":"F32","shape":[2,1],"data_offsets":[8,16]}}`
	header += strings.Repeat(" ", (8-len(header)%8)%8)
	f := open(t, file(t, t.TempDir(), "x.safetensors", raw(header, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0)))
	require.Equal(t, []string{"a", "b"}, f.Names())
	require.Equal(t, map[string]string{"format": "pt"}, f.Metadata())
	a, err := f.Tensor("a")
	require.NoError(t, err)
	require.Equal(t, Tensor{"F32", []int{2, 1}, []byte{0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0}}, a)
	values, err := a.Float32()
	require.NoError(t, err)
	require.Equal(t, []float32{1, -2}, values)
	b, err := f.Tensor("b")
	require.NoError(t, err)
	require.Equal(t, 1, b.Len(), "no dimensions are one element")
	_, err = b.Float32()
	require.ErrorContains(t, err, "I64")
	_, _, ok := f.Shape("c")
	require.False(t, ok)
	_, err = f.Tensor("c")
	require.ErrorContains(t, err, `"c"`)
}

// Every half and every bfloat16 widens to the float32 of the same value; the half's value comes from its definition.
func TestEveryHalfAndBfloat(t *testing.T) {
	var half, bf []byte
	for i := range 1 << 16 {
		half = binary.LittleEndian.AppendUint16(half, uint16(i))
		bf = binary.LittleEndian.AppendUint16(bf, uint16(i))
	}
	got, err := Tensor{"F16", []int{1 << 16}, half}.Float32()
	require.NoError(t, err)
	for i, g := range got {
		exp, frac := i>>10&31, float64(i&1023)
		want := math.Ldexp(frac, -24)
		switch {
		case exp == 31 && frac == 0:
			want = math.Inf(1)
		case exp == 31:
			want = math.NaN()
		case exp > 0:
			want = math.Ldexp(1024+frac, exp-25)
		}
		if i>>15 == 1 {
			want = math.Copysign(want, -1)
		}
		if math.IsNaN(want) {
			require.True(t, math.IsNaN(float64(g)), "half %04x", i)
			continue
		}
		require.Equal(t, math.Float32bits(float32(want)), math.Float32bits(g), "half %04x", i)
	}
	got, err = Tensor{"BF16", []int{256, 256}, bf}.Float32()
	require.NoError(t, err)
	for i, g := range got {
		require.Equal(t, uint32(i)<<16, math.Float32bits(g))
	}
}

// A float64 rounds to the nearest float32, past the largest to infinity.
func TestFloat64Rounds(t *testing.T) {
	var data []byte
	for _, v := range []float64{1.0 / 3, math.Copysign(0, -1), math.MaxFloat64, math.Inf(-1), 1e-50} {
		data = binary.LittleEndian.AppendUint64(data, math.Float64bits(v))
	}
	got, err := Tensor{"F64", []int{5}, data}.Float32()
	require.NoError(t, err)
	require.Equal(t, []float32{1.0 / 3, 0, float32(math.Inf(1)), float32(math.Inf(-1)), 0}, got)
	require.True(t, math.Signbit(float64(got[1])), "minus zero stays")
}

// What is written comes back: all types, no dimensions, no elements, names that JSON must quote.
func TestRoundTrip(t *testing.T) {
	tensors := map[string]Tensor{
		"scalar":            {"F32", []int{}, []byte{1, 2, 3, 4}},
		"empty":             {"F32", []int{3, 0, 2}, []byte{}},
		"eight":             {"U8", []int{1, 1, 1, 2, 1, 1, 1, 1}, []byte{1, 2}},
		"quote\"\\\n\u2028": {"BOOL", []int{1}, []byte{1}},
		"<layer&>":          {"BF16", []int{1}, []byte{0x80, 0x3f}},
		"":                  {"I8", []int{1}, []byte{255}},
		"nan":               {"F32", []int{2}, []byte{0, 0, 0xc0, 0x7f, 0, 0, 0x80, 0xff}},
	}
	for dtype, size := range elementBytes {
		data := make([]byte, 3*size)
		for i := range data {
			data[i] = byte(i)
		}
		tensors["type."+dtype] = Tensor{dtype, []int{3}, data}
	}
	path := filepath.Join(t.TempDir(), "x.safetensors")
	require.NoError(t, Write(path, tensors))
	f := open(t, path)
	require.Len(t, f.Names(), len(tensors))
	require.Equal(t, map[string]string{"format": "pt"}, f.Metadata())
	for name, want := range tensors {
		got, err := f.Tensor(name)
		require.NoError(t, err)
		require.Equal(t, want, got, name)
		dtype, shape, ok := f.Shape(name)
		require.True(t, ok)
		require.Equal(t, want.DType, dtype)
		require.Equal(t, want.Shape, shape)
	}
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Zero(t, binary.LittleEndian.Uint64(text)%8, "the data begins at a multiple of 8")

	again := filepath.Join(t.TempDir(), "y.safetensors")
	require.NoError(t, Write(again, tensors))
	text2, err := os.ReadFile(again)
	require.NoError(t, err)
	require.Equal(t, text, text2, "the same tensors give the same file")
}

// A tensor that is not what it says never reaches the disk.
func TestWriteRefuses(t *testing.T) {
	for name, bad := range map[string]Tensor{
		"short":   {"F32", []int{2}, make([]byte, 7)},
		"long":    {"F32", []int{2}, make([]byte, 9)},
		"unknown": {"F31", []int{0}, nil},
	} {
		path := filepath.Join(t.TempDir(), "x.safetensors")
		require.ErrorContains(t, Write(path, map[string]Tensor{"layer.7": bad}), "layer.7", name)
		require.NoFileExists(t, path)
	}
	require.ErrorContains(t, Write(filepath.Join(t.TempDir(), "no", "x.safetensors"), nil), "x.safetensors")
}

// Shards are cut before the limit is passed, the index names each tensor's, and the folder reads as one file.
func TestShards(t *testing.T) {
	tensors := map[string]Tensor{}
	for i := range 10 {
		tensors[fmt.Sprintf("t%d", i)] = FromFloat32([]float32{float32(i), 1, 2}, 3)
	}
	tensors["t5"] = FromFloat32(make([]float32, 40), 40) // larger than the limit: a shard of its own
	dir := t.TempDir()
	require.NoError(t, writeDir(dir, tensors, 30))
	var index struct {
		Metadata map[string]int64  `json:"metadata"`
		Map      map[string]string `json:"weight_map"`
	}
	text, err := os.ReadFile(filepath.Join(dir, "model.safetensors.index.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &index))
	require.Equal(t, map[string]int64{"total_size": 9*12 + 160}, index.Metadata)
	require.Len(t, index.Map, 10)
	require.Equal(t, "model-00001-of-00006.safetensors", index.Map["t1"])
	require.Equal(t, "model-00002-of-00006.safetensors", index.Map["t2"])
	require.Equal(t, "model-00006-of-00006.safetensors", index.Map["t9"])
	f := open(t, dir)
	require.Len(t, f.Names(), 10)
	for name, want := range tensors {
		got, err := f.Tensor(name)
		require.NoError(t, err)
		require.Equal(t, want, got)
		own := open(t, filepath.Join(dir, index.Map[name]))
		require.Contains(t, own.Names(), name)
	}

	// A later save into the same folder leaves nothing of the earlier one for a reader to mix in, and touches nothing else.
	require.NoError(t, os.WriteFile(filepath.Join(dir, "adapter_model.safetensors"), nil, 0o644))
	left := func() (names []string) {
		files, err := os.ReadDir(dir)
		require.NoError(t, err)
		for _, f := range files {
			names = append(names, f.Name())
		}
		return names
	}
	require.NoError(t, WriteDir(dir, tensors))
	require.Equal(t, []string{"adapter_model.safetensors", "model.safetensors"}, left())
	require.NoError(t, writeDir(dir, tensors, 30))
	require.Equal(t, append([]string{"adapter_model.safetensors"}, append(shardNames(6), "model.safetensors.index.json")...), left())
}

// A download cache keeps the files elsewhere and links to them; that is not an attack.
func TestLinkedFolder(t *testing.T) {
	cache := t.TempDir()
	blobs, snapshot := filepath.Join(cache, "blobs"), filepath.Join(cache, "snapshots", "main")
	require.NoError(t, os.MkdirAll(blobs, 0o755))
	require.NoError(t, os.MkdirAll(snapshot, 0o755))
	require.NoError(t, Write(filepath.Join(blobs, "abc"), map[string]Tensor{"a": FromFloat32([]float32{1}, 1)}))
	if err := os.Symlink(filepath.Join("..", "..", "blobs", "abc"), filepath.Join(snapshot, "model.safetensors")); err != nil {
		t.Skip("no symbolic links here: ", err)
	}
	require.Equal(t, []string{"a"}, open(t, snapshot).Names())
}

// A file that shrinks, or is closed, after Open is an error of the read, not a short tensor.
func TestFileChangesUnderReader(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.safetensors")
	require.NoError(t, Write(path, map[string]Tensor{"w": FromFloat32(make([]float32, 100), 100)}))
	f, err := Open(path)
	require.NoError(t, err)
	require.NoError(t, os.Truncate(path, 200))
	_, err = f.Tensor("w")
	require.ErrorContains(t, err, "tensor w")
	require.ErrorContains(t, err, "x.safetensors")
	require.NoError(t, f.Close())
	require.NoError(t, f.Close(), "closing twice does nothing")
	_, err = f.Tensor("w")
	require.ErrorIs(t, err, os.ErrClosed)
}

func ExampleOpen() {
	dir, err := os.MkdirTemp("", "weights")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	if err := WriteDir(dir, map[string]Tensor{"lm_head.weight": FromFloat32([]float32{1, 2, 3, 4}, 2, 2)}); err != nil {
		panic(err)
	}
	f, err := Open(dir)
	if err != nil {
		panic(err)
	}
	defer f.Close()
	for _, name := range f.Names() {
		x, err := f.Tensor(name)
		if err != nil {
			panic(err)
		}
		values, err := x.Float32()
		fmt.Println(name, x.DType, x.Shape, values, err)
	}
	// Output: lm_head.weight F32 [2 2] [1 2 3 4] <nil>
}

func shardNames(n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, n))
	}
	return names
}
