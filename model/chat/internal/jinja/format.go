package jinja

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"
)

const maxPad = 1 << 20 // of a width or precision in a format

// spec is a parsed format: of % or of str.format.
type spec struct {
	fill      string
	align     byte // '<' '>' '^' '='; 0: the type's own
	sign      byte // '-' '+' ' '
	alt, zero bool
	width     int
	group     string // "," or "_" between thousands
	prec      int    // -1: none
	verb      byte   // 0: none
}

// printf is a % v: Python's printf-style formatting.
func (st *state) printf(a Value, s string, v Value) Value {
	_, safe := a.(Markup)
	var items []Value
	used := 0
	t, isTuple := v.(*Tuple)
	if isTuple {
		items = t.Items
	} else {
		items = []Value{v}
	}
	take := func() Value {
		if used >= len(items) {
			raise("TypeError", "not enough arguments for format string")
		}
		used++
		return items[used-1]
	}
	var b strings.Builder
	mapped := false
	for {
		i := strings.IndexByte(s, '%')
		if i < 0 {
			break
		}
		b.WriteString(s[:i])
		s = s[i+1:]
		var x Value
		get := take
		if strings.HasPrefix(s, "(") {
			d, ok := v.(*Dict)
			if !ok {
				raise("TypeError", "format requires a mapping")
			}
			end := strings.IndexByte(s, ')')
			if end < 0 {
				raise("ValueError", "incomplete format key")
			}
			if x, ok = d.Get(s[1:end]); !ok {
				raise("KeyError", "%s", quote(s[1:end]))
			}
			s, mapped = s[end+1:], true
			get = func() Value { return x }
		}
		f, rest := st.percent(s, take)
		s = rest
		if f.verb == '%' {
			b.WriteByte('%')
			continue
		}
		out := st.printValue(f, get(), safe)
		st.charge(len(out))
		b.WriteString(out)
	}
	b.WriteString(s)
	switch v.(type) {
	case *Dict, *List, *Range, *undefined: // what has items by key may be left over
	default:
		if used < len(items) && !mapped {
			raise("TypeError", "not all arguments converted during string formatting")
		}
	}
	st.charge(b.Len())
	return like(a, b.String())
}

// percent reads flags, width, precision and type after a %.
func (st *state) percent(s string, take func() Value) (f spec, rest string) {
	f.prec, f.align, f.fill = -1, '>', " "
	for ; s != ""; s = s[1:] {
		switch s[0] {
		case '-':
			f.align = '<'
		case '+':
			f.sign = '+'
		case ' ':
			if f.sign == 0 {
				f.sign = ' '
			}
		case '#':
			f.alt = true
		case '0':
			f.zero = true
		default:
			goto width
		}
	}
width:
	count := func() int {
		if strings.HasPrefix(s, "*") {
			s = s[1:]
			n := st.wantInt(take(), 0)
			if n < 0 {
				f.align = '<'
				n = -n
			}
			return min(n, maxPad)
		}
		n := 0
		for s != "" && isDec(s[0]) {
			n = min(n*10+int(s[0]-'0'), maxPad)
			s = s[1:]
		}
		return n
	}
	f.width = count()
	if strings.HasPrefix(s, ".") {
		s = s[1:]
		f.prec = count()
	}
	if s != "" && strings.IndexByte("hlL", s[0]) >= 0 {
		s = s[1:]
	}
	if s == "" {
		raise("ValueError", "incomplete format")
	}
	f.verb = s[0]
	return f, s[1:]
}

func (st *state) printValue(f spec, v Value, safe bool) string {
	f.fill = " "
	escape := func(s string) string {
		if safe {
			return st.escape(s)
		}
		return s
	}
	switch f.verb {
	case 's', 'r', 'a':
		s := ""
		switch {
		case f.verb == 's' && safe:
			s = st.escape(v)
		case f.verb == 's':
			s = st.str(v)
		case f.verb == 'r':
			s = escape(st.repr(v))
		default:
			s = escape(ascii(st.repr(v)))
		}
		f.zero = false
		if f.prec >= 0 {
			s = cutChars(s, f.prec)
		}
		return st.padded(f, "", s)
	case 'c':
		if s, ok := text(v); ok && utf8.RuneCountInString(s) == 1 {
			return st.padded(f, "", s)
		}
		i, ok := index(v)
		if !ok || i < 0 || i > utf8.MaxRune {
			raise("TypeError", "%%c requires int or char")
		}
		return st.padded(f, "", string(rune(i)))
	case 'd', 'i', 'u', 'x', 'X', 'o':
		i, ok := integer(v)
		if fl, isFloat := v.(float64); !ok && isFloat && strings.IndexByte("diu", f.verb) >= 0 {
			i, ok = truncate(fl), true
		}
		if !ok {
			failUndefined(v)
			raise("TypeError", "%%%c format: a real number is required, not %s", f.verb, typeName(v))
		}
		verb := f.verb
		if verb == 'i' || verb == 'u' {
			verb = 'd'
		}
		sign, prefix, digits := intDigits(i, verb, f.alt)
		if n := f.prec - len(digits); n > 0 {
			digits = strings.Repeat("0", n) + digits
		}
		return st.padded(f, signOf(sign, f.sign)+prefix, digits)
	case 'e', 'E', 'f', 'F', 'g', 'G':
		x, ok := number(v)
		if !ok {
			failUndefined(v)
			raise("TypeError", "must be real number, not %s", typeName(v))
		}
		neg, digits := floatDigits(x, f.verb, f.prec, f.alt)
		return st.padded(f, signOf(neg, f.sign), digits)
	}
	raise("ValueError", "unsupported format character '%c' (0x%x)", f.verb, f.verb)
	return ""
}

