package data

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxDepth is how deep a value may be nested. Tool schemas stay under 20.
const maxDepth = 128

// parseJSON reads one JSON value and nothing after it. It is stricter than encoding/json: text must be UTF-8, a name occurs once,
// surrogates come in pairs, numbers are finite.
func parseJSON(text []byte) (any, error) {
	if !utf8.Valid(text) {
		return nil, fmt.Errorf("is not UTF-8 at byte %d; convert the file to UTF-8", invalidAt(text))
	}
	if err := pairedSurrogates(text); err != nil {
		return nil, err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	v, err := parseValue(d, 0)
	if err != nil {
		return nil, explain(err, text)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("more follows the value at byte %d; a line holds one object", d.InputOffset())
	}
	return v, nil
}

// parseObject reads one JSON object.
func parseObject(text []byte) (Object, error) {
	v, err := parseJSON(text)
	if err != nil {
		return nil, err
	}
	o, ok := v.(Object)
	if !ok {
		return nil, fmt.Errorf("want an object, got %s", describe(v))
	}
	return o, nil
}

func parseValue(d *json.Decoder, depth int) (any, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	switch t := t.(type) {
	case json.Number:
		return number(t)
	case json.Delim:
		if depth == maxDepth {
			return nil, fmt.Errorf("is nested deeper than %d at byte %d", maxDepth, d.InputOffset())
		}
		if t == '[' {
			return parseList(d, depth+1)
		}
		return parseFields(d, depth+1)
	}
	return t, nil
}

func parseList(d *json.Decoder, depth int) (any, error) {
	list := []any{}
	for d.More() {
		v, err := parseValue(d, depth)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	_, err := d.Token()
	return list, err
}

func parseFields(d *json.Decoder, depth int) (any, error) {
	o := Object{}
	var seen map[string]bool // made for large objects only
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		name := t.(string) // the decoder has refused anything else
		if len(o) == 16 {
			seen = make(map[string]bool, 32)
			for _, f := range o {
				seen[f.Name] = true
			}
		}
		twice := seen[name]
		if seen == nil {
			_, twice = o.Get(name)
		} else {
			seen[name] = true
		}
		if twice {
			return nil, fmt.Errorf("field %q occurs twice", name)
		}
		v, err := parseValue(d, depth)
		if err != nil {
			return nil, err
		}
		o = append(o, Field{name, v})
	}
	_, err := d.Token()
	return o, err
}

// number keeps integers exact: int64, or the digits where it is larger. -0 is a float, as only there it is another number than 0.
func number(n json.Number) (any, error) {
	if i, err := strconv.ParseInt(string(n), 10, 64); err == nil && n != "-0" {
		return i, nil
	}
	if n != "-0" && !strings.ContainsAny(string(n), ".eE") {
		return n, nil
	}
	f, err := n.Float64()
	if err != nil || math.IsInf(f, 0) {
		return nil, fmt.Errorf("the number %.40s is too large for a float64", n)
	}
	return f, nil
}

// explain turns the decoder's errors into ones that say what to do.
func explain(err error, text []byte) error {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		var raw json.RawMessage
		err = errors.Join(json.Unmarshal(text, &raw), err) // whose offset is of the whole text
		errors.As(err, &syntax)
	}
	switch {
	case errors.Is(err, io.EOF) && len(bytes.TrimSpace(text)) == 0:
		return errors.New("is empty")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("ends after %d bytes in the middle of a value; is the file cut off?", len(text))
	case errors.As(err, &syntax):
		at := int(syntax.Offset) - 1
		for _, word := range []string{"NaN", "Infinity", "-Infinity"} {
			if at >= 0 && at < len(text) && bytes.HasPrefix(text[at:], []byte(word)) {
				return fmt.Errorf("%s at byte %d is not JSON; write null", word, at)
			}
		}
		return fmt.Errorf("is not JSON: %w at byte %d", syntax, syntax.Offset-1)
	}
	return err
}

// pairedSurrogates refuses \ud800 alone, which encoding/json would replace.
func pairedSurrogates(text []byte) error {
	for i := 0; ; {
		at := bytes.Index(text[i:], []byte(`\u`))
		if at < 0 {
			return nil
		}
		at += i
		slashes := 0
		for at-slashes > 0 && text[at-slashes-1] == '\\' {
			slashes++
		}
		i = at + 2
		if slashes%2 == 1 {
			continue // an escaped backslash before a u
		}
		switch unit := hex4(text[i:]); {
		case unit >= 0xdc00 && unit < 0xe000:
			return fmt.Errorf("has half a surrogate pair (%.6s) at byte %d", text[at:], at)
		case unit >= 0xd800 && unit < 0xdc00:
			next := i + 4
			if !bytes.HasPrefix(text[next:], []byte(`\u`)) || hex4(text[next+2:])&^0x3ff != 0xdc00 {
				return fmt.Errorf("has half a surrogate pair (%.6s) at byte %d", text[at:], at)
			}
			i = next + 6
		}
	}
}

// hex4 reads four hexadecimal digits, or gives 0.
func hex4(text []byte) int {
	if len(text) < 4 {
		return 0
	}
	n, err := strconv.ParseUint(string(text[:4]), 16, 16)
	if err != nil {
		return 0
	}
	return int(n)
}

func invalidAt(text []byte) int {
	at := 0
	for at < len(text) {
		r, n := utf8.DecodeRune(text[at:])
		if r == utf8.RuneError && n == 1 {
			break
		}
		at += n
	}
	return at
}
