package jinja

import (
	"math"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

type filterFunc func(st *state, v Value, a args) Value

// bindFilter makes a filter of a function with named parameters.
func bindFilter(name string, params []string, f func(st *state, v Value, p []Value) Value) filterFunc {
	return func(st *state, v Value, a args) Value { return f(st, v, a.bind(name, params...)) }
}

func one(name string, f func(st *state, v Value) Value) filterFunc {
	return bindFilter(name, nil, func(st *state, v Value, _ []Value) Value { return f(st, v) })
}

// onText is a filter of a string, or of str() of what else it gets; Markup stays Markup.
func onText(name string, f func(string) string) filterFunc {
	return one(name, func(st *state, v Value) Value {
		s := st.str(v)
		st.charge(len(s))
		return like(v, f(s))
	})
}

// filters are Jinja's, with transformers' tojson. pprint, random, urlize and wordwrap are not among them.
var filters = map[string]filterFunc{
	"abs":            one("abs", doAbs),
	"attr":           bindFilter("attr", []string{"name"}, doAttr),
	"batch":          bindFilter("batch", []string{"linecount", "fill_with="}, doBatch),
	"capitalize":     onText("capitalize", capitalize),
	"center":         bindFilter("center", []string{"width="}, doCenter),
	"count":          one("count", doLength),
	"d":              bindFilter("default", []string{"default_value=", "boolean="}, doDefault),
	"default":        bindFilter("default", []string{"default_value=", "boolean="}, doDefault),
	"dictsort":       bindFilter("dictsort", []string{"case_sensitive=", "by=", "reverse="}, doDictSort),
	"e":              one("escape", func(st *state, v Value) Value { return Markup(st.escape(v)) }),
	"escape":         one("escape", func(st *state, v Value) Value { return Markup(st.escape(v)) }),
	"filesizeformat": bindFilter("filesizeformat", []string{"binary="}, doFileSize),
	"first":          one("first", doFirst),
	"float":          bindFilter("float", []string{"default="}, doFloat),
	"forceescape":    one("forceescape", func(st *state, v Value) Value { return Markup(st.escape(st.str(v))) }),
	"format":         doFormat,
	"groupby":        bindFilter("groupby", []string{"attribute", "default=", "case_sensitive="}, doGroupBy),
	"indent":         bindFilter("indent", []string{"width=", "first=", "blank="}, doIndent),
	"int":            bindFilter("int", []string{"default=", "base="}, doInt),
	"items":          one("items", doItems),
	"join":           bindFilter("join", []string{"d=", "attribute="}, doJoin),
	"last":           one("last", doLast),
	"length":         one("length", doLength),
	"list":           one("list", func(st *state, v Value) Value { return &List{st.list(v)} }),
	"lower":          onText("lower", lower),
	"map":            doMap,
	"max":            bindFilter("max", []string{"case_sensitive=", "attribute="}, func(st *state, v Value, p []Value) Value { return extreme(st, v, p, false) }),
	"min":            bindFilter("min", []string{"case_sensitive=", "attribute="}, func(st *state, v Value, p []Value) Value { return extreme(st, v, p, true) }),
	"reject":         func(st *state, v Value, a args) Value { return doSelect(st, v, a, false, false) },
	"rejectattr":     func(st *state, v Value, a args) Value { return doSelect(st, v, a, false, true) },
	"replace":        bindFilter("replace", []string{"old", "new", "count="}, doReplace),
	"reverse":        one("reverse", doReverse),
	"round":          bindFilter("round", []string{"precision=", "method="}, doRound),
	"safe":           one("safe", func(st *state, v Value) Value { return Markup(st.str(v)) }),
	"select":         func(st *state, v Value, a args) Value { return doSelect(st, v, a, true, false) },
	"selectattr":     func(st *state, v Value, a args) Value { return doSelect(st, v, a, true, true) },
	"slice":          bindFilter("slice", []string{"slices", "fill_with="}, doSlice),
	"sort":           bindFilter("sort", []string{"reverse=", "case_sensitive=", "attribute="}, doSort),
	"string":         onText("string", func(s string) string { return s }),
	"striptags":      one("striptags", doStripTags),
	"sum":            bindFilter("sum", []string{"attribute=", "start="}, doSum),
	"title":          onText("title", filterTitle),
	"tojson":         doToJSON,
	"trim":           bindFilter("trim", []string{"chars="}, doTrim),
	"truncate":       bindFilter("truncate", []string{"length=", "killwords=", "end=", "leeway="}, doTruncate),
	"unique":         bindFilter("unique", []string{"case_sensitive=", "attribute="}, doUnique),
	"upper":          onText("upper", upper),
	"urlencode":      one("urlencode", doURLEncode),
	"wordcount":      one("wordcount", doWordCount),
	"xmlattr":        bindFilter("xmlattr", []string{"autospace="}, doXMLAttr),
}

func isTrue(v Value, d bool) bool {
	if v == missing {
		return d
	}
	return truth(v)
}

func doAbs(st *state, v Value) Value {
	if f, ok := v.(float64); ok {
		return math.Abs(f)
	}
	i, ok := integer(v)
	if !ok {
		raise("TypeError", "bad operand type for abs(): '%s'", typeName(v))
	}
	return small(new(big.Int).Abs(i))
}

func doAttr(st *state, v Value, p []Value) Value {
	name := st.wantStr(p[0], "attr")
	failUndefined(v)
	if a, ok := st.attribute(v, name); ok {
		return a
	}
	return &undefined{of: describe(v), name: name, kind: undefinedError}
}

func doCenter(st *state, v Value, p []Value) Value {
	w := st.wantInt(p[0], 80)
	return like(v, st.pad(st.str(v), w, missing, centerLeft(w)))
}

func doLength(st *state, v Value) Value {
	n, ok := st.len(v)
	if !ok {
		raise("TypeError", "object of type '%s' has no len()", typeName(v))
	}
	return int64(n)
}

func doDefault(st *state, v Value, p []Value) Value {
	_, undef := v.(*undefined)
	if undef || isTrue(p[1], false) && !truth(v) {
		if p[0] == missing {
			return ""
		}
		return p[0]
	}
	return v
}

func doFileSize(st *state, v Value, p []Value) Value {
	x := st.toFloat(v)
	base, suffix, names := 1000.0, "B", "kMGTPEZY"
	if isTrue(p[0], false) {
		base, suffix, names = 1024, "iB", "KMGTPEZY"
	}
	if x == 1 {
		return "1 Byte"
	}
	if x < base {
		return truncate(x).String() + " Bytes"
	}
	unit := base
	for i := range names {
		unit *= base
		if x < unit || i == len(names)-1 {
			return strconv.FormatFloat(base*x/unit, 'f', 1, 64) + " " + names[i:i+1] + suffix
		}
	}
	return nil
}

// toFloat is Python's float(); what cannot be one fails.
func (st *state) toFloat(v Value) float64 {
	if f, ok := number(v); ok {
		return f
	}
	failUndefined(v)
	if s, ok := text(v); ok {
		if f, ok := parseFloat(s); ok {
			return f
		}
		raise("ValueError", "could not convert string to float: %s", quote(s))
	}
	raise("TypeError", "float() argument must be a string or a real number, not '%s'", typeName(v))
	return 0
}

var floatText = regexp.MustCompile(`^[+-]?((\d+(_\d+)*)?\.?(\d+(_\d+)*)?([eE][+-]?\d+(_\d+)*)?|(?i:inf|infinity|nan))$`)

func parseFloat(s string) (float64, bool) {
	s = strings.TrimFunc(s, isSpace)
	if !floatText.MatchString(s) {
		return 0, false
	}
	f, err := strconv.ParseFloat(strings.ReplaceAll(s, "_", ""), 64)
	return f, err == nil || math.IsInf(f, 0)
}

func doFloat(st *state, v Value, p []Value) Value {
	failUndefined(v)
	f, ok := number(v)
	if s, isText := text(v); isText {
		f, ok = parseFloat(s)
	}
	switch {
	case ok:
		return f
	case p[0] == missing:
		return 0.0
	}
	return p[0]
}

func doInt(st *state, v Value, p []Value) Value {
	failUndefined(v)
	if i, ok := integer(v); ok {
		return small(i)
	}
	f, ok := v.(float64)
	if s, isText := text(v); isText {
		if i, isInt := parseInt(s, st.wantInt(p[1], 10)); isInt {
			return small(i)
		}
		if f, ok = parseFloat(s); ok && math.IsInf(f, 0) {
			ok = false
		}
	}
	switch {
	case ok && !math.IsNaN(f):
		return small(truncate(f))
	case p[0] == missing:
		return int64(0)
	}
	return p[0]
}

var intText = regexp.MustCompile(`^[+-]?(0[xXoObB]_?)?[0-9a-zA-Z]+(_[0-9a-zA-Z]+)*$`)

// parseInt is Python's int(s, base).
func parseInt(s string, base int) (*big.Int, bool) {
	s = strings.TrimFunc(s, isSpace)
	if !intText.MatchString(s) || len(s) > maxDigits || base != 0 && (base < 2 || base > 36) {
		return nil, false
	}
	s = strings.ToLower(strings.ReplaceAll(s, "_", ""))
	sign := ""
	if s[0] == '+' || s[0] == '-' {
		sign, s = s[:1], s[1:]
	}
	if prefix := map[int]string{16: "0x", 8: "0o", 2: "0b"}[base]; prefix != "" {
		s = strings.TrimPrefix(s, prefix)
	}
	if base == 0 && len(s) > 1 && s[0] == '0' && isDec(s[1]) && strings.Trim(s, "0") != "" {
		return nil, false
	}
	return new(big.Int).SetString(sign+s, base)
}

func doFormat(st *state, v Value, a args) Value {
	if len(a.pos) > 0 && len(a.names) > 0 {
		raise("FilterArgumentError", "can't handle positional and keyword arguments at the same time")
	}
	s := st.str(v)
	if len(a.names) > 0 {
		return st.printf(v, s, kwDict(a))
	}
	return st.printf(v, s, &Tuple{Items: a.pos})
}

func doIndent(st *state, v Value, p []Value) Value {
	s, ok := text(v)
	if !ok {
		failUndefined(v)
		raise("TypeError", "unsupported operand type(s) for +=: '%s' and 'str'", typeName(v))
	}
	pad := ""
	if w, ok := text(p[0]); ok {
		pad = w
	} else {
		n := st.wantInt(p[0], 4)
		st.charge(max(n, 0))
		pad = strings.Repeat(" ", max(n, 0))
	}
	blank := isTrue(p[2], false)
	var b strings.Builder
	for i, line := range splitLines(s+"\n", false) {
		if i > 0 {
			b.WriteByte('\n')
		}
		st.charge(4 * (len(pad) + len(line) + 1))
		if i > 0 && (line != "" || blank) || i == 0 && isTrue(p[1], false) {
			b.WriteString(pad)
		}
		b.WriteString(line)
	}
	return like(v, b.String())
}

func doReplace(st *state, v Value, p []Value) Value {
	n := -1
	if p[2] != missing && p[2] != nil {
		n = st.wantInt(p[2], -1)
	}
	return st.replace(st.str(v), st.str(p[0]), st.str(p[1]), n)
}

// doRound rounds as Python does: half to even of the exact binary value.
func doRound(st *state, v Value, p []Value) Value {
	prec := st.wantInt(p[0], 0)
	method := "common"
	if p[1] != missing {
		method, _ = text(p[1])
	}
	failUndefined(v)
	x, ok := number(v)
	if !ok {
		raise("TypeError", "type %s doesn't define __round__ method", typeName(v))
	}
	switch method {
	case "common":
		return roundTo(st, v, x, prec)
	case "ceil", "floor":
		scale := floatArith("**", 10, float64(prec)).(float64)
		y := math.Ceil(x * scale)
		if method == "floor" {
			y = math.Floor(x * scale)
		}
		return st.binary("/", small(truncate(y)), st.binary("**", int64(10), int64(prec)))
	}
	raise("FilterArgumentError", "method must be common, ceil or floor")
	return nil
}

func roundTo(st *state, v Value, x float64, prec int) Value {
	i, isInt := integer(v)
	switch {
	case isInt && prec >= 0:
		return small(i)
	case isInt && prec < -maxDigits || !isInt && prec < -400:
		return pick[Value](isInt, int64(0), 0.0)
	case isInt:
		unit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(-prec)), nil)
		return small(new(big.Int).Mul(roundHalfEven(i, unit), unit))
	case math.IsNaN(x) || math.IsInf(x, 0) || prec > 400:
		return x
	case prec < 0:
		unit := math.Pow(10, float64(-prec))
		return math.RoundToEven(x/unit) * unit
	}
	f, _ := strconv.ParseFloat(strconv.FormatFloat(x, 'f', prec, 64), 64)
	return f
}

