package data

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// wholeDocument times Options.MaxLine is the most bytes of a .json file that is one object: it is read at once.
const wholeDocument = 64

// openDocument opens a .json file: an array of objects, an object that holds such an array, or JSON Lines under that name.
func openDocument(f file, o Options, at Cursor) (reader, error) {
	text, err := openAt(f, 0)
	if err != nil {
		return nil, err
	}
	r := bufio.NewReader(text)
	first, err := firstByte(r)
	switch {
	case err == nil && first == '[':
		return openArray(text, r, o, at)
	case err == nil && first != '{':
		err = fmt.Errorf("begins with %q; want an array of objects, an object with one, or one object a line", first)
	case err == nil && oneObjectALine(r, o.MaxLine):
		return reopen(text, func() (reader, error) { return openLines(f, o, at) })
	case err == nil:
		return reopen(text, func() (reader, error) { return openWhole(f, o, at) })
	}
	return nil, errors.Join(fmt.Errorf("data: %s: %w", f.name, err), text.Close())
}

// reopen closes the file that was looked at and opens it in its true format.
func reopen(text io.Closer, open func() (reader, error)) (reader, error) {
	if err := text.Close(); err != nil {
		return nil, err
	}
	return open()
}

// firstByte looks at the first byte that is not space, behind a mark of UTF-8.
func firstByte(r *bufio.Reader) (byte, error) {
	mark, _ := r.Peek(3)
	rest, err := withoutBOM(mark)
	if err != nil {
		return 0, err
	}
	if _, err := r.Discard(len(mark) - len(rest)); err != nil {
		return 0, err
	}
	for {
		b, err := r.ReadByte()
		if errors.Is(err, io.EOF) {
			return 0, errors.New("no rows: the file holds nothing but space")
		}
		if err != nil {
			return 0, damaged(err)
		}
		if b != ' ' && b != '\t' && b != '\r' && b != '\n' {
			return b, r.UnreadByte()
		}
	}
}

// oneObjectALine says whether the first line is an object of its own: another value follows, or it holds no rows.
func oneObjectALine(r *bufio.Reader, max int) bool {
	line, err := (&lines{r: r, max: max}).line(&Cursor{Offset: 1})
	if err != nil || !json.Valid(line) {
		return false
	}
	if _, err := firstByte(r); err == nil {
		return true
	}
	o, err := parseObject(line)
	return err == nil && len(rowLists(o)) == 0
}

// rowLists names the fields that are lists of objects.
func rowLists(o Object) []string {
	var names []string
	for _, f := range o {
		if list, ok := f.Value.([]any); ok && len(list) > 0 && !slices.ContainsFunc(list, notObject) {
			names = append(names, f.Name)
		}
	}
	return names
}

func notObject(v any) bool { _, ok := v.(Object); return !ok }

// whole gives the rows of a document that has been read.
type whole struct{ rows []any }

func openWhole(f file, o Options, at Cursor) (reader, error) {
	text, err := openAt(f, 0)
	if err != nil {
		return nil, err
	}
	limit := wholeDocument * int64(o.MaxLine)
	b, err := io.ReadAll(io.LimitReader(text, limit+1))
	if err != nil {
		err = damaged(err)
	} else if int64(len(b)) > limit {
		err = fmt.Errorf("is one object of more than %d bytes; make it JSON Lines, or raise Options.MaxLine (%d times as much is read)", limit, wholeDocument)
	}
	if err = errors.Join(err, text.Close()); err != nil {
		return nil, fmt.Errorf("data: %s: %w", f.name, err)
	}
	if b, err = withoutBOM(b); err != nil {
		return nil, fmt.Errorf("data: %s: %w", f.name, err)
	}
	doc, err := parseObject(b)
	if err != nil {
		return nil, fmt.Errorf("data: %s: %w", f.name, err)
	}
	field := o.Field
	if field == "" {
		names := rowLists(doc)
		if len(names) != 1 {
			return nil, fmt.Errorf("data: %s is one object, and %d of its fields (%s) are lists of objects, of %s; name the one with the rows in Options.Field",
				f.name, len(names), strings.Join(names, ", "), strings.Join(doc.Names(), ", "))
		}
		field = names[0]
	}
	v, _ := doc.Get(field)
	rows, ok := v.([]any)
	if !ok {
		return nil, fmt.Errorf("data: %s: Options.Field is %q: want a list of objects there, got %s", f.name, field, describe(v))
	}
	return &whole{rows[min(at.Row, int64(len(rows))):]}, nil
}

// Close has nothing to close.
func (w *whole) Close() error { return nil }

func (w *whole) next(*Cursor) (Object, int64, error) {
	if len(w.rows) == 0 {
		return nil, 0, io.EOF
	}
	v := w.rows[0]
	w.rows = w.rows[1:]
	o, ok := v.(Object)
	if !ok {
		return nil, 0, fmt.Errorf("want an object, got %s", describe(v))
	}
	return o, 0, nil
}

// array reads an array of objects one by one.
type array struct {
	text   io.Closer
	budget *budget
	d      *json.Decoder
	max    int
}

// openArray skips the rows before the cursor by reading over them.
func openArray(text io.Closer, r io.Reader, o Options, at Cursor) (reader, error) {
	b := &budget{r: r, max: 2*int64(o.MaxLine) + 1<<16, left: 2*int64(o.MaxLine) + 1<<16}
	a := &array{text, b, json.NewDecoder(b), o.MaxLine}
	_, err := a.d.Token()
	for skip := int64(0); skip < at.Row && err == nil; skip++ {
		_, err = a.raw()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("data: going to row %d: %w", at.Row, err), text.Close())
	}
	return a, nil
}

// Close closes the file.
func (a *array) Close() error { return a.text.Close() }

func (a *array) next(*Cursor) (Object, int64, error) {
	text, err := a.raw()
	if err != nil {
		return nil, 0, err
	}
	o, err := parseObject(text)
	return o, 0, err
}

// raw returns the text of the next element.
func (a *array) raw() (json.RawMessage, error) {
	if !a.d.More() {
		_, err := a.d.Token() // the closing bracket
		if err == nil {
			if _, err = a.d.Token(); err == nil {
				err = fmt.Errorf("more follows the array at byte %d; a .json file holds one array", a.d.InputOffset())
			}
		} else if errors.Is(err, io.EOF) {
			err = errors.New("the array is not closed; is the file cut off?")
		}
		return nil, err
	}
	var text json.RawMessage
	a.budget.left = a.budget.max
	switch err := a.d.Decode(&text); {
	case errors.Is(err, errBudget), err == nil && len(text) > a.max:
		return nil, fmt.Errorf("has more than %d bytes; raise Options.MaxLine", a.max)
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return nil, fmt.Errorf("the text ends in the middle (%w); is the file cut off?", io.ErrUnexpectedEOF)
	case err != nil:
		return nil, fmt.Errorf("is not JSON: %w", err)
	}
	return text, nil
}

var errBudget = errors.New("too long")

// budget fails a read when more than left bytes have been taken since it was last set, so that a row without an end ends.
type budget struct {
	r         io.Reader
	max, left int64
}

// Read reads no more than what is left.
func (b *budget) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errBudget
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}
