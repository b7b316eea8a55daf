package data

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"iter"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// DefaultMaxLine is the most bytes of one row where Options.MaxLine is 0.
const DefaultMaxLine = 16 << 20

// Options say how to read a data set. The zero value reads the split "train".
type Options struct {
	Split    string           // "train", "test", "validation" or any other that the folder has; empty: "train"
	Config   string           // the configuration of a data set that has several
	Field    string           // of a .json file that is one object: the field with the rows; empty: the only list of objects
	MaxLine  int              // the most bytes of one row in JSON, JSON Lines and CSV; 0: DefaultMaxLine
	Skip     func(error) bool // asked about each line of JSON Lines that cannot be read: true leaves it out; nil: the first one ends the stream
	Hub      Hub              // where a name that is no file or folder is looked for; nil: such a name is an error
	Revision string           // of a hub id: branch, tag or commit; empty: "main"
}

// ErrNoSplit is wrapped by Open's error for a folder or hub id that has data, but not in the split asked for.
var ErrNoSplit = errors.New("has no split")

// file is one file of a Dataset.
type file struct {
	path, name string // where it is; what it is called in messages and in the cursor's hash
	kind       string // ".jsonl", ".json", ".csv", ".parquet"
	pack       string // ".gz", ".zst" or none
	size       int64
}

// Dataset is the files of one split. It holds no open file.
type Dataset struct {
	files  []file
	o      Options
	source string
}

// kinds gives the format by a file's name, and how it is compressed; "" where it is not a data file.
func kinds(name string) (kind, pack string) {
	ext := strings.ToLower(path.Ext(name))
	if ext == ".gz" || ext == ".zst" {
		pack = ext
		ext = strings.ToLower(path.Ext(name[:len(name)-len(ext)]))
	}
	switch ext {
	case ".jsonl", ".ndjson":
		return ".jsonl", pack
	case ".json", ".csv":
		return ext, pack
	case ".parquet":
		if pack == "" {
			return ext, ""
		}
	}
	return "", ""
}

// Open finds the files of one split: a file is a split of its own, a folder is divided as the datasets library does it, and any
// other name of the form "org/name" is a data set of the hub. It reads no rows.
func Open(ctx context.Context, name string, o Options) (*Dataset, error) {
	if o.MaxLine < 0 {
		return nil, fmt.Errorf("data: Options.MaxLine is %d, want a number of bytes, or 0 for %d", o.MaxLine, DefaultMaxLine)
	}
	if o.MaxLine == 0 {
		o.MaxLine = DefaultMaxLine
	}
	info, err := os.Stat(name)
	switch {
	case err == nil && !info.IsDir():
		return newDataset(o, []file{{path: name, name: name}})
	case err == nil:
		return openFolder(name, name, o)
	case o.Hub != nil && isHubID(name):
		return openHub(ctx, name, o)
	case isHubID(name):
		return nil, fmt.Errorf("data: %s is no file or folder, and Options.Hub is nil, so that it is not looked for elsewhere", name)
	}
	return nil, fmt.Errorf("data: %w; want a file, a folder, or a hub id of the form org/name", err)
}

// newDataset completes the files' descriptions.
func newDataset(o Options, files []file) (*Dataset, error) {
	h := fnv.New64a()
	for i := range files {
		f := &files[i]
		info, err := os.Stat(f.path)
		if err != nil {
			return nil, fmt.Errorf("data: %w", err)
		}
		if f.size = info.Size(); f.size == 0 {
			return nil, fmt.Errorf("data: %s is empty (0 bytes)", f.name)
		}
		if f.kind, f.pack = kinds(f.path); f.kind == "" {
			return nil, fmt.Errorf("data: %s: want a file called .jsonl, .ndjson, .json or .csv (with .gz or .zst behind it, or not) or .parquet", f.name)
		}
		fmt.Fprintf(h, "%q %d\n", filepath.Base(f.path), f.size)
	}
	fmt.Fprintf(h, "%q", o.Field)
	return &Dataset{files: files, o: o, source: fmt.Sprintf("%016x", h.Sum64())}, nil
}

