package weights

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"regexp"
	"strconv"
	"unicode/utf8"
)

// Limits of a GGUF header. Real files stay far below: about 50 entries, 2,000 tensors, 300,000 strings of an array.
const (
	maxEntries   = 1 << 16
	maxGGUF      = 1 << 16 // tensors
	maxName      = 1 << 12 // bytes
	maxGGUFDims  = 4       // ggml's own
	maxAlignment = 4096
	maxSplits    = 1 << 12
)

// ggmlTypes are the tensor types of GGUF by number. Those without a layout are known and refused.
var ggmlTypes = map[uint32]string{
	0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 9: "Q8_1", 10: "Q2_K", 11: "Q3_K", 12: "Q4_K", 13: "Q5_K", 14: "Q6_K", 15: "Q8_K",
	16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS", 24: "I8", 25: "I16", 26: "I32", 27: "I64",
	28: "F64", 29: "IQ1_M", 30: "BF16", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4", 40: "NVFP4",
}

// ggufReader reads a header front to back. Every count is held against the bytes that are left before anything is allocated
// for it. The first error sticks; after it everything reads as zero.
type ggufReader struct {
	r    *bufio.Reader
	at   int64 // bytes read so far
	size int64 // of the file
	word [8]byte
	err  error
}

func (g *ggufReader) fail(format string, args ...any) {
	if g.err == nil {
		g.err = fmt.Errorf("byte %d: "+format, append([]any{g.at}, args...)...)
	}
}

// has reports whether n elements of at least the given bytes can follow.
func (g *ggufReader) has(n uint64, bytes int64) bool {
	if g.err == nil && n > uint64((g.size-g.at)/bytes) {
		g.fail("%d elements of %d bytes are claimed, %d bytes are left", n, bytes, g.size-g.at)
	}
	return g.err == nil
}

