package jinja

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// method is a method of str: its parameters, and what it gives. A string it gives becomes Markup where the string was.
type method struct {
	params []string
	call   func(st *state, s string, p []Value) Value
}

// strAttr is a method of a string.
func strAttr(v Value, name string) (Value, bool) {
	s, _ := text(v)
	_, safe := v.(Markup)
	if name == "format" || name == "format_map" {
		return formatAttr(v, s, name), true
	}
	m, ok := strMethods[name]
	if !ok {
		return nil, false
	}
	return &function{name, func(st *state, a args) Value {
		p := a.bind(name, m.params...)
		if safe && name == "replace" {
			p[1] = st.escape(p[1])
		}
		if safe && name == "join" {
			p[0] = st.escapeAll(p[0])
		}
		st.charge(len(s))
		out := m.call(st, s, p)
		if safe {
			return mark(out)
		}
		return out
	}}, true
}

// formatAttr is str.format and format_map.
func formatAttr(v Value, s, name string) Value {
	return &function{name, func(st *state, a args) Value {
		pos, kw := a.pos, kwDict(a)
		if name == "format_map" {
			d, ok := a.bind(name, "/mapping")[0].(*Dict)
			if !ok {
				raise("TypeError", "format_map() argument must be a mapping")
			}
			pos, kw = nil, d
		}
		if _, safe := v.(Markup); safe {
			pos = st.escapeAll(&List{pos}).(*List).Items
			kw = kw.clone()
			for i, x := range kw.vals {
				kw.vals[i] = st.escape(x)
			}
		}
		return like(v, st.format(s, pos, kw))
	}}
}

func kwDict(a args) *Dict {
	d := &Dict{}
	for i, n := range a.names {
		d.Set(n, a.kw[i])
	}
	return d
}

// mark makes the strings that a method gives Markup.
func mark(v Value) Value {
	switch v := v.(type) {
	case string:
		return Markup(v)
	case *List:
		for i, x := range v.Items {
			v.Items[i] = mark(x)
		}
	case *Tuple:
		for i, x := range v.Items {
			v.Items[i] = mark(x)
		}
	}
	return v
}

func (st *state) escapeAll(v Value) Value {
	items := st.list(v)
	for i, x := range items {
		items[i] = st.escape(x)
	}
	return &List{items}
}

// wantStr is a string argument.
func (st *state) wantStr(v Value, fn string) string {
	s, ok := text(v)
	if !ok {
		raise("TypeError", "%s: a string is needed, not '%s'", fn, typeName(v))
	}
	return s
}

// wantInt is an integer argument; d where it is missing.
func (st *state) wantInt(v Value, d int) int {
	if v == missing {
		return d
	}
	i, ok := index(v)
	if !ok {
		failUndefined(v)
		raise("TypeError", "'%s' object cannot be interpreted as an integer", typeName(v))
	}
	return int(max(min(i, 1<<40), -1<<40))
}

// stripSet is the characters that strip takes off.
func (st *state) stripSet(v Value) func(rune) bool {
	if v == missing || v == nil {
		return isSpace
	}
	set := st.wantStr(v, "strip")
	return func(r rune) bool { return strings.ContainsRune(set, r) }
}

func upper(s string) string {
	s = strings.ToUpper(s)
	if isASCII(s) {
		return s
	}
	return specialUpper.Replace(s)
}

// specialUpper are the commoner characters that become several in capitals.
var specialUpper = strings.NewReplacer("ß", "SS", "ŉ", "ʼN", "ǰ", "J̌", "ﬀ", "FF", "ﬁ", "FI", "ﬂ", "FL", "ﬃ", "FFI", "ﬄ", "FFL", "ﬅ", "ST", "ﬆ", "ST", "և", "ԵՒ")

func lower(s string) string {
	if isASCII(s) {
		return strings.ToLower(s)
	}
	r := []rune(s)
	var b strings.Builder
	for i, c := range r {
		switch c {
		case 'İ':
			b.WriteString("i̇")
		case 'Σ': // at the end of a word it has another form
			if i > 0 && unicode.IsLetter(r[i-1]) && (i+1 == len(r) || !unicode.IsLetter(r[i+1])) {
				b.WriteRune('ς')
			} else {
				b.WriteRune('σ')
			}
		default:
			b.WriteRune(unicode.ToLower(c))
		}
	}
	return b.String()
}

