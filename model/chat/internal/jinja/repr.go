package jinja

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxDigits is Python's limit on the digits of an int that is written out or read.
const maxDigits = 4300

// str is Python's str().
func (st *state) str(v Value) string {
	switch v := v.(type) {
	case string:
		return v
	case Markup:
		return string(v)
	case *undefined:
		return ""
	}
	return st.repr(v)
}

// repr is Python's repr().
func (st *state) repr(v Value) string {
	switch v := v.(type) {
	case string:
		st.charge(len(v))
		return quote(v)
	}
	var b strings.Builder
	st.writeRepr(&b, v)
	st.charge(b.Len())
	return b.String()
}

func (st *state) writeRepr(b *strings.Builder, v Value) {
	st.step()
	switch v := v.(type) {
	case nil:
		b.WriteString("None")
	case bool:
		if v {
			b.WriteString("True")
		} else {
			b.WriteString("False")
		}
	case int64:
		b.WriteString(strconv.FormatInt(v, 10))
	case *big.Int:
		b.WriteString(digitsOf(v))
	case float64:
		b.WriteString(floatRepr(v))
	case string:
		st.charge(len(v))
		b.WriteString(quote(v))
	case Markup:
		b.WriteString("Markup(" + quote(string(v)) + ")")
	case *List:
		st.writeItems(b, "[", v.Items, "]")
	case *Tuple:
		if len(v.Items) == 1 {
			st.writeItems(b, "(", v.Items, ",)")
		} else {
			st.writeItems(b, "(", v.Items, ")")
		}
	case *Dict:
		st.writeDict(b, v)
	case *Range:
		if v.step == 1 {
			fmt.Fprintf(b, "range(%d, %d)", v.start, v.stop)
		} else {
			fmt.Fprintf(b, "range(%d, %d, %d)", v.start, v.stop, v.step)
		}
	case *view:
		st.writeItems(b, v.kind+"([", v.items(), "])")
	case *undefined:
		b.WriteString("Undefined")
	case *namespace:
		b.WriteString("<Namespace ")
		st.writeDict(b, v.vars)
		b.WriteString(">")
	case *macro:
		b.WriteString("<Macro " + quote(v.name) + ">")
	case *loop:
		fmt.Fprintf(b, "<LoopContext %d/%d>", v.index0+1, v.length())
	default: // Python prints an address, which is nothing to rely on
		b.WriteString("<" + typeName(v) + " object>")
	}
}

func (st *state) writeItems(b *strings.Builder, open string, items []Value, end string) {
	defer st.deeper()()
	b.WriteString(open)
	for i, item := range items {
		if i > 0 {
			b.WriteString(", ")
		}
		st.writeRepr(b, item)
	}
	b.WriteString(end)
}

func (st *state) writeDict(b *strings.Builder, d *Dict) {
	defer st.deeper()()
	b.WriteByte('{')
	for i, k := range d.keys {
		if i > 0 {
			b.WriteString(", ")
		}
		st.writeRepr(b, k)
		b.WriteString(": ")
		st.writeRepr(b, d.vals[i])
	}
	b.WriteByte('}')
}

func digitsOf(i *big.Int) string {
	if i.BitLen() > maxDigits*10/3 {
		if s := i.String(); len(s) > maxDigits {
			raise("ValueError", "Exceeds the limit (%d digits) for integer string conversion; use sys.set_int_max_str_digits() to increase the limit", maxDigits)
		}
	}
	return i.String()
}

// floatRepr is the shortest text that reads back as f, in Python's layout.
func floatRepr(f float64) string {
	switch {
	case math.IsNaN(f):
		return "nan"
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	}
	s := strconv.FormatFloat(f, 'e', -1, 64)
	exp, _ := strconv.Atoi(s[strings.IndexByte(s, 'e')+1:])
	if exp < -4 || exp >= 16 {
		return s
	}
	s = strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// quote is Python's repr of a string.
func quote(s string) string {
	q := byte('\'')
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		q = '"'
	}
	var b strings.Builder
	b.Grow(len(s) + 2)
	b.WriteByte(q)
	for i, r := range s {
		switch {
		case r == rune(q) || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString("\\n")
		case r == '\r':
			b.WriteString("\\r")
		case r == '\t':
			b.WriteString("\\t")
		case r < ' ' || r == 0x7f:
			b.WriteString(asciiEscape(r))
		case r < utf8.RuneSelf:
			b.WriteByte(s[i])
		case !printable(r):
			b.WriteString(asciiEscape(r))
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte(q)
	return b.String()
}

// ascii is Python's ascii() of a repr: what is not ASCII is escaped.
func ascii(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r < utf8.RuneSelf {
			b.WriteByte(byte(r))
		} else {
			b.WriteString(asciiEscape(r))
		}
	}
	return b.String()
}

// printable is Python's str.isprintable of one character: assigned, and no separator, control, format, surrogate or private use.
func printable(r rune) bool {
	return r == ' ' || unicode.IsGraphic(r) && !unicode.Is(unicode.Zs, r)
}
