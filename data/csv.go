package data

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// records reads CSV with a header (RFC 4180). Every value is text; the accessors of Row read numbers from it.
type records struct {
	text   io.Closer
	budget *budget
	r      *csv.Reader
	max    int
	header []string
	base   Cursor // where r began: its offsets and lines count from there
}

func openCSV(f file, o Options, at Cursor) (reader, error) {
	c, err := startCSV(f, o, Cursor{})
	if err != nil {
		return nil, err
	}
	header, next, err := c.names()
	if err != nil {
		return nil, errors.Join(&RowError{Place: Place{File: f.name, Line: 1}, Err: err}, c.Close())
	}
	if at.Offset > next.Offset { // going on: the header has told the names, the rows begin elsewhere
		if err := c.Close(); err != nil {
			return nil, err
		}
		if c, err = startCSV(f, o, at); err != nil {
			return nil, err
		}
	}
	c.header = header
	return c, nil
}

// startCSV begins reading records at the cursor.
func startCSV(f file, o Options, at Cursor) (*records, error) {
	text, err := openAt(f, at.Offset)
	if err != nil {
		return nil, err
	}
	b := &budget{r: text, max: int64(o.MaxLine) + 1<<16, left: int64(o.MaxLine) + 1<<16}
	buffered := bufio.NewReader(b)
	if at.Offset == 0 {
		mark, _ := buffered.Peek(3)
		rest, err := withoutBOM(mark)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("data: %s: %w", f.name, err), text.Close())
		}
		n, _ := buffered.Discard(len(mark) - len(rest))
		at.Offset = int64(n)
	}
	r := csv.NewReader(buffered)
	r.FieldsPerRecord = -1 // counted here, with names in the message
	return &records{text: text, budget: b, r: r, max: o.MaxLine, base: Cursor{Offset: at.Offset, Line: at.Line}}, nil
}

// Close closes the file.
func (c *records) Close() error { return c.text.Close() }

// names reads the names of the columns and where the rows begin.
func (c *records) names() ([]string, Cursor, error) {
	at := c.base
	names, _, err := c.record(&at)
	if errors.Is(err, io.EOF) {
		err = errors.New("no header")
	}
	if err != nil {
		return nil, at, err
	}
	for i, name := range names {
		if slices.Contains(names[:i], name) {
			return nil, at, fmt.Errorf("the header has the column %q twice; rename one", name)
		}
	}
	return names, at, nil
}

// record reads one record and moves the cursor behind it. line is its first line; the cursor's is its last.
func (c *records) record(at *Cursor) (values []string, line int64, err error) {
	c.budget.left = c.budget.max
	if values, err = c.r.Read(); err != nil {
		var syntax *csv.ParseError
		switch {
		case errors.Is(err, io.EOF):
			return nil, 0, io.EOF
		case errors.Is(err, errBudget):
			return nil, at.Line + 1, fmt.Errorf("a record of more than %d bytes; is a quote not closed? Or raise Options.MaxLine", c.max)
		case errors.As(err, &syntax):
			return nil, c.base.Line + int64(syntax.StartLine), fmt.Errorf("is not CSV: %w, in column %d of line %d", syntax.Err, syntax.Column, c.base.Line+int64(syntax.Line))
		}
		return nil, at.Line + 1, damaged(err)
	}
	first, _ := c.r.FieldPos(0)
	line = c.base.Line + int64(first)
	at.Line = line
	at.Offset = c.base.Offset + c.r.InputOffset()
	for i, v := range values {
		at.Line += int64(strings.Count(v, "\n"))
		if !utf8.ValidString(v) {
			return nil, line, fmt.Errorf("column %d is not UTF-8; convert the file to UTF-8", i+1)
		}
	}
	return values, line, nil
}

func (c *records) next(at *Cursor) (Object, int64, error) {
	values, line, err := c.record(at)
	if err != nil {
		return nil, line, err
	}
	if len(values) != len(c.header) {
		return nil, line, fmt.Errorf("has %d values, the header has %d columns (%.200s)", len(values), len(c.header), strings.Join(c.header, ", "))
	}
	o := make(Object, len(values))
	for i, v := range values {
		o[i] = Field{c.header[i], v}
	}
	return o, line, nil
}