func titleRune(r rune) string {
	if r == 'ß' {
		return "Ss"
	}
	return string(unicode.ToTitle(r))
}

func capitalize(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	if n == 0 {
		return ""
	}
	return titleRune(r) + lower(s[n:])
}

func cased(r rune) bool { return unicode.IsUpper(r) || unicode.IsLower(r) || unicode.IsTitle(r) }

// title is str.title: a capital at the start of every run of letters.
func title(s string) string {
	var b strings.Builder
	inWord := false
	for _, r := range s {
		if inWord {
			b.WriteString(lower(string(r)))
		} else {
			b.WriteString(titleRune(r))
		}
		inWord = cased(r)
	}
	return b.String()
}

// all tells that s is not empty and every character is ok.
func all(s string, ok func(rune) bool) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool { return !ok(r) }) < 0
}

func isCase(s string, is, not func(rune) bool) bool {
	return strings.IndexFunc(s, is) >= 0 && strings.IndexFunc(s, func(r rune) bool { return not(r) || unicode.IsTitle(r) }) < 0
}

func isTitleCase(s string) bool {
	some, prev := false, false
	for _, r := range s {
		switch {
		case unicode.IsUpper(r) || unicode.IsTitle(r):
			if prev {
				return false
			}
			some, prev = true, true
		case unicode.IsLower(r):
			if !prev {
				return false
			}
			some, prev = true, true
		default:
			prev = false
		}
	}
	return some
}

func isDigit(r rune) bool {
	return unicode.IsDigit(r) || unicode.Is(unicode.No, r) && (strings.ContainsRune("²³¹", r) || r >= 0x2070 && r <= 0x2089 || r >= 0x2460 && r <= 0x249b)
}

// splitLines is str.splitlines.
func splitLines(s string, keep bool) (out []string) {
	from := 0
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		end := i + n
		if r == '\r' && strings.HasPrefix(s[end:], "\n") {
			end++
		}
		switch r {
		case '\n', '\r', '\v', '\f', 0x1c, 0x1d, 0x1e, 0x85, 0x2028, 0x2029:
			if keep {
				out = append(out, s[from:end])
			} else {
				out = append(out, s[from:i])
			}
			from = end
		}
		i = end
	}
	if from < len(s) {
		out = append(out, s[from:])
	}
	return out
}

func (st *state) strList(parts []string) *List {
	st.charge(32 * len(parts))
	l := &List{make([]Value, len(parts))}
	for i, p := range parts {
		l.Items[i] = p
	}
	return l
}

// split is str.split, and with last str.rsplit: at most n cuts, all where n is negative.
func (st *state) split(s string, sep Value, n int, last bool) Value {
	if sep == missing || sep == nil {
		return st.strList(splitSpace(s, n, last))
	}
	d := st.wantStr(sep, "split")
	if d == "" {
		raise("ValueError", "empty separator")
	}
	if n < 0 {
		st.charge(32 * strings.Count(s, d))
		return st.strList(strings.Split(s, d))
	}
	var out []string
	for ; n > 0; n-- {
		i := strings.Index(s, d)
		if last {
			i = strings.LastIndex(s, d)
		}
		if i < 0 {
			break
		}
		if last {
			out, s = append(out, s[i+len(d):]), s[:i]
		} else {
			out, s = append(out, s[:i]), s[i+len(d):]
		}
	}
	out = append(out, s)
	if last {
		for i, j := 0, len(out)-1; i < j; i, j = i+1, j-1 {
			out[i], out[j] = out[j], out[i]
		}
	}
	return st.strList(out)
}

// splitSpace splits at runs of whitespace.
func splitSpace(s string, n int, last bool) (out []string) {
	if n < 0 {
		return strings.FieldsFunc(s, isSpace)
	}
	if !last {
		for s = strings.TrimLeftFunc(s, isSpace); s != ""; n-- {
			i := strings.IndexFunc(s, isSpace)
			if n == 0 || i < 0 {
				return append(out, pick(n == 0, s, strings.TrimRightFunc(s, isSpace)))
			}
			out, s = append(out, s[:i]), strings.TrimLeftFunc(s[i:], isSpace)
		}
		return out
	}
	for s = strings.TrimRightFunc(s, isSpace); s != ""; n-- {
		i := strings.LastIndexFunc(s, isSpace)
		if n == 0 || i < 0 {
			out = append(out, s)
			break
		}
		_, size := utf8.DecodeRuneInString(s[i:])
		out, s = append(out, s[i+size:]), strings.TrimRightFunc(s[:i], isSpace)
	}
	for i, j := 0, len(out)-1; i < j; i, j = i+1, j-1 {
		out[i], out[j] = out[j], out[i]
	}
	return out
}

