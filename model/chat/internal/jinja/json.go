package jinja

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"
)

// ParseJSON reads one JSON value: objects keep the order of their keys, 1 is an int and 1.0 a float. NaN, Infinity and -Infinity
// are refused, as JSON does.
func ParseJSON(r io.Reader) (Value, error) {
	d := json.NewDecoder(r)
	d.UseNumber()
	v, err := decode(d, 0)
	if errors.Is(err, io.EOF) {
		return nil, io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("text after the JSON value")
	}
	return v, nil
}

func decode(d *json.Decoder, depth int) (Value, error) {
	t, err := d.Token()
	if err != nil {
		return nil, err
	}
	if depth > maxNest {
		return nil, fmt.Errorf("more than %d objects and arrays inside each other", maxNest)
	}
	switch t := t.(type) {
	case json.Number:
		return parseNumber(string(t))
	case json.Delim:
		if t == '[' {
			l := &List{}
			for d.More() {
				v, err := decode(d, depth+1)
				if err != nil {
					return nil, err
				}
				l.Items = append(l.Items, v)
			}
			_, err := d.Token()
			return l, err
		}
		o := NewDict()
		for d.More() {
			k, err := d.Token()
			if err != nil {
				return nil, err
			}
			v, err := decode(d, depth+1)
			if err != nil {
				return nil, err
			}
			o.Set(k.(string), v)
		}
		_, err := d.Token()
		return o, err
	}
	return t, nil
}

func parseNumber(s string) (Value, error) {
	if strings.ContainsAny(s, ".eE") {
		f, err := strconv.ParseFloat(s, 64)
		if err != nil && !math.IsInf(f, 0) {
			return nil, err
		}
		return f, nil
	}
	if len(s) > maxDigits {
		return nil, fmt.Errorf("an integer of %d digits", len(s))
	}
	i, ok := new(big.Int).SetString(s, 10)
	if !ok {
		return nil, fmt.Errorf("%q is no number", s)
	}
	return small(i), nil
}

// dumper is json.dumps with its options.
type dumper struct {
	st        *state
	b         strings.Builder
	ascii     bool
	indent    string
	pretty    bool // newlines and indents
	item, key string
	sort      bool
}

func doToJSON(st *state, v Value, a args) Value {
	p := a.bind("tojson", "ensure_ascii=", "indent=", "separators=", "sort_keys=")
	d := &dumper{st: st, ascii: p[0] != missing && truth(p[0]), sort: p[3] != missing && truth(p[3]), item: ", ", key: ": "}
	if p[1] != missing && p[1] != nil {
		d.pretty, d.item = true, ","
		if s, ok := text(p[1]); ok {
			d.indent = s
		} else if n, ok := index(p[1]); ok {
			st.charge(int(min(max(n, 0), 1<<40)))
			d.indent = strings.Repeat(" ", int(max(n, 0)))
		} else {
			raise("TypeError", "can't multiply sequence by non-int of type '%s'", typeName(p[1]))
		}
	}
	if p[2] != missing && p[2] != nil {
		s := st.list(p[2])
		if len(s) != 2 {
			raise("ValueError", "separators: want two strings")
		}
		d.item, d.key = st.wantStr(s[0], "separators"), st.wantStr(s[1], "separators")
	}
	d.write(v, "\n")
	st.charge(d.b.Len())
	return d.b.String()
}

func (d *dumper) write(v Value, line string) {
	d.st.step()
	switch v := v.(type) {
	case nil:
		d.b.WriteString("null")
	case bool:
		d.b.WriteString(strconv.FormatBool(v))
	case int64:
		d.b.WriteString(strconv.FormatInt(v, 10))
	case *big.Int:
		d.b.WriteString(digitsOf(v))
	case float64:
		d.b.WriteString(jsonFloat(v))
	case string:
		d.str(v)
	case Markup:
		d.str(string(v))
	case *List:
		d.items(v.Items, line)
	case *Tuple:
		d.items(v.Items, line)
	case *Dict:
		d.dict(v, line)
	default:
		raise("TypeError", "Object of type %s is not JSON serializable", typeName(v))
	}
}

// open starts a list or object with its first line break and returns the break between its entries.
func (d *dumper) open(c byte, line string) (inner string, leave func()) {
	leave = d.st.deeper()
	d.b.WriteByte(c)
	if d.pretty {
		inner = line + d.indent
		d.st.charge(len(inner))
		d.b.WriteString(inner)
	}
	return inner, leave
}

func (d *dumper) between(inner string) {
	d.st.charge(len(inner))
	d.b.WriteString(d.item)
	d.b.WriteString(inner)
}

func (d *dumper) end(c byte, line string) {
	if d.pretty {
		d.b.WriteString(line)
	}
	d.b.WriteByte(c)
}

func (d *dumper) items(items []Value, line string) {
	if len(items) == 0 {
		d.b.WriteString("[]")
		return
	}
	inner, leave := d.open('[', line)
	defer leave()
	for i, v := range items {
		if i > 0 {
			d.between(inner)
		}
		d.write(v, inner)
	}
	d.end(']', line)
}

func (d *dumper) dict(o *Dict, line string) {
	if o.Len() == 0 {
		d.b.WriteString("{}")
		return
	}
	order := make([]int, o.Len())
	for i := range order {
		order[i] = i
	}
	if d.sort {
		sort.SliceStable(order, func(a, b int) bool { return d.st.less(o.keys[order[a]], o.keys[order[b]]) })
	}
	inner, leave := d.open('{', line)
	defer leave()
	for n, i := range order {
		if n > 0 {
			d.between(inner)
		}
		switch k := o.keys[i].(type) {
		case string:
			d.str(k)
		case Markup:
			d.str(string(k))
		case nil:
			d.str("null")
		case bool:
			d.str(strconv.FormatBool(k))
		case float64:
			d.str(jsonFloat(k))
		case int64, *big.Int:
			d.str(d.st.repr(k))
		default:
			raise("TypeError", "keys must be str, int, float, bool or None, not %s", typeName(k))
		}
		d.b.WriteString(d.key)
		d.write(o.vals[i], inner)
	}
	d.end('}', line)
}

func jsonFloat(f float64) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	return floatRepr(f)
}

var jsonEscapes = map[rune]string{'"': `\"`, '\\': `\\`, '\n': `\n`, '\r': `\r`, '\t': `\t`, '\b': `\b`, '\f': `\f`}

func (d *dumper) str(s string) {
	d.st.charge(len(s))
	d.b.WriteByte('"')
	from := 0
	for i, r := range s {
		if r >= ' ' && r != '"' && r != '\\' && (!d.ascii || r < 0x7f) {
			continue
		}
		d.b.WriteString(s[from:i])
		from = i + utf8.RuneLen(r)
		switch e := jsonEscapes[r]; {
		case e != "":
			d.b.WriteString(e)
		case r >= 0x10000:
			r -= 0x10000
			fmt.Fprintf(&d.b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			fmt.Fprintf(&d.b, `\u%04x`, r)
		}
	}
	d.b.WriteString(s[from:])
	d.b.WriteByte('"')
}
