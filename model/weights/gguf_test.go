package weights

import (
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Random blocks of every type have the bits that llama.cpp's gguf package gives them. R1_GGUF_BLOCKS names more files like those
// in testdata, without their endings (.ci/gguf/run).
func TestDequantises(t *testing.T) {
	for _, base := range append([]string{"testdata/blocks"}, filepath.SplitList(os.Getenv("R1_GGUF_BLOCKS"))...) {
		got, want := open(t, base+".gguf"), open(t, base+".safetensors")
		require.Equal(t, got.Names(), want.Names())
		n := 0
		for _, name := range want.Names() {
			w, err := want.Tensor(name)
			require.NoError(t, err)
			x, err := got.Tensor(name)
			require.NoError(t, err)
			require.Equal(t, name, x.DType)
			require.Equal(t, w.Shape, x.Shape)
			expected, err := w.Float32()
			require.NoError(t, err)
			values, err := x.Float32()
			require.NoError(t, err)
			for i, v := range values {
				if v != v && expected[i] != expected[i] {
					continue // the bits of not-a-number are the machine's
				}
				require.Equal(t, math.Float32bits(expected[i]), math.Float32bits(v), "%s %s[%d]: %g, want %g", base, name, i, v, expected[i])
			}
			n += len(values)
		}
		t.Logf("%s: %d values of %d types, 0 bits different", base, n, len(want.Names()))
	}
}

func TestMetadata(t *testing.T) {
	m := open(t, "testdata/blocks.gguf").GGUF()
	require.Equal(t, "llama", m["general.architecture"])
	require.Equal(t, uint32(7), m["test.u32"])
	require.Equal(t, []string{"a", "", "é"}, m["test.words"])
	require.Equal(t, []float32{0.5, -1.25}, m["test.fractions"])
	require.Nil(t, open(t, "testdata/blocks.safetensors").GGUF())
}

// ggml builds GGUF files, broken ones too.
type ggml struct{ b []byte }

func (g *ggml) u32(v ...uint32) *ggml {
	for _, x := range v {
		g.b = binary.LittleEndian.AppendUint32(g.b, x)
	}
	return g
}

func (g *ggml) u16(v uint16) *ggml {
	g.b = binary.LittleEndian.AppendUint16(g.b, v)
	return g
}

func (g *ggml) u64(v ...uint64) *ggml {
	for _, x := range v {
		g.b = binary.LittleEndian.AppendUint64(g.b, x)
	}
	return g
}

func (g *ggml) text(s string) *ggml {
	g.u64(uint64(len(s)))
	g.b = append(g.b, s...)
	return g
}

// head begins a file of version 3.
func head(tensors, entries uint64) *ggml { return (&ggml{[]byte("GGUF")}).u32(3).u64(tensors, entries) }

// info describes a tensor, dimensions fastest first.
func (g *ggml) info(name string, kind uint32, offset uint64, dims ...uint64) *ggml {
	return g.text(name).u32(uint32(len(dims))).u64(dims...).u32(kind).u64(offset)
}

// data pads to the alignment and appends n zeros.
func (g *ggml) data(n int) *ggml {
	g.b = append(g.b, make([]byte, (32-len(g.b)%32)%32+n)...)
	return g
}

func hostileGGUF() map[string]struct {
	content []byte
	says    string
} {
	type bad = struct {
		content []byte
		says    string
	}
	one := func(kind uint32, value ...uint64) []byte { return head(0, 1).text("k").u32(kind).u64(value...).b }
	return map[string]bad{
		"empty":                    {nil, "claimed"},
		"magic":                    {[]byte("GGML\x03\x00\x00\x00"), "not GGUF"},
		"version 1":                {(&ggml{[]byte("GGUF")}).u32(1).u64(0, 0).b, "version 1"},
		"big-endian":               {(&ggml{[]byte("GGUF")}).u32(3<<24).u64(0, 0).b, "little-endian"},
		"cut after version":        {(&ggml{[]byte("GGUF")}).u32(3).b, "claimed"},
		"2^63 tensors":             {head(1<<63, 0).b, "limits"},
		"2^63 entries":             {head(0, 1<<63).b, "limits"},
		"an entry is missing":      {head(0, 1).b, "claimed"},
		"a tensor is missing":      {head(1, 0).b, "claimed"},
		"name of 2^64-1":           {head(0, 1).u64(1<<64 - 1).b, "a name of"},
		"name of 4096 in 0":        {head(0, 1).u64(4096).b, "4096 elements"},
		"empty name":               {head(0, 1).text("").u32(4, 1).b, "a name of 0"},
		"name not UTF-8":           {head(0, 1).text("\xff").u32(4, 1).b, "UTF-8"},
		"string of 2^64-1":         {one(8, 1<<64-1), "18446744073709551615 elements"},
		"string past the end":      {one(8, 9, 0), "9 elements"},
		"type 13":                  {one(13, 1), "type 13"},
		"type 2^32-1":              {one(1<<32-1, 1), "unknown"},
		"bool of 2":                {head(0, 1).text("k").u32(7).b, "claimed"},
		"array of 2^61 u64":        {head(0, 1).text("k").u32(9, 10).u64(1<<61 + 1).b, "elements of 8"},
		"array of 2^64-1 u8":       {head(0, 1).text("k").u32(9, 0).u64(1<<64 - 1).b, "elements of 1"},
		"array of 2^62 i32":        {head(0, 1).text("k").u32(9, 5).u64(1 << 62).b, "elements of 4"},
		"array of many strings":    {head(0, 1).text("k").u32(9, 8).u64(1 << 40).b, "elements of 8"},
		"array of arrays":          {head(0, 1).text("k").u32(9, 9).u64(1).u32(9).u64(1).b, "arrays of arrays"},
		"deep arrays":              {deepArrays(), "arrays of arrays"},
		"entry twice":              {head(0, 2).text("k").u32(4, 1).text("k").u32(4, 1).b, "twice"},
		"alignment 0":              {head(0, 1).text("general.alignment").u32(4, 0).b, "power of two"},
		"alignment 48":             {head(0, 1).text("general.alignment").u32(4, 48).b, "power of two"},
		"alignment 8192":           {head(0, 1).text("general.alignment").u32(4, 8192).b, "power of two"},
		"alignment is text":        {head(0, 1).text("general.alignment").u32(8).text("32").b, "power of two"},
		"five dimensions":          {head(1, 0).info("t", 0, 0, 1, 1, 1, 1, 1).data(4).b, "5 dimensions"},
		"2^32-1 dimensions":        {head(1, 0).text("t").u32(1<<32 - 1).b, "dimensions"},
		"dimension of 0":           {head(1, 0).info("t", 0, 0, 4, 0).data(4).b, "shape"},
		"dimension of 2^63":        {head(1, 0).info("t", 0, 0, 1<<63).data(4).b, "shape"},
		"product is 2^64":          {head(1, 0).info("t", 0, 0, 1<<31-1, 1<<31-1, 4).data(4).b, "shape"},
		"product wraps to 0":       {head(1, 0).info("t", 24, 0, 1<<16, 1<<16, 1<<16, 1<<16).data(4).b, "shape"},
		"bytes wrap":               {head(1, 0).info("t", 28, 0, 1<<30, 1<<30).data(4).b, "larger than the file"},
		"tensor of type 10":        {head(1, 0).info("t", 10, 0, 256).data(84).b, "Q2_K"},
		"tensor of type 4":         {head(1, 0).info("t", 4, 0, 256).data(84).b, "type 4"},
		"tensor of type 2^32-1":    {head(1, 0).info("t", 1<<32-1, 0, 256).data(84).b, "not supported"},
		"rows are not blocks":      {head(1, 0).info("t", 2, 0, 33).data(64).b, "blocks of 32"},
		"rows are half a block":    {head(1, 0).info("t", 12, 0, 128, 2).data(144).b, "blocks of 256"},
		"larger than the file":     {head(1, 0).info("t", 0, 0, 4000).data(4).b, "larger than the file"},
		"1 byte past the end":      {head(1, 0).info("t", 0, 0, 2).data(7).b, "ends at byte"},
		"offset 2^64-1":            {head(1, 0).info("t", 0, 1<<64-1, 1).data(4).b, "offset 18446744073709551615"},
		"offset past the end":      {head(1, 0).info("t", 0, 1<<40, 1).data(4).b, "larger than the file"},
		"hole at the start":        {head(1, 0).info("t", 0, 32, 1).data(36).b, "starts at byte 32"},
		"unaligned":                {head(2, 0).info("t", 0, 0, 1).info("u", 0, 4, 1).data(8).b, "starts at byte 4"},
		"overlap":                  {head(2, 0).info("t", 0, 0, 1).info("u", 0, 0, 1).data(8).b, "starts at byte 0"},
		"tensor twice":             {head(2, 0).info("t", 0, 0, 1).info("t", 0, 32, 1).data(36).b, "twice"},
		"tail":                     {head(1, 0).info("t", 0, 0, 1).data(64).b, "follow the last"},
		"tail without tensors":     {head(0, 0).data(64).b, "follow the last"},
		"second part is missing":   {head(0, 2).text("split.count").u32(2).b, "claimed"},
		"part of a split, no name": {head(0, 1).text("split.count").u32(4, 3).data(0).b, "NAME-00001-of-00003.gguf"},
		"split.count is negative":  {head(0, 1).text("split.count").u32(5, 1<<32-1).data(0).b, "split.count"},
	}
}

func deepArrays() []byte {
	g := head(0, 1).text("k").u32(9)
	for range 10000 {
		g.u32(9).u64(1)
	}
	return g.b
}

func TestHostileGGUF(t *testing.T) {
	for name, h := range hostileGGUF() {
		t.Run(name, func(t *testing.T) {
			path := file(t, t.TempDir(), "model.gguf", h.content)
			f, err := Open(path)
			require.Nil(t, f)
			require.ErrorContains(t, err, h.says)
			require.ErrorContains(t, err, path)
		})
	}
}

// Version 2 is read as version 3, no dimensions are one element, and an alignment is kept to.
func TestOddGGUF(t *testing.T) {
	g := (&ggml{[]byte("GGUF")}).u32(2).u64(2, 1).text("general.alignment").u32(4, 4096).info("a", 0, 0).info("b", 26, 4096, 1)
	g.b = append(g.b, make([]byte, 4096-len(g.b))...)
	g.u32(math.Float32bits(-2))
	g.b = append(g.b, make([]byte, 4092)...)
	f := open(t, file(t, t.TempDir(), "x.gguf", g.u32(5).b))
	a, err := f.Tensor("a")
	require.NoError(t, err)
	v, err := a.Float32()
	require.NoError(t, err)
	require.Equal(t, []float32{-2}, v)
	b, err := f.Tensor("b")
	require.NoError(t, err)
	require.Equal(t, Tensor{"I32", []int{1}, []byte{5, 0, 0, 0}}, b)
	_, err = b.Float32()
	require.ErrorContains(t, err, "I32")
}

// A split file's parts are one model; a part that is missing, doubled or of another split is an error.
func TestSplitGGUF(t *testing.T) {
	part := func(no, count uint16, tensors uint32, name string, value float32) []byte {
		g := head(1, 3).text("split.no").u32(2).u16(no).text("split.count").u32(2).u16(count).text("split.tensors.count").u32(5, tensors)
		return g.info(name, 0, 0, 1).data(0).u32(math.Float32bits(value)).b
	}
	dir := t.TempDir()
	name := func(i int) string { return fmt.Sprintf("m-%05d-of-00002.gguf", i) }
	first := file(t, dir, name(1), part(0, 2, 2, "a", 1))
	_, err := Open(first)
	require.ErrorContains(t, err, name(2))
	second := file(t, dir, name(2), part(1, 2, 2, "b", 2))
	f := open(t, first)
	require.Equal(t, []string{"a", "b"}, f.Names())
	b, err := f.Tensor("b")
	require.NoError(t, err)
	require.Equal(t, []byte{0, 0, 0, 0x40}, b.Data)
	_, err = Open(second)
	require.ErrorContains(t, err, "open the first part")
	for says, bad := range map[string][]byte{
		"also in": part(1, 2, 2, "a", 2), "says it is part 1": part(0, 2, 2, "b", 2),
	} {
		file(t, dir, name(2), bad)
		_, err = Open(first)
		require.ErrorContains(t, err, says)
	}
	file(t, dir, name(2), part(1, 2, 2, "b", 2))
	file(t, dir, name(1), part(0, 2, 3, "a", 1))
	_, err = Open(first)
	require.ErrorContains(t, err, "split.tensors.count is 3")
}