// reader gives the rows of one file.
type reader interface {
	// next returns a row's fields and its line (0: no lines), and moves the cursor's Line and Offset behind it. io.EOF ends the
	// file; a *badLine may be skipped.
	next(at *Cursor) (fields Object, line int64, err error)
	io.Closer
}

// badLine is a row that cannot be read, behind which others can.
type badLine struct{ error }

// open starts reading a file at the cursor's Line, Offset and Row.
func (d *Dataset) open(f file, at Cursor) (reader, error) {
	switch f.kind {
	case ".jsonl":
		return openLines(f, d.o, at)
	case ".json":
		return openDocument(f, d.o, at)
	case ".csv":
		return openCSV(f, d.o, at)
	}
	return openParquet(f, at)
}

// Rows gives the rows of all files in order. A data set without rows is an error.
func (d *Dataset) Rows(ctx context.Context, from Cursor) iter.Seq2[Row, error] {
	if !from.start() && (from.Source != d.source || from.File >= len(d.files) || len(from.Inner) > 0) {
		return failed(fmt.Errorf("data: %s: the cursor belongs to other data, or its files have changed since (%s, now %s); start from the beginning", d.files[0].name, from.Source, d.source))
	}
	return func(yield func(Row, error) bool) {
		at := from
		at.Source = d.source
		given := false
		for at.File < len(d.files) {
			more, err := d.readFile(ctx, &at, &given, yield)
			if err != nil {
				yield(Row{}, err)
			}
			if !more || err != nil {
				return
			}
			at = Cursor{Source: d.source, File: at.File + 1}
		}
		if !given && from.start() {
			yield(Row{}, fmt.Errorf("data: %s: no rows", d.files[0].name))
		}
	}
}

// readFile gives the rows of the file at the cursor. more is false when the caller wants no more.
func (d *Dataset) readFile(ctx context.Context, at *Cursor, given *bool, yield func(Row, error) bool) (more bool, err error) {
	f := d.files[at.File]
	r, err := d.open(f, *at)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	for {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		fields, line, err := r.next(at)
		if errors.Is(err, io.EOF) {
			return true, nil
		}
		at.Row++
		place := Place{File: f.name, Line: line, Row: at.Row}
		if err != nil {
			var bad *badLine
			rowErr := &RowError{Place: place, Err: err}
			if errors.As(err, &bad) {
				rowErr.Err = bad.error
				if d.o.Skip != nil && d.o.Skip(rowErr) {
					continue
				}
			}
			return false, rowErr
		}
		*given = true
		if !yield(Row{Fields: fields, Place: place, Next: *at, untyped: f.kind == ".csv"}, nil) {
			return false, nil
		}
	}
}

// openAt opens a file's text behind offset bytes of it, decompressed.
func openAt(f file, offset int64) (io.ReadCloser, error) {
	raw, err := os.Open(f.path)
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	text, err := unpack(f, raw)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("data: %s: %w", f.name, err), raw.Close())
	}
	if f.pack == "" {
		_, err = raw.Seek(offset, io.SeekStart)
	} else {
		_, err = io.CopyN(io.Discard, text, offset)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("data: %s: going to byte %d: %w", f.name, offset, err), text.Close())
	}
	return text, nil
}

// unpacked is decompressed text; closing it closes the file.
type unpacked struct {
	io.Reader
	close func() error
}

// Close closes the file.
func (u unpacked) Close() error { return u.close() }

func unpack(f file, raw *os.File) (io.ReadCloser, error) {
	switch f.pack {
	case ".gz":
		z, err := gzip.NewReader(bufio.NewReader(raw))
		if err != nil {
			return nil, fmt.Errorf("is not gzip: %w", err)
		}
		return unpacked{z, raw.Close}, nil
	case ".zst":
		z, err := zstd.NewReader(raw, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(128<<20), zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, fmt.Errorf("is not zstd: %w", err)
		}
		return unpacked{z, func() error { z.Close(); return raw.Close() }}, nil
	}
	return raw, nil
}
