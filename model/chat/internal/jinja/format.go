package jinja

import (
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// format is str.format.
func (st *state) format(s string, pos []Value, kw *Dict) string {
	auto := 0
	return st.formatText(s, pos, kw, &auto, 2)
}

func (st *state) formatText(s string, pos []Value, kw *Dict, auto *int, depth int) string {
	if depth == 0 {
		raise("ValueError", "Max string recursion exceeded")
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c != '{' && c != '}' {
			b.WriteByte(c)
			continue
		}
		if i+1 < len(s) && s[i+1] == c {
			b.WriteByte(c)
			i++
			continue
		}
		if c == '}' {
			raise("ValueError", "Single '}' encountered in format string")
		}
		end, open := i+1, 1
		for ; end < len(s); end++ {
			if s[end] == '{' {
				open++
			} else if s[end] == '}' {
				if open--; open == 0 {
					break
				}
			}
		}
		if end >= len(s) {
			raise("ValueError", "expected '}' before end of string")
		}
		out := st.formatField(s[i+1:end], pos, kw, auto, depth)
		st.charge(len(out))
		b.WriteString(out)
		i = end
	}
	return b.String()
}

// formatField is one replacement field: name!conversion:spec.
func (st *state) formatField(field string, pos []Value, kw *Dict, auto *int, depth int) string {
	name, format, conv := field, "", byte(0)
	bracket := false
	for i := range len(field) {
		if c := field[i]; c == '[' {
			bracket = true
		} else if c == ']' {
			bracket = false
		} else if (c == '!' || c == ':') && !bracket {
			name, format = field[:i], field[i:]
			break
		}
	}
	if strings.HasPrefix(format, "!") {
		if len(format) < 2 || len(format) > 2 && format[2] != ':' {
			raise("ValueError", "expected ':' after conversion specifier")
		}
		conv, format = format[1], format[2:]
	}
	format = strings.TrimPrefix(format, ":")
	v := st.formatArg(name, pos, kw, auto)
	if strings.IndexByte(format, '{') >= 0 {
		format = st.formatText(format, pos, kw, auto, depth-1)
	}
	switch conv {
	case 0:
	case 'r':
		v = st.repr(v)
	case 's':
		v = st.str(v)
	case 'a':
		v = ascii(st.repr(v))
	default:
		raise("ValueError", "Unknown conversion specifier %c", conv)
	}
	return st.formatValue(v, format)
}

// formatArg finds what a field names: a position or keyword, then attributes and items.
func (st *state) formatArg(name string, pos []Value, kw *Dict, auto *int) Value {
	first := name
	if i := strings.IndexAny(name, ".["); i >= 0 {
		first = name[:i]
	}
	rest := name[len(first):]
	var v Value
	if first == "" {
		first = strconv.Itoa(*auto)
		*auto++
	}
	if n, err := strconv.Atoi(first); err == nil {
		if n < 0 || n >= len(pos) {
			raise("IndexError", "Replacement index %s out of range for positional args tuple", first)
		}
		v = pos[n]
	} else {
		x, ok := kw.Get(first)
		if !ok {
			raise("KeyError", "%s", quote(first))
		}
		v = x
	}
	for rest != "" {
		if rest[0] == '.' {
			end := strings.IndexAny(rest[1:], ".[")
			if end < 0 {
				end = len(rest) - 1
			}
			v, rest = st.getattr(v, rest[1:end+1]), rest[end+1:]
			continue
		}
		end := strings.IndexByte(rest, ']')
		if rest[0] != '[' || end < 0 {
			raise("ValueError", "Only '.' or '[' may follow ']' in format field specifier")
		}
		var key Value = rest[1:end]
		if n, err := strconv.Atoi(rest[1:end]); err == nil {
			key = int64(n)
		}
		v, rest = st.getitem(v, key), rest[end+1:]
	}
	return v
}

// parseSpec reads the format language of str.format.
func parseSpec(s string) spec {
	f := spec{prec: -1, fill: " "}
	whole := s
	r, n := utf8.DecodeRuneInString(s)
	filled := len(s) > n && strings.IndexByte("<>=^", s[n]) >= 0
	if filled {
		f.fill, f.align, s = string(r), s[n], s[n+1:]
	} else if s != "" && strings.IndexByte("<>=^", s[0]) >= 0 {
		f.align, s = s[0], s[1:]
	}
	skip := func(set string) (c byte) {
		if s != "" && strings.IndexByte(set, s[0]) >= 0 {
			c, s = s[0], s[1:]
		}
		return c
	}
	count := func() (n int) {
		for s != "" && isDec(s[0]) {
			n = min(n*10+int(s[0]-'0'), maxPad)
			s = s[1:]
		}
		return n
	}
	f.sign = skip("+- ")
	skip("z")
	f.alt = skip("#") != 0
	if skip("0") != 0 {
		if f.zero = f.align == 0; !filled {
			f.fill = "0"
		}
	}
	f.width = count()
	if c := skip(",_"); c != 0 {
		f.group = string(c)
	}
	if skip(".") != 0 {
		if s == "" || !isDec(s[0]) {
			raise("ValueError", "Format specifier missing precision")
		}
		f.prec = count()
	}
	if s != "" {
		f.verb, s = s[0], s[1:]
	}
	if s != "" {
		raise("ValueError", "Invalid format specifier %s", quote(whole))
	}
	return f
}

// formatValue is Python's format().
func (st *state) formatValue(v Value, format string) string {
	if format == "" {
		return st.str(v)
	}
	f := parseSpec(format)
	unknown := func() {
		raise("ValueError", "Unknown format code '%c' for object of type '%s'", f.verb, typeName(v))
	}
	if s, ok := text(v); ok {
		if f.verb != 0 && f.verb != 's' {
			unknown()
		}
		if f.align == '=' || f.sign != 0 || f.group != "" || f.alt {
			raise("ValueError", "a format for numbers is not allowed with a string")
		}
		if f.align == 0 {
			f.align = '<'
		}
		f.zero = false
		if f.prec >= 0 {
			s = cutChars(s, f.prec)
		}
		return st.padded(f, "", s)
	}
	i, isInt := integer(v)
	x, isFloat := v.(float64)
	if !isInt && !isFloat {
		raise("TypeError", "unsupported format string passed to %s.__format__", typeName(v))
	}
	if _, isBool := v.(bool); isBool && f.verb == 0 && f.width == 0 {
		return st.str(v)
	}
	if f.align == 0 {
		f.align = '>'
	}
	if isInt && (f.verb == 0 || strings.IndexByte("bcdoxXn", f.verb) >= 0) {
		if f.prec >= 0 {
			raise("ValueError", "Precision not allowed in integer format specifier")
		}
		if f.verb == 'c' {
			return st.padded(f, "", string(rune(st.wantInt(v, 0))))
		}
		neg, prefix, digits := intDigits(i, f.verb, f.alt)
		return st.padded(f, signOf(neg, f.sign)+prefix, st.grouped(f, digits, len(signOf(neg, f.sign)+prefix)))
	}
	if isInt {
		x, _ = number(v)
	}
	verb := f.verb
	switch verb {
	case 'e', 'E', 'f', 'F', 'g', 'G':
	case 'n':
		verb = 'g'
	case '%':
		x, verb = x*100, 'f'
	case 0:
		if f.prec < 0 {
			neg, digits := math.Signbit(x) && !math.IsNaN(x), floatRepr(math.Abs(x))
			return st.padded(f, signOf(neg, f.sign), st.grouped(f, digits, len(signOf(neg, f.sign))))
		}
		verb = 'g'
	default:
		unknown()
	}
	neg, digits := floatDigits(x, verb, f.prec, f.alt)
	if f.verb == 0 && !strings.ContainsAny(digits, ".en") {
		digits += ".0"
	}
	if f.verb == '%' {
		digits += "%"
	}
	return st.padded(f, signOf(neg, f.sign), st.grouped(f, digits, len(signOf(neg, f.sign))))
}

// grouped puts separators between thousands (four digits of hexadecimal), zero-padding the number to the field as Python does.
func (st *state) grouped(f spec, s string, signLen int) string {
	if f.group == "" {
		return s
	}
	size := 3
	if f.verb != 0 && strings.IndexByte("xXob", f.verb) >= 0 {
		size = 4
	}
	whole, rest := s, ""
	if i := strings.IndexAny(s, ".eE%"); i >= 0 && size == 3 {
		whole, rest = s[:i], s[i:]
	}
	if f.zero {
		for len(whole)+(len(whole)-1)/size+len(rest)+signLen < f.width {
			st.charge(1)
			whole = "0" + whole
		}
	}
	var b strings.Builder
	for i, c := range whole {
		if i > 0 && (len(whole)-i)%size == 0 {
			b.WriteString(f.group)
		}
		b.WriteRune(c)
	}
	return b.String() + rest
}