func (g *ggufReader) bytes(n uint64) []byte {
	if !g.has(n, 1) {
		return nil
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(g.r, b); err != nil {
		g.fail("%w", err)
	}
	g.at += int64(n)
	return b
}

// number reads an unsigned number of 1, 2, 4 or 8 bytes.
func (g *ggufReader) number(size int) uint64 {
	if !g.has(1, int64(size)) {
		return 0
	}
	g.word = [8]byte{}
	if _, err := io.ReadFull(g.r, g.word[:size]); err != nil {
		g.fail("%w", err)
	}
	g.at += int64(size)
	return binary.LittleEndian.Uint64(g.word[:])
}

func (g *ggufReader) u32() uint32 { return uint32(g.number(4)) }

func (g *ggufReader) text() string { return string(g.bytes(g.number(8))) }

// name reads the name of an entry or a tensor.
func (g *ggufReader) name() string {
	n := g.number(8)
	if n == 0 || n > maxName {
		g.fail("a name of %d bytes, want 1 to %d", n, maxName)
	}
	s := string(g.bytes(n))
	if !utf8.ValidString(s) {
		g.fail("the name %q is not UTF-8", s)
	}
	return s
}

// scalars are GGUF's value types of a fixed size: how many bytes, and how to make a Go value of them.
var scalars = map[uint32]struct {
	bytes int
	value func(u uint64) any
}{
	0: {1, func(u uint64) any { return uint8(u) }}, 1: {1, func(u uint64) any { return int8(u) }},
	2: {2, func(u uint64) any { return uint16(u) }}, 3: {2, func(u uint64) any { return int16(u) }},
	4: {4, func(u uint64) any { return uint32(u) }}, 5: {4, func(u uint64) any { return int32(u) }},
	6: {4, func(u uint64) any { return math.Float32frombits(uint32(u)) }}, 7: {1, func(u uint64) any { return u != 0 }},
	10: {8, func(u uint64) any { return u }}, 11: {8, func(u uint64) any { return int64(u) }}, 12: {8, func(u uint64) any { return math.Float64frombits(u) }},
}

const (
	ggufString = 8
	ggufArray  = 9
)

// value reads one value: a Go scalar, a string, or a slice of either.
func (g *ggufReader) value() any {
	kind := g.u32()
	if s, ok := scalars[kind]; ok {
		u := g.number(s.bytes)
		if kind == 7 && u > 1 {
			g.fail("a bool is %d", u)
		}
		return s.value(u)
	}
	switch kind {
	case ggufString:
		return g.text()
	case ggufArray:
		return g.array()
	}
	g.fail("value type %d is unknown", kind)
	return nil
}

func (g *ggufReader) array() any {
	kind, n := g.u32(), g.number(8)
	if kind == ggufString {
		if !g.has(n, 8) {
			return nil
		}
		list := make([]string, n)
		for i := range list {
			if list[i] = g.text(); g.err != nil {
				return nil
			}
		}
		return list
	}
	s, ok := scalars[kind]
	if !ok {
		g.fail("an array of type %d is not supported (no arrays of arrays)", kind)
	}
	if g.err != nil || !g.has(n, int64(s.bytes)) {
		return nil
	}
	switch kind {
	case 4:
		return fixed(g, n, func(u uint64) uint32 { return uint32(u) }, 4)
	case 5:
		return fixed(g, n, func(u uint64) int32 { return int32(u) }, 4)
	case 6:
		return fixed(g, n, func(u uint64) float32 { return math.Float32frombits(uint32(u)) }, 4)
	case 7:
		return fixed(g, n, func(u uint64) bool { return u != 0 }, 1)
	case 10:
		return fixed(g, n, func(u uint64) uint64 { return u }, 8)
	case 11:
		return fixed(g, n, func(u uint64) int64 { return int64(u) }, 8)
	case 12:
		return fixed(g, n, math.Float64frombits, 8)
	}
	return g.bytes(n * uint64(s.bytes)) // 8 and 16 bits: no known entry has an array of them
}

func fixed[T any](g *ggufReader, n uint64, value func(uint64) T, size int) []T {
	list := make([]T, n)
	for i := range list {
		list[i] = value(g.number(size))
	}
	return list
}

// readGGUF reads and checks the header of a file of the given size.
func readGGUF(r io.Reader, size int64) (map[string]entry, map[string]any, error) {
	g := &ggufReader{r: bufio.NewReaderSize(r, 1<<16), size: size}
	if magic := g.bytes(4); g.err == nil && string(magic) != "GGUF" {
		return nil, nil, fmt.Errorf("%q at the start is not GGUF", magic)
	}
	if version := g.u32(); g.err == nil && version != 2 && version != 3 {
		return nil, nil, fmt.Errorf("GGUF version %d (%#x) is not supported; versions 2 and 3 in little-endian order are", version, version)
	}
	tensors, entries := g.number(8), g.number(8)
	if tensors > maxGGUF || entries > maxEntries {
		g.fail("%d tensors and %d entries, limits %d and %d", tensors, entries, maxGGUF, maxEntries)
	}
	meta := map[string]any{}
	for i := uint64(0); i < entries && g.err == nil; i++ {
		key := g.name()
		if _, twice := meta[key]; twice {
			g.fail("entry %q occurs twice", key)
		}
		meta[key] = g.value()
	}
	infos, order := map[string]entry{}, []string(nil)
	for i := uint64(0); i < tensors && g.err == nil; i++ {
		name, e := g.tensor()
		if _, twice := infos[name]; twice {
			g.fail("tensor %q occurs twice", name)
		}
		infos[name], order = e, append(order, name)
	}
	if g.err != nil {
		return nil, nil, g.err
	}
	return infos, meta, placeGGUF(infos, order, meta, g.at, size)
}

// tensor reads one tensor's description. Its start is still an offset, its shape still has the fastest dimension first.
func (g *ggufReader) tensor() (string, entry) {
	name := g.name()
	nd := g.u32()
	if nd > maxGGUFDims {
		g.fail("tensor %s has %d dimensions, limit %d", name, nd, maxGGUFDims)
		return name, entry{}
	}
	dims := make([]uint64, nd)
	for i := range dims {
		dims[i] = g.number(8)
	}
	kind, offset := g.u32(), g.number(8)
	if g.err != nil {
		return name, entry{}
	}
	dtype, known := ggmlTypes[kind]
	l, supported := layouts[dtype]
	if !known || !supported {
		g.fail("tensor %s has type %d (%s), which is not supported; requantise the model to F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K or Q6_K", name, kind, dtype)
		return name, entry{}
	}
	if nd == 0 {
		dims = []uint64{1}
	}
	shape, blocks := make([]int, len(dims)), uint64(1)
	for i, d := range dims {
		if i == 0 {
			if d%uint64(l.elems) != 0 {
				g.fail("tensor %s: rows of %d elements are not blocks of %d of %s", name, d, l.elems, dtype)
			}
			blocks = d / uint64(l.elems)
		} else if d > 0 && blocks > math.MaxInt64/4/d {
			g.fail("tensor %s: shape %v", name, dims)
		} else {
			blocks *= d
		}
		if d == 0 || d > math.MaxInt32 {
			g.fail("tensor %s: shape %v", name, dims)
			return name, entry{}
		}
		shape[len(dims)-1-i] = int(d)
	}
	bytes := blocks * uint64(l.bytes)
	if blocks > uint64(g.size) || bytes > uint64(g.size) || offset > uint64(g.size)-bytes {
		g.fail("tensor %s: %s%v at offset %d is larger than the file of %d bytes", name, dtype, shape, offset, g.size)
	}
	return name, entry{dtype: dtype, shape: shape, start: int64(offset), end: int64(offset + bytes)}
}

// placeGGUF turns offsets into places in the file. Tensors must lie end to end in their order, each padded to the
// alignment, as ggml writes them and demands.
func placeGGUF(infos map[string]entry, order []string, meta map[string]any, header, size int64) error {
	align := int64(32)
	if v, ok := meta["general.alignment"]; ok {
		a, isU32 := v.(uint32)
		if !isU32 || a == 0 || a&(a-1) != 0 || a > maxAlignment {
			return fmt.Errorf("general.alignment is %v, want a power of two up to %d", v, maxAlignment)
		}
		align = int64(a)
	}
	up := func(n int64) int64 { return (n + align - 1) / align * align }
	base, at := up(header), int64(0)
	for _, name := range order {
		e := infos[name]
		if e.start != at {
			return fmt.Errorf("tensor %s starts at byte %d of the data, want %d: tensors must lie end to end", name, e.start, at)
		}
		at = up(e.end)
		e.start, e.end = e.start+base, e.end+base
		if e.end > size {
			return fmt.Errorf("tensor %s ends at byte %d of a file of %d", name, e.end, size)
		}
		infos[name] = e
	}
	if size > base+at {
		return fmt.Errorf("%d bytes follow the last tensor", size-base-at)
	}
	return nil
}

var splitName = regexp.MustCompile(`^(.*)-(\d{5})-of-(\d{5})\.gguf$`)

// openGGUF opens a .gguf file, or all parts of a split one by the name of its first.
func (f *File) openGGUF(path string) error {
	meta, err := f.openPart(path)
	if err != nil {
		return err
	}
	f.gguf = meta
	count, err := MetaInt(meta, "split.count", 1)
	if err != nil || count == 1 {
		return wrap(path, err)
	}
	no, err := MetaInt(meta, "split.no", 0)
	m := splitName.FindStringSubmatch(filepath.Base(path))
	if err != nil || no != 0 || m == nil || m[2] != "00001" || m[3] != fmt.Sprintf("%05d", count) || count < 1 || count > maxSplits {
		return fmt.Errorf("weights: %s: part %d of %d; open the first part, NAME-00001-of-%05d.gguf, with the others beside it", path, no+1, count, count)
	}
	for i := 2; i <= count; i++ {
		part := filepath.Join(filepath.Dir(path), fmt.Sprintf("%s-%05d-of-%s.gguf", m[1], i, m[3]))
		meta, err := f.openPart(part)
		if err != nil {
			return err
		}
		if no, err := MetaInt(meta, "split.no", 0); err != nil || no != i-1 {
			return fmt.Errorf("weights: %s: says it is part %d of its model, its name says %d", part, no+1, i)
		}
	}
	want, err := MetaInt(meta, "split.tensors.count", len(f.entries))
	if err == nil && want != len(f.entries) {
		err = fmt.Errorf("split.tensors.count is %d, the parts have %d tensors", want, len(f.entries))
	}
	return wrap(path, err)
}

func wrap(path string, err error) error {
	if err != nil {
		return fmt.Errorf("weights: %s: %w", path, err)
	}
	return nil
}

// openPart opens one file and adds its tensors.
func (f *File) openPart(path string) (map[string]any, error) {
	s, err := f.open(path)
	if err != nil {
		return nil, err
	}
	entries, meta, err := readGGUF(io.NewSectionReader(s.file, 0, s.size), s.size)
	if err != nil {
		return nil, fmt.Errorf("weights: %s: %w", path, err)
	}
	return meta, f.add(s, entries)
}

// MetaInt is a whole number of a GGUF file's metadata, whatever its width; otherwise where there is no such entry. Another
// kind of value, or one outside 0 to 2^31-1, is an error.
func MetaInt(meta map[string]any, key string, otherwise int) (int, error) {
	v, ok := meta[key]
	if !ok {
		return otherwise, nil
	}
	text := fmt.Sprint(v)
	n, err := strconv.ParseInt(text, 10, 32)
	if _, isText := v.(string); err != nil || isText || n < 0 {
		return 0, fmt.Errorf("%s is %.40q, want a whole number", key, text)
	}
	return int(n), nil
}

// GGUF is the metadata of a GGUF file: numbers, bools, strings, and slices of them ([]string, []int32, []float32, ...) by their
// keys. A safetensors file has none: nil.
func (f *File) GGUF() map[string]any { return f.gguf }
