package jinja

import (
	"strings"
	"unicode/utf8"
)

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