// roundHalfEven is i/unit to the nearest integer, ties to even.
func roundHalfEven(i, unit *big.Int) *big.Int {
	q, r := new(big.Int).DivMod(i, unit, new(big.Int))
	c := new(big.Int).Lsh(r, 1).Cmp(unit)
	if c > 0 || c == 0 && q.Bit(0) == 1 {
		q.Add(q, big.NewInt(1))
	}
	return q
}

var tags = regexp.MustCompile(`(?s)<!--.*?-->|<[^>]*>`)

var unescaper = strings.NewReplacer("&amp;", "&", "&lt;", "<", "&gt;", ">", "&#34;", `"`, "&quot;", `"`, "&#39;", "'", "&nbsp;", "\u00a0")

func doStripTags(st *state, v Value) Value {
	s := tags.ReplaceAllString(st.str(v), "")
	return unescaper.Replace(strings.Join(strings.FieldsFunc(s, isSpace), " "))
}

// filterTitle is the filter title, which cuts words at fewer characters than str.title does.
func filterTitle(s string) string {
	var b strings.Builder
	start := true
	for _, r := range s {
		switch {
		case isSpace(r) || strings.ContainsRune("-({[<", r):
			b.WriteRune(r)
			start = true
		case start:
			b.WriteString(upper(string(r)))
			start = false
		default:
			b.WriteString(lower(string(r)))
		}
	}
	return b.String()
}