func pick[T any](first bool, a, b T) T {
	if first {
		return a
	}
	return b
}

// part is s[start:stop] in characters, with the number of bytes before it; ok is false where start is behind the end.
func part(s string, start, stop Value) (sub string, chars int, ok bool) {
	n := length(s)
	if i, isInt := index(start); isInt && i > int64(n) {
		return "", 0, false
	}
	from, to := cut(n, start, stop)
	if to < from {
		return "", from, false
	}
	if isASCII(s) {
		return s[from:to], from, true
	}
	return string([]rune(s)[from:to]), from, true
}

// find is str.find and rfind.
func (st *state) find(s string, p []Value, last bool) int {
	sub, before, ok := part(s, p[1], p[2])
	want := st.wantStr(p[0], "find")
	if !ok {
		return -1
	}
	i := strings.Index(sub, want)
	if last {
		i = strings.LastIndex(sub, want)
	}
	if i < 0 {
		return -1
	}
	return before + length(sub[:i])
}

// affix is str.startswith and endswith.
func (st *state) affix(s string, p []Value, name string, has func(s, affix string) bool) Value {
	sub, _, ok := part(s, p[1], p[2])
	if t, isTuple := p[0].(*Tuple); isTuple {
		for _, x := range t.Items {
			if has(sub, st.wantStr(x, name)) && ok {
				return true
			}
		}
		return false
	}
	a, isText := text(p[0])
	if !isText {
		raise("TypeError", "%s first arg must be str or a tuple of str, not %s", name, typeName(p[0]))
	}
	return ok && has(sub, a)
}

// pad fills s with a character up to width: left is the number of characters of the n missing that go before it.
func (st *state) pad(s string, width int, fill Value, left func(n int) int) string {
	c := " "
	if fill != missing {
		if c = st.wantStr(fill, "fill character"); length(c) != 1 {
			raise("TypeError", "The fill character must be exactly one character long")
		}
	}
	n := width - length(s)
	if n <= 0 {
		return s
	}
	st.charge(n * len(c))
	l := left(n)
	return strings.Repeat(c, l) + s + strings.Repeat(c, n-l)
}

func centerLeft(width int) func(int) int {
	return func(n int) int { return n/2 + n&width&1 }
}

func (st *state) replace(s string, old, new string, n int) string {
	times := strings.Count(s, old)
	if n >= 0 {
		times = min(times, n)
	}
	st.charge(len(s) + times*(max(len(new)-len(old), 0)+16))
	if n < 0 || n > times {
		n = -1
	}
	return strings.Replace(s, old, new, n)
}

func (st *state) joinStr(sep string, v Value) string {
	items := st.list(v)
	parts := make([]string, len(items))
	for i, x := range items {
		s, ok := text(x)
		if !ok {
			raise("TypeError", "sequence item %d: expected str instance, %s found", i, typeName(x))
		}
		st.charge(len(s) + len(sep))
		parts[i] = s
	}
	return strings.Join(parts, sep)
}

// partition cuts s around the first, or last, sep.
func (st *state) partition(s string, sep Value, last bool) Value {
	d := st.wantStr(sep, "partition")
	if d == "" {
		raise("ValueError", "empty separator")
	}
	i := strings.Index(s, d)
	if last {
		i = strings.LastIndex(s, d)
	}
	switch {
	case i >= 0:
		return &Tuple{Items: []Value{s[:i], d, s[i+len(d):]}}
	case last:
		return &Tuple{Items: []Value{"", "", s}}
	}
	return &Tuple{Items: []Value{s, "", ""}}
}

func expandTabs(st *state, s string, size int) string {
	var b strings.Builder
	col := 0
	for _, r := range s {
		switch r {
		case '\t':
			if size > 0 {
				n := size - col%size
				st.charge(4 * n)
				b.WriteString(strings.Repeat(" ", n))
				col += n
			}
			continue
		case '\n', '\r':
			col = -1
		}
		b.WriteRune(r)
		col++
	}
	return b.String()
}