func cutChars(s string, n int) string {
	for i := range s {
		if n == 0 {
			return s[:i]
		}
		n--
	}
	return s
}

func truncate(f float64) *big.Int {
	if math.IsNaN(f) {
		raise("ValueError", "cannot convert float NaN to integer")
	}
	if math.IsInf(f, 0) {
		raise("OverflowError", "cannot convert float infinity to integer")
	}
	i, _ := big.NewFloat(f).Int(nil)
	return i
}

func signOf(neg bool, sign byte) string {
	switch {
	case neg:
		return "-"
	case sign == '+' || sign == ' ':
		return string(sign)
	}
	return ""
}

func intDigits(i *big.Int, verb byte, alt bool) (neg bool, prefix, digits string) {
	a := new(big.Int).Abs(i)
	base := map[byte]int{'x': 16, 'X': 16, 'o': 8, 'b': 2}[verb]
	if base == 0 {
		return i.Sign() < 0, "", digitsOf(a)
	}
	digits = a.Text(base)
	if verb == 'X' {
		digits = strings.ToUpper(digits)
	}
	if alt {
		prefix = "0" + string(verb)
	}
	return i.Sign() < 0, prefix, digits
}

// floatDigits writes |x| by a verb of e, f, g, % or 0 (the type's own).
func floatDigits(x float64, verb byte, prec int, alt bool) (neg bool, s string) {
	neg, x = math.Signbit(x) && !math.IsNaN(x), math.Abs(x)
	up := verb >= 'A' && verb <= 'Z'
	verb |= 0x20
	if math.IsInf(x, 0) || math.IsNaN(x) {
		s = floatRepr(x)
	} else {
		if prec < 0 {
			prec = 6
		}
		switch verb {
		case 'f', 'e':
			s = strconv.FormatFloat(x, verb, prec, 64)
			if alt && prec == 0 {
				s = strings.Replace(s+".", "e", ".e", 1)
			}
		default:
			s = general(x, max(prec, 1), alt)
		}
	}
	if up {
		s = strings.ToUpper(s)
	}
	return neg, s
}

// general is %g: prec significant digits, with an exponent where it is below -4 or at least prec.
func general(x float64, prec int, alt bool) string {
	e := strconv.FormatFloat(x, 'e', prec-1, 64)
	at := strings.IndexByte(e, 'e')
	exp, _ := strconv.Atoi(e[at+1:])
	mant, tail := e[:at], e[at:]
	if exp >= -4 && exp < prec {
		mant, tail = strconv.FormatFloat(x, 'f', prec-1-exp, 64), ""
	}
	if !alt && strings.Contains(mant, ".") {
		mant = strings.TrimRight(strings.TrimRight(mant, "0"), ".")
	}
	return mant + tail
}

// padded puts a sign and digits into a field.
func (st *state) padded(f spec, sign, s string) string {
	n := f.width - length(sign) - length(s)
	if n <= 0 {
		return sign + s
	}
	st.charge(n * max(len(f.fill), 1))
	align := f.align
	if f.zero && align != '<' {
		align, f.fill = '=', "0"
	}
	switch align {
	case '<':
		return sign + s + strings.Repeat(f.fill, n)
	case '^':
		return strings.Repeat(f.fill, n/2) + sign + s + strings.Repeat(f.fill, n-n/2)
	case '=':
		return sign + strings.Repeat(f.fill, n) + s
	}
	return strings.Repeat(f.fill, n) + sign + s
}

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
	return fmt.Sprint(b.String(), rest)
}
