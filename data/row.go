package data

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Field is a named value of a row or an object.
//
// A value is nil, bool, int64, json.Number (all digits of an integer beyond int64 or of a decimal), float64, string, []byte, time.Time, []any or
// Object. Integers stay integers; []byte and time.Time come from Parquet only.
type Field struct {
	Name  string
	Value any
}

// Object is a JSON object, a CSV record or a Parquet struct: its fields in the order of the file, which a chat template can see.
type Object []Field

// Get returns the value of a field and whether it is there.
func (o Object) Get(name string) (any, bool) {
	for i := range o {
		if o[i].Name == name {
			return o[i].Value, true
		}
	}
	return nil, false
}

// Names lists the fields.
func (o Object) Names() []string {
	names := make([]string, len(o))
	for i, f := range o {
		names[i] = f.Name
	}
	return names
}

// MarshalJSON writes the fields in their order.
func (o Object) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, f := range o {
		if i > 0 {
			b = append(b, ',')
		}
		name, err := json.Marshal(f.Name)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(f.Value)
		if err != nil {
			return nil, err
		}
		b = append(append(append(b, name...), ':'), value...)
	}
	return append(b, '}'), nil
}

// Place says where a row is, for messages.
type Place struct {
	File string
	Line int64 // from 1; 0: the format has no lines
	Row  int64 // from 1, within the file
}

// String is FILE:LINE, or "FILE row N" where there are no lines.
func (p Place) String() string {
	if p.Line > 0 {
		return fmt.Sprintf("%s:%d", p.File, p.Line)
	}
	return fmt.Sprintf("%s row %d", p.File, p.Row)
}

// Row is one record.
type Row struct {
	Fields Object
	Place  Place
	Next   Cursor // where the rows after this one begin

	untyped bool // a CSV record: all values are text, and numbers are read from it
}

// RowError is what is wrong with a row, and where.
type RowError struct {
	Place Place
	Field string // empty: the row as a whole
	Err   error
}

// Error names the file, the line or row, and the field.
func (e *RowError) Error() string {
	if e.Field == "" {
		return fmt.Sprintf("data: %s: %v", e.Place, e.Err)
	}
	return fmt.Sprintf("data: %s: field %q: %v", e.Place, e.Field, e.Err)
}

// Unwrap gives the cause.
func (e *RowError) Unwrap() error { return e.Err }

// fail makes the error of a field.
func (r Row) fail(field, format string, args ...any) error {
	return &RowError{Place: r.Place, Field: field, Err: fmt.Errorf(format, args...)}
}

// Has says whether the row has the field with a value; a null is none.
func (r Row) Has(name string) bool {
	v, _ := r.Fields.Get(name)
	return v != nil
}

// value returns the value of a field that must be there and not null.
func (r Row) value(name string) (any, error) {
	v, ok := r.Fields.Get(name)
	if !ok {
		return nil, r.fail(name, "is missing; the row has %s: rename one, or leave the row out", strings.Join(r.Fields.Names(), ", "))
	}
	if v == nil {
		return nil, r.fail(name, "is null")
	}
	return v, nil
}

// Text returns a string field.
func (r Row) Text(name string) (string, error) {
	v, err := r.value(name)
	if err != nil {
		return "", err
	}
	s, ok := v.(string)
	if !ok {
		return "", r.fail(name, "want a string, got %s", describe(v))
	}
	return s, nil
}

// Int returns an integer field. A float counts if it is whole and at most 2^53 (a column of integers with nulls is stored so),
// and so does the text of a CSV record.
func (r Row) Int(name string) (int64, error) {
	v, err := r.value(name)
	if err != nil {
		return 0, err
	}
	switch v := v.(type) {
	case int64:
		return v, nil
	case float64:
		if v == math.Trunc(v) && math.Abs(v) <= 1<<53 {
			return int64(v), nil
		}
	case string:
		if n, err := strconv.ParseInt(strings.TrimSpace(v), 10, 64); r.untyped && err == nil {
			return n, nil
		}
	}
	return 0, r.fail(name, "want an integer of 64 bits, got %s", describe(v))
}

// Float returns a number field; an integer counts if the float is exactly it, and so does the text of a CSV record. It is never
// NaN or infinite.
func (r Row) Float(name string) (float64, error) {
	v, err := r.value(name)
	if err != nil {
		return 0, err
	}
	switch v := v.(type) {
	case float64:
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			return v, nil
		}
	case int64:
		if f := float64(v); f < 1<<63 && int64(f) == v {
			return f, nil
		}
	case string:
		if f, err := strconv.ParseFloat(strings.TrimSpace(v), 64); r.untyped && err == nil && !math.IsNaN(f) && !math.IsInf(f, 0) {
			return f, nil
		}
	}
	return 0, r.fail(name, "want a finite number that a float64 holds exactly, got %s", describe(v))
}

// Bool returns a field that is true or false; of a CSV record, the words true, True, false and False.
func (r Row) Bool(name string) (bool, error) {
	v, err := r.value(name)
	if err != nil {
		return false, err
	}
	switch v := v.(type) {
	case bool:
		return v, nil
	case string:
		if r.untyped && (v == "true" || v == "True") {
			return true, nil
		}
		if r.untyped && (v == "false" || v == "False") {
			return false, nil
		}
	}
	return false, r.fail(name, "want true or false, got %s", describe(v))
}

// List returns a list field.
func (r Row) List(name string) ([]any, error) {
	v, err := r.value(name)
	if err != nil {
		return nil, err
	}
	l, ok := v.([]any)
	if !ok {
		return nil, r.fail(name, "want a list, got %s", describe(v))
	}
	return l, nil
}

// describe names a value and its kind, cut where it is long.
func describe(v any) string {
	kind := "a value of an unknown kind"
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		kind = "a boolean"
	case int64:
		kind = "an integer"
	case json.Number:
		kind = "a number"
	case float64:
		return fmt.Sprintf("%v (a float)", v) // NaN has no JSON
	case string:
		kind = "a string"
	case []byte:
		return fmt.Sprintf("%d bytes", len(v))
	case time.Time:
		kind = "a time"
	case []any:
		return fmt.Sprintf("a list of %d", len(v))
	case Object:
		return fmt.Sprintf("an object with the fields %.80q", v.Names())
	}
	text, err := json.Marshal(v)
	if err != nil {
		return kind
	}
	if len(text) > 60 {
		text = append([]byte(strings.ToValidUTF8(string(text[:57]), "")), "..."...)
	}
	return fmt.Sprintf("%s (%s)", text, kind)
}