func doTrim(st *state, v Value, p []Value) Value {
	return like(v, strings.TrimFunc(st.str(v), st.stripSet(p[0])))
}

func doTruncate(st *state, v Value, p []Value) Value {
	end := "..."
	if p[2] != missing {
		end = st.wantStr(p[2], "truncate")
	}
	n, leeway := st.wantInt(p[0], 255), 5
	if p[3] != missing && p[3] != nil {
		leeway = st.wantInt(p[3], 5)
	}
	if n < length(end) || leeway < 0 {
		raise("AssertionError", "expected length >= %d, got %d", length(end), n)
	}
	if size, ok := st.len(v); ok && size <= n+leeway {
		return v
	}
	s := st.wantStr(v, "truncate")
	cut := cutChars(s, n-length(end))
	if !isTrue(p[1], false) {
		if i := strings.LastIndexByte(cut, ' '); i >= 0 {
			cut = cut[:i]
		}
	}
	return like(v, cut+end)
}

func doURLEncode(st *state, v Value) Value {
	encode := func(v Value, query bool) string {
		s := st.str(v)
		st.charge(3 * len(s))
		var b strings.Builder
		for i := range len(s) {
			c := s[i]
			switch {
			case isDec(c) || c|0x20 >= 'a' && c|0x20 <= 'z' || strings.IndexByte("_.-~", c) >= 0 || c == '/' && !query:
				b.WriteByte(c)
			case c == ' ' && query:
				b.WriteByte('+')
			default:
				b.WriteString("%" + strings.ToUpper(strconv.FormatInt(int64(c)+0x100, 16)[1:]))
			}
		}
		return b.String()
	}
	var pairs []Value
	switch x := v.(type) {
	case *Dict:
		pairs = (&view{x, "dict_items"}).items()
	case *List, *Tuple, *iterator, *view:
		pairs = st.list(v)
	default:
		return encode(v, false)
	}
	parts := make([]string, len(pairs))
	for i, p := range pairs {
		kv := st.list(p)
		if len(kv) != 2 {
			raise("ValueError", "urlencode: pairs are needed")
		}
		parts[i] = encode(kv[0], true) + "=" + encode(kv[1], true)
	}
	return strings.Join(parts, "&")
}

func doWordCount(st *state, v Value) Value {
	n, in := int64(0), false
	for _, r := range st.str(v) {
		word := r == '_' || unicode.IsLetter(r) || unicode.IsNumber(r)
		if word && !in {
			n++
		}
		in = word
	}
	return n
}

func doXMLAttr(st *state, v Value, p []Value) Value {
	failUndefined(v)
	d, ok := v.(*Dict)
	if !ok {
		raise("AttributeError", "'%s' object has no attribute 'items'", typeName(v))
	}
	var parts []string
	for i, k := range d.keys {
		if _, undef := d.vals[i].(*undefined); undef || d.vals[i] == nil {
			continue
		}
		name := st.wantStr(k, "xmlattr")
		if strings.ContainsAny(name, " \t\n\r\f\v/>=") {
			raise("ValueError", "Invalid character in attribute name: %s", quote(name))
		}
		parts = append(parts, st.escape(name)+`="`+st.escape(d.vals[i])+`"`)
	}
	out := strings.Join(parts, " ")
	if out != "" && isTrue(p[0], true) {
		out = " " + out
	}
	return out
}
