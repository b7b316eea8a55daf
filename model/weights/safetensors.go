package weights

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Limits of a file's header; the first is the format's own.
const (
	maxHeader  = 100_000_000
	maxDims    = 8
	maxTensors = 200_000 // twice DeepSeek-V3's
)

var elementBytes = map[string]int64{
	"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1,
	"F8_E4M3": 1, "F8_E5M2": 1,
}

// Tensor is one array of a file. Data is little-endian and row-major.
type Tensor struct {
	DType string // "F32", "BF16", ...: the format's names
	Shape []int
	Data  []byte
}

// Len is the number of elements.
func (t Tensor) Len() int {
	n := 1
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// Float32 converts the elements. Types of floating-point numbers and GGUF's quantised types can be converted; F8 cannot, which
// means nothing without its scales (see Checkpoint).
func (t Tensor) Float32() ([]float32, error) {
	l, out := layouts[t.DType], make([]float32, t.Len())
	if l.widen == nil {
		return nil, fmt.Errorf("weights: %s cannot be converted to float32", t.DType)
	}
	l.widen(out, t.Data)
	return out, nil
}

// FromFloat32 is an F32 tensor of the given values.
func FromFloat32(values []float32, shape ...int) Tensor {
	data := make([]byte, 4*len(values))
	for i, v := range values {
		binary.LittleEndian.PutUint32(data[4*i:], math.Float32bits(v))
	}
	return Tensor{"F32", shape, data}
}

// File is an opened model: one safetensors file, the shards of an index, or a GGUF file with its parts. It keeps the files open
// and reads tensors when asked, so a tensor costs its own size and no more.
type File struct {
	entries map[string]entry
	sources []*source
	meta    map[string]string
	gguf    map[string]any
}

type entry struct {
	source     *source
	dtype      string
	shape      []int
	start, end int64 // in the file
}

// Open opens a .safetensors file, a model.safetensors.index.json, a folder that has one of them under Hugging Face's names, or a
// .gguf file (of a split one the first part). Nothing a file says is believed: its tensors must lie end to end, inside the file
// and with no byte left over.
func Open(path string) (*File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("weights: %w", err)
	}
	if info.IsDir() {
		for _, name := range []string{"model.safetensors", "model.safetensors.index.json"} {
			if _, err := os.Stat(filepath.Join(path, name)); err == nil {
				return Open(filepath.Join(path, name))
			}
		}
		return nil, fmt.Errorf("weights: %s has neither model.safetensors nor model.safetensors.index.json", path)
	}
	f := &File{entries: map[string]entry{}, meta: map[string]string{}}
	switch filepath.Ext(path) {
	case ".json":
		err = f.openIndex(path)
	case ".gguf":
		err = f.openGGUF(path)
	default:
		err = f.openShard(path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Close closes the files.
func (f *File) Close() error {
	var errs []error
	for _, s := range f.sources {
		errs = append(errs, s.close())
	}
	f.sources = nil
	return errors.Join(errs...)
}

// Names lists the tensors in order.
func (f *File) Names() []string {
	return slices.Sorted(maps.Keys(f.entries))
}

// Metadata is the __metadata__ of a safetensors file.
func (f *File) Metadata() map[string]string { return f.meta }

// Shape returns a tensor's type and shape without reading it; ok is false where there is no such tensor.
func (f *File) Shape(name string) (dtype string, shape []int, ok bool) {
	e, ok := f.entries[name]
	return e.dtype, slices.Clone(e.shape), ok
}

// Tensor reads one tensor.
func (f *File) Tensor(name string) (Tensor, error) {
	e, ok := f.entries[name]
	if !ok {
		return Tensor{}, fmt.Errorf("weights: no tensor %q", name)
	}
	data := make([]byte, e.end-e.start)
	if err := e.source.view(e.start, e.end, func(b []byte) { copy(data, b) }); err != nil {
		return Tensor{}, fmt.Errorf("weights: %s: tensor %s: %w", e.source.path, name, err)
	}
	return Tensor{e.dtype, slices.Clone(e.shape), data}, nil
}

func (f *File) openShard(path string) error {
	s, err := f.open(path)
	if err != nil {
		return err
	}
	entries, meta, err := readHeader(s.file, s.size)
	if err != nil {
		return fmt.Errorf("weights: %s: %w", path, err)
	}
	maps.Copy(f.meta, meta)
	return f.add(s, entries)
}

// open opens one of the files and keeps it.
func (f *File) open(path string) (*source, error) {
	s, err := openSource(path)
	if err != nil {
		return nil, fmt.Errorf("weights: %w", err)
	}
	f.sources = append(f.sources, s)
	return s, nil
}

// add takes over the tensors of one of the files.
func (f *File) add(s *source, entries map[string]entry) error {
	for name, e := range entries {
		if old, twice := f.entries[name]; twice {
			return fmt.Errorf("weights: %s: tensor %s is also in %s", s.path, name, old.source.path)
		}
		e.source = s
		f.entries[name] = e
	}
	return nil
}

// readHeader reads and checks the header of a file of the given size.
func readHeader(r io.ReaderAt, size int64) (map[string]entry, map[string]string, error) {
	var length [8]byte
	if size < 8 {
		return nil, nil, fmt.Errorf("%d bytes are too few for a safetensors file", size)
	}
	if _, err := r.ReadAt(length[:], 0); err != nil {
		return nil, nil, err
	}
	n := binary.LittleEndian.Uint64(length[:])
	if n > maxHeader || int64(n) > size-8 {
		return nil, nil, fmt.Errorf("the header claims %d bytes of a file of %d (limit %d)", n, size, maxHeader)
	}
	text := make([]byte, n)
	if _, err := r.ReadAt(text, 8); err != nil {
		return nil, nil, err
	}
	entries, meta, err := parseHeader(text)
	if err != nil {
		return nil, nil, err
	}
	base := 8 + int64(n)
	for name, e := range entries {
		e.start, e.end = e.start+base, e.end+base
		entries[name] = e
	}
	return entries, meta, endToEnd(entries, base, size)
}

// endToEnd checks that the tensors cover the data from base to the end of the file, with no hole, overlap or tail.
func endToEnd(entries map[string]entry, base, size int64) error {
	names := make([]string, 0, len(entries))
	for name := range entries {
		names = append(names, name)
	}
	sort.Slice(names, func(i, j int) bool {
		a, b := entries[names[i]], entries[names[j]]
		return a.start < b.start || (a.start == b.start && a.end < b.end)
	})
	at := base
	for _, name := range names {
		if e := entries[name]; e.start != at {
			return fmt.Errorf("tensor %s starts at byte %d of the data, want %d: tensors must lie end to end", name, e.start-base, at-base)
		}
		at = entries[name].end
	}
	if at != size {
		return fmt.Errorf("the tensors end at byte %d of the file, the file at %d", at, size)
	}
	return nil
}

// parseHeader reads the JSON object token by token: encoding/json's structs would take names in any case, the last of two
// equal names and a missing field for an empty one.
func parseHeader(text []byte) (map[string]entry, map[string]string, error) {
	if !utf8.Valid(text) {
		return nil, nil, errors.New("the header is not UTF-8")
	}
	if len(text) == 0 || text[0] != '{' {
		return nil, nil, errors.New("the header does not begin with {")
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	entries, meta := map[string]entry{}, map[string]string(nil)
	err := object(d, func(name string) (err error) {
		if name == "__metadata__" {
			meta, err = stringMap(d)
			return err
		}
		if len(entries) == maxTensors {
			return fmt.Errorf("more than %d tensors", maxTensors)
		}
		entries[name], err = parseEntry(d)
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("header: %w", err)
	}
	if len(bytes.TrimRight(text[d.InputOffset():], " ")) > 0 {
		return nil, nil, errors.New("header: something follows the object")
	}
	return entries, meta, nil
}

// object reads a JSON object and calls value at each value, which must read it. A name that occurs twice is an error.
func object(d *json.Decoder, value func(name string) error) error {
	if err := delim(d, '{'); err != nil {
		return err
	}
	seen := map[string]bool{}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return err
		}
		name, _ := key.(string)
		if seen[name] {
			return fmt.Errorf("%q occurs twice", name)
		}
		seen[name] = true
		if err := value(name); err != nil {
			return fmt.Errorf("%q: %w", name, err)
		}
	}
	return delim(d, '}')
}

func delim(d *json.Decoder, want json.Delim) error {
	t, err := d.Token()
	if err == nil && t != want {
		err = fmt.Errorf("%v where %v should be", t, want)
	}
	return err
}

func stringMap(d *json.Decoder) (map[string]string, error) {
	m := map[string]string{}
	return m, object(d, func(name string) error {
		t, err := d.Token()
		v, ok := t.(string)
		if err == nil && !ok {
			err = fmt.Errorf("%v is not a string", t)
		}
		m[name] = v
		return err
	})
}

// integers reads a list of at most n whole numbers.
func integers(d *json.Decoder, n int) ([]int64, error) {
	if err := delim(d, '['); err != nil {
		return nil, err
	}
	var out []int64
	for d.More() {
		if len(out) == n {
			return nil, fmt.Errorf("more than %d numbers", n)
		}
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		number, _ := t.(json.Number)
		v, err := strconv.ParseInt(string(number), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%v is not a whole number", t)
		}
		out = append(out, v)
	}
	return out, delim(d, ']')
}

func parseEntry(d *json.Decoder) (entry, error) {
	var dtype string
	var dims, offsets []int64
	fields := 0
	err := object(d, func(name string) (err error) {
		fields++
		switch name {
		case "dtype":
			var t json.Token
			t, err = d.Token()
			dtype, _ = t.(string)
		case "shape":
			dims, err = integers(d, maxDims)
		case "data_offsets":
			offsets, err = integers(d, 2)
		default:
			err = errors.New("unknown field")
		}
		return err
	})
	if err != nil {
		return entry{}, err
	}
	size, known := elementBytes[dtype]
	switch {
	case fields != 3:
		return entry{}, errors.New("want dtype, shape and data_offsets")
	case !known:
		return entry{}, fmt.Errorf("dtype %q is unknown", dtype)
	case len(offsets) != 2 || offsets[0] < 0 || offsets[1] < offsets[0] || offsets[1] > math.MaxInt64/4:
		return entry{}, fmt.Errorf("data_offsets %v", offsets)
	}
	want, shape := size, make([]int, len(dims))
	for i, n := range dims {
		if n < 0 || n > math.MaxInt32 || (n > 0 && want > math.MaxInt64/4/n) {
			return entry{}, fmt.Errorf("shape %v", dims)
		}
		want *= n
		shape[i] = int(n)
	}
	if got := offsets[1] - offsets[0]; got != want {
		return entry{}, fmt.Errorf("%s%v needs %d bytes, data_offsets span %d", dtype, dims, want, got)
	}
	return entry{dtype: dtype, shape: shape, start: offsets[0], end: offsets[1]}, nil
}

const maxShards = 100_000

// openIndex opens the shards that an index names. A shard must be a plain file name in the index's own folder.
func (f *File) openIndex(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("weights: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	var where map[string]string
	err = object(d, func(name string) (err error) {
		if name == "weight_map" {
			where, err = stringMap(d)
			return err
		}
		var other json.RawMessage
		return d.Decode(&other)
	})
	if err != nil {
		return fmt.Errorf("weights: %s: %w", path, err)
	}
	if len(where) == 0 {
		return fmt.Errorf("weights: %s: weight_map is empty", path)
	}
	shards := map[string]bool{}
	for name, shard := range where {
		if shard == "" || shard != filepath.Base(shard) || shard == "." || shard == ".." || strings.ContainsAny(shard, `/\`) {
			return fmt.Errorf("weights: %s: tensor %s lies in %q: want a file name in the same folder", path, name, shard)
		}
		shards[shard] = true
	}
	if len(shards) > maxShards {
		return fmt.Errorf("weights: %s: %d shards, limit %d", path, len(shards), maxShards)
	}
	for shard := range shards {
		if err := f.openShard(filepath.Join(filepath.Dir(path), shard)); err != nil {
			return err
		}
	}
	for name, shard := range where {
		if e, ok := f.entries[name]; !ok || filepath.Base(e.source.path) != shard {
			return fmt.Errorf("weights: %s: tensor %s is not in %s", path, name, shard)
		}
	}
	if len(f.entries) != len(where) {
		return fmt.Errorf("weights: %s: the shards hold %d tensors, weight_map lists %d", path, len(f.entries), len(where))
	}
	return nil
}
