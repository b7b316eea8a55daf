package weights

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sort"
)

// ShardBytes is where WriteDir begins another file: Hugging Face's 5 GB.
const ShardBytes = 5_000_000_000

// Write writes one safetensors file, tensors in order of their names, and syncs it to disk. The metadata says
// {"format":"pt"}, without which transformers refuses a file.
func Write(path string, tensors map[string]Tensor) (err error) {
	header, names, err := makeHeader(tensors)
	if err != nil {
		return fmt.Errorf("weights: %s: %w", path, err)
	}
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
	w.Write(header) // the first error sticks and Flush returns it
	for _, n := range names {
		w.Write(tensors[n].Data)
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("weights: %w", err)
	}
	return nil
}

func makeHeader(tensors map[string]Tensor) (header []byte, names []string, err error) {
	for n := range tensors {
		names = append(names, n)
	}
	sort.Strings(names)
	var b bytes.Buffer
	b.WriteString(`{"__metadata__":{"format":"pt"}`)
	at := int64(0)
	for _, n := range names {
		t := tensors[n]
		if size := elementBytes[t.DType] * int64(t.Len()); size != int64(len(t.Data)) || elementBytes[t.DType] == 0 {
			return nil, nil, fmt.Errorf("tensor %s: %d bytes for %s%v", n, len(t.Data), t.DType, t.Shape)
		}
		key, _ := json.Marshal(n)
		shape, _ := json.Marshal(append([]int{}, t.Shape...))
		fmt.Fprintf(&b, `,%s:{"dtype":%q,"shape":%s,"data_offsets":[%d,%d]}`, key, t.DType, shape, at, at+int64(len(t.Data)))
		at += int64(len(t.Data))
	}
	b.WriteByte('}')
	for b.Len()%8 != 0 {
		b.WriteByte(' ')
	}
	return append(binary.LittleEndian.AppendUint64(nil, uint64(b.Len())), b.Bytes()...), names, nil
}

// WriteDir writes model.safetensors into a folder, or, where the tensors pass ShardBytes, numbered shards with
// model.safetensors.index.json. Weight files of an earlier save that the new ones do not replace are removed, last.
func WriteDir(dir string, tensors map[string]Tensor) error { return writeDir(dir, tensors, ShardBytes) }

func writeDir(dir string, tensors map[string]Tensor, limit int64) error {
	names := make([]string, 0, len(tensors))
	for n := range tensors {
		names = append(names, n)
	}
	sort.Strings(names)
	var shards []map[string]Tensor
	size, total := int64(0), int64(0)
	for _, n := range names {
		bytes := int64(len(tensors[n].Data))
		if len(shards) == 0 || size+bytes > limit {
			shards, size = append(shards, map[string]Tensor{}), 0
		}
		shards[len(shards)-1][n] = tensors[n]
		size += bytes
		total += bytes
	}
	if len(shards) <= 1 {
		if err := Write(filepath.Join(dir, "model.safetensors"), tensors); err != nil {
			return err
		}
		return removeStale(dir, map[string]bool{"model.safetensors": true})
	}
	fresh := map[string]bool{"model.safetensors.index.json": true}
	index := map[string]string{}
	for i, shard := range shards {
		file := fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, len(shards))
		fresh[file] = true
		if err := Write(filepath.Join(dir, file), shard); err != nil {
			return err
		}
		for n := range shard {
			index[n] = file
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
