package weights

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// ShardBytes is where WriteDir begins another file: Hugging Face's 5 GB.
const ShardBytes = 5_000_000_000

// Entry is a tensor to be written: its name, type and shape.
type Entry struct {
	Name, DType string
	Shape       []int
}

func (e Entry) bytes() int64 { return elementBytes[e.DType] * int64(elements(e.Shape)) }

// Write writes one safetensors file, tensors in order of their names, and syncs it to disk. The metadata says
// {"format":"pt"}, without which transformers refuses a file.
func Write(path string, tensors map[string]Tensor) error {
	list, fill, err := entries(tensors)
	if err != nil {
		return fmt.Errorf("weights: %s: %w", path, err)
	}
	return writeFile(path, list, fill)
}

// entries lists tensors in memory in order, with the function that writes one.
func entries(tensors map[string]Tensor) ([]Entry, func(name string, w io.Writer) error, error) {
	var list []Entry
	for _, n := range slices.Sorted(maps.Keys(tensors)) {
		t := tensors[n]
		e := Entry{n, t.DType, t.Shape}
		if e.bytes() != int64(len(t.Data)) || elementBytes[t.DType] == 0 {
			return nil, nil, fmt.Errorf("tensor %s: %d bytes for %s%v", n, len(t.Data), t.DType, t.Shape)
		}
		list = append(list, e)
	}
	return list, func(name string, w io.Writer) error { _, err := w.Write(tensors[name].Data); return err }, nil
}

// counter counts what goes through it.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += int64(n)
	return n, err
}

func writeFile(path string, list []Entry, fill func(name string, w io.Writer) error) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("weights: %w", err)
	}
	defer func() {
		if e := errors.Join(f.Sync(), f.Close()); err == nil && e != nil {
			err = fmt.Errorf("weights: %w", e)
		}
	}()
	w := bufio.NewWriterSize(f, 1<<20)
	w.Write(makeHeader(list)) // the first error sticks and Flush returns it
	for _, e := range list {
		c := &counter{w: w}
		if err := fill(e.Name, c); err != nil {
			return fmt.Errorf("weights: %s: tensor %s: %w", path, e.Name, err)
		}
		if c.n != e.bytes() {
			return fmt.Errorf("weights: %s: tensor %s: %d bytes for %s%v", path, e.Name, c.n, e.DType, e.Shape)
		}
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("weights: %w", err)
	}
	return nil
}

func makeHeader(list []Entry) []byte {
	var b bytes.Buffer
	b.WriteString(`{"__metadata__":{"format":"pt"}`)
	at := int64(0)
	for _, e := range list {
		key, _ := json.Marshal(e.Name)
		shape, _ := json.Marshal(append([]int{}, e.Shape...))
		fmt.Fprintf(&b, `,%s:{"dtype":%q,"shape":%s,"data_offsets":[%d,%d]}`, key, e.DType, shape, at, at+e.bytes())
		at += e.bytes()
	}
	b.WriteByte('}')
	for b.Len()%8 != 0 {
		b.WriteByte(' ')
	}
	return append(binary.LittleEndian.AppendUint64(nil, uint64(b.Len())), b.Bytes()...)
}

// WriteDir writes model.safetensors into a folder, or, where the tensors pass ShardBytes, numbered shards with
// model.safetensors.index.json. Weight files of an earlier save that the new ones do not replace are removed, last.
func WriteDir(dir string, tensors map[string]Tensor) error { return writeDir(dir, tensors, ShardBytes) }

func writeDir(dir string, tensors map[string]Tensor, limit int64) error {
	list, fill, err := entries(tensors)
	if err != nil {
		return fmt.Errorf("weights: %s: %w", dir, err)
	}
	return writeShards(dir, list, fill, limit)
}

// WriteDirFrom is WriteDir for tensors that are not in memory: fill writes one's bytes, row-major and little-endian, when its
// turn comes.
func WriteDirFrom(dir string, list []Entry, fill func(name string, w io.Writer) error) error {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	for i, e := range list {
		if elementBytes[e.DType] == 0 || i > 0 && e.Name == list[i-1].Name {
			return fmt.Errorf("weights: %s: tensor %s: unknown type %q, or twice", dir, e.Name, e.DType)
		}
	}
	return writeShards(dir, list, fill, ShardBytes)
}

func writeShards(dir string, list []Entry, fill func(name string, w io.Writer) error, limit int64) error {
	var shards [][]Entry
	size, total := int64(0), int64(0)
	for _, e := range list {
		bytes := e.bytes()
		if len(shards) == 0 || size+bytes > limit {
			shards, size = append(shards, nil), 0
		}
		shards[len(shards)-1] = append(shards[len(shards)-1], e)
		size += bytes
		total += bytes
	}
	if len(shards) <= 1 {
		if err := writeFile(filepath.Join(dir, "model.safetensors"), list, fill); err != nil {
			return err
		}
		return removeStale(dir, map[string]bool{"model.safetensors": true})
	}
	fresh := map[string]bool{"model.safetensors.index.json": true}
	index := map[string]string{}
	for i, shard := range shards {
		file := fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, len(shards))
		fresh[file] = true
		if err := writeFile(filepath.Join(dir, file), shard, fill); err != nil {
			return err
		}
		for _, e := range shard {
			index[e.Name] = file
		}
	}
	text, err := json.MarshalIndent(map[string]any{"metadata": map[string]any{"total_size": total}, "weight_map": index}, "", "  ")
	if err != nil {
		return fmt.Errorf("weights: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "model.safetensors.index.json"), append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("weights: %w", err)
	}
	return removeStale(dir, fresh)
}

// stale are the names that transformers gives weights.
var stale = regexp.MustCompile(`^model(-\d{5}-of-\d{5})?\.safetensors(\.index\.json)?$`)

// removeStale deletes weight files other than the fresh ones: a reader would find two models in one folder.
func removeStale(dir string, fresh map[string]bool) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("weights: %w", err)
	}
	for _, f := range files {
		if stale.MatchString(f.Name()) && !fresh[f.Name()] {
			if err := os.Remove(filepath.Join(dir, f.Name())); err != nil {
				return fmt.Errorf("weights: %w", err)
			}
		}
	}
	return nil
}
