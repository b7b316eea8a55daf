package data

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// table reads a Parquet file, one row group after another. Repeated and optional columns are put together by their levels:
// Melnik et al., "Dremel", 2010, section 4.2.
type table struct {
	raw    *os.File
	size   int64
	meta   *format.FileMetaData
	groups []parquet.RowGroup
	root   *node
	leaves []*leaf
	group  int   // the next row group to open
	left   int64 // rows of the open one
}

// openParquet opens the file at the cursor's row: whole row groups before it are not read.
func openParquet(f file, at Cursor) (_ reader, err error) {
	raw, err := os.Open(f.path)
	if err != nil {
		return nil, fmt.Errorf("data: %w", err)
	}
	t := &table{raw: raw, size: f.size}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("data: %s: %w", f.name, err), t.Close())
		}
	}()
	if t.meta, err = checkFooter(raw, f.size); err != nil {
		return nil, err
	}
	if err := t.open(); err != nil {
		return nil, err
	}
	skip := at.Row
	for t.group < len(t.groups) && skip >= t.groups[t.group].NumRows() {
		skip -= t.groups[t.group].NumRows()
		t.group++
	}
	for ; skip > 0; skip-- {
		if _, _, err := t.next(nil); err != nil {
			return nil, fmt.Errorf("going to row %d: %w", at.Row, err)
		}
	}
	return t, nil
}

// guard turns a panic of the library, met by a damaged file, into an error.
func guard(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("the file is damaged: %v", p)
	}
}

// open reads the schema.
func (t *table) open() (err error) {
	defer guard(&err)
	f, err := parquet.OpenFile(t.raw, t.size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
	if err != nil {
		return err
	}
	t.groups = f.RowGroups()
	for _, g := range t.groups {
		if g.NumRows() < 0 {
			return fmt.Errorf("a row group claims %d rows", g.NumRows())
		}
	}
	t.root, _, err = newNode("", t.meta.Schema, nil, &t.leaves)
	return err
}

// Close closes the file.
func (t *table) Close() (err error) {
	defer guard(&err)
	for _, l := range t.leaves {
		l.close()
	}
	return t.raw.Close()
}

// next returns the next row.
func (t *table) next(*Cursor) (fields Object, line int64, err error) {
	defer guard(&err)
	for t.left == 0 {
		if err := t.drained(); err != nil {
			return nil, 0, err
		}
		if t.group == len(t.groups) {
			return nil, 0, io.EOF
		}
		if err := t.openGroup(); err != nil {
			return nil, 0, err
		}
	}
	t.left--
	v, err := t.root.read(t.leaves, 0)
	if err != nil {
		return nil, 0, err
	}
	return v.(Object), 0, nil
}

// drained checks that the columns of a finished row group hold no more than its rows.
func (t *table) drained() error {
	for _, l := range t.leaves {
		if l.pages == nil {
			continue
		}
		if _, err := l.peek(); !errors.Is(err, errColumnEnd) {
			if err == nil {
				err = errors.New("has more values than its row group has rows")
			}
			return fmt.Errorf("column %s: %w", l.name, err)
		}
	}
	return nil
}

// openGroup looks at the claims of the next row group and starts its columns.
func (t *table) openGroup() error {
	g := t.groups[t.group]
	chunks := g.ColumnChunks()
	if len(chunks) != len(t.leaves) || len(t.meta.RowGroups[t.group].Columns) != len(t.leaves) {
		return fmt.Errorf("row group %d has %d columns, the schema has %d", t.group, len(chunks), len(t.leaves))
	}
	for i, l := range t.leaves {
		if err := checkChunk(t.raw, t.size, &t.meta.RowGroups[t.group].Columns[i].MetaData); err != nil {
			return fmt.Errorf("row group %d: column %s: %w", t.group, l.name, err)
		}
		l.close()
		l.pages = chunks[i].Pages()
	}
	t.group++
	t.left = g.NumRows()
	return nil
}

// leaf is a column that holds values, being read.
type leaf struct {
	name     string
	convert  func(parquet.Value) (any, error)
	pages    parquet.Pages
	page     parquet.Page
	values   parquet.ValueReader
	buf      []parquet.Value
	at, have int
}

// errColumnEnd is the end of a row group's column.
var errColumnEnd = errors.New("ends before the rows of its row group do")

// peek returns the next value, which stays valid until the one after it is looked at.
func (l *leaf) peek() (*parquet.Value, error) {
	for l.at == l.have {
		if l.values == nil {
			if err := l.nextPage(); err != nil {
				return nil, err
			}
		}
		if l.buf == nil {
			l.buf = make([]parquet.Value, 64)
		}
		n, err := l.values.ReadValues(l.buf)
		l.at, l.have = 0, n
		if n == 0 {
			l.values = nil
			if err != nil && !errors.Is(err, io.EOF) {
				return nil, err
			}
		}
	}
	return &l.buf[l.at], nil
}

func (l *leaf) nextPage() error {
	if l.page != nil {
		parquet.Release(l.page)
		l.page = nil
	}
	page, err := l.pages.ReadPage()
	if errors.Is(err, io.EOF) {
		return errColumnEnd
	}
	if err != nil {
		return err
	}
	l.page, l.values = page, page.Values()
	return nil
}

func (l *leaf) close() {
	if l.page != nil {
		parquet.Release(l.page)
	}
	if l.pages != nil {
		_ = l.pages.Close() // reading only
	}
	l.pages, l.page, l.values, l.at, l.have = nil, nil, nil, 0, 0
}
