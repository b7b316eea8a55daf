package jinja

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

var (
	noParams  = []string{}
	findArgs  = []string{"/sub", "/start=", "/end="}
	stripArgs = []string{"/chars="}
	padArgs   = []string{"/width", "/fillchar="}
	splitArgs = []string{"sep=", "maxsplit="}
)

// plain is a method without arguments.
func plain(f func(string) string) method {
	return method{noParams, func(_ *state, s string, _ []Value) Value { return f(s) }}
}

// ask is a question about a string.
func ask(f func(string) bool) method {
	return method{noParams, func(_ *state, s string, _ []Value) Value { return f(s) }}
}

// refused is a method that makes bytes or translation tables, which templates have no use for.
func refused(name string) method {
	return method{noParams, func(*state, string, []Value) Value {
		raise("TypeError", "str.%s is not supported", name)
		return nil
	}}
}

// strMethods are Python's methods of str.
var strMethods = map[string]method{
	"encode":     refused("encode"),
	"maketrans":  refused("maketrans"),
	"translate":  refused("translate"),
	"upper":      plain(upper),
	"lower":      plain(lower),
	"casefold":   plain(func(s string) string { return strings.ReplaceAll(lower(s), "ß", "ss") }),
	"capitalize": plain(capitalize),
	"title":      plain(title),
	"swapcase": plain(func(s string) string {
		var b strings.Builder
		for _, r := range s {
			if unicode.IsUpper(r) {
				b.WriteString(lower(string(r)))
			} else {
				b.WriteString(upper(string(r)))
			}
		}
		return b.String()
	}),
	"isascii":   ask(isASCII),
	"isspace":   ask(func(s string) bool { return all(s, isSpace) }),
	"isalpha":   ask(func(s string) bool { return all(s, unicode.IsLetter) }),
	"isdecimal": ask(func(s string) bool { return all(s, unicode.IsDigit) }),
	"isdigit":   ask(func(s string) bool { return all(s, isDigit) }),
	"isnumeric": ask(func(s string) bool { return all(s, unicode.IsNumber) }),
	"isalnum": ask(func(s string) bool {
		return all(s, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) })
	}),
	"islower": ask(func(s string) bool { return isCase(s, unicode.IsLower, unicode.IsUpper) }),
	"isupper": ask(func(s string) bool { return isCase(s, unicode.IsUpper, unicode.IsLower) }),
	"istitle": ask(isTitleCase),
	"isprintable": ask(func(s string) bool {
		return strings.IndexFunc(s, func(r rune) bool { return !printable(r) }) < 0
	}),
	"isidentifier": ask(func(s string) bool {
		r, _ := utf8.DecodeRuneInString(s)
		return !isDigit(r) && all(s, func(r rune) bool { return r == '_' || isWord(r) })
	}),
	"strip": {stripArgs, func(st *state, s string, p []Value) Value { return strings.TrimFunc(s, st.stripSet(p[0])) }},
	"lstrip": {stripArgs, func(st *state, s string, p []Value) Value {
		return strings.TrimLeftFunc(s, st.stripSet(p[0]))
	}},
	"rstrip": {stripArgs, func(st *state, s string, p []Value) Value {
		return strings.TrimRightFunc(s, st.stripSet(p[0]))
	}},
	"split":  {splitArgs, func(st *state, s string, p []Value) Value { return st.split(s, p[0], st.wantInt(p[1], -1), false) }},
	"rsplit": {splitArgs, func(st *state, s string, p []Value) Value { return st.split(s, p[0], st.wantInt(p[1], -1), true) }},
	"splitlines": {[]string{"keepends="}, func(st *state, s string, p []Value) Value {
		return st.strList(splitLines(s, p[0] != missing && truth(p[0])))
	}},
	"partition":  {[]string{"/sep"}, func(st *state, s string, p []Value) Value { return st.partition(s, p[0], false) }},
	"rpartition": {[]string{"/sep"}, func(st *state, s string, p []Value) Value { return st.partition(s, p[0], true) }},
	"startswith": {findArgs, func(st *state, s string, p []Value) Value { return st.affix(s, p, "startswith", strings.HasPrefix) }},
	"endswith":   {findArgs, func(st *state, s string, p []Value) Value { return st.affix(s, p, "endswith", strings.HasSuffix) }},
	"find":       {findArgs, func(st *state, s string, p []Value) Value { return int64(st.find(s, p, false)) }},
	"rfind":      {findArgs, func(st *state, s string, p []Value) Value { return int64(st.find(s, p, true)) }},
	"index":      {findArgs, func(st *state, s string, p []Value) Value { return found(st.find(s, p, false)) }},
	"rindex":     {findArgs, func(st *state, s string, p []Value) Value { return found(st.find(s, p, true)) }},
	"count": {findArgs, func(st *state, s string, p []Value) Value {
		sub, _, ok := part(s, p[1], p[2])
		want := st.wantStr(p[0], "count")
		if !ok {
			return int64(0)
		}
		return int64(strings.Count(sub, want))
	}},
	"replace": {[]string{"/old", "/new", "/count="}, func(st *state, s string, p []Value) Value {
		return st.replace(s, st.wantStr(p[0], "replace"), st.wantStr(p[1], "replace"), st.wantInt(p[2], -1))
	}},
	"removeprefix": {[]string{"/prefix"}, func(st *state, s string, p []Value) Value {
		return strings.TrimPrefix(s, st.wantStr(p[0], "removeprefix"))
	}},
	"removesuffix": {[]string{"/suffix"}, func(st *state, s string, p []Value) Value {
		return strings.TrimSuffix(s, st.wantStr(p[0], "removesuffix"))
	}},
	"join": {[]string{"/iterable"}, func(st *state, s string, p []Value) Value { return st.joinStr(s, p[0]) }},
	"center": {padArgs, func(st *state, s string, p []Value) Value {
		w := st.wantInt(p[0], 0)
		return st.pad(s, w, p[1], centerLeft(w))
	}},
	"ljust": {padArgs, func(st *state, s string, p []Value) Value {
		return st.pad(s, st.wantInt(p[0], 0), p[1], func(int) int { return 0 })
	}},
	"rjust": {padArgs, func(st *state, s string, p []Value) Value {
		return st.pad(s, st.wantInt(p[0], 0), p[1], func(n int) int { return n })
	}},
	"zfill": {[]string{"/width"}, func(st *state, s string, p []Value) Value {
		sign := ""
		if s != "" && (s[0] == '+' || s[0] == '-') {
			sign, s = s[:1], s[1:]
		}
		return sign + st.pad(s, st.wantInt(p[0], 0)-len(sign), "0", func(n int) int { return n })
	}},
	"expandtabs": {[]string{"tabsize="}, func(st *state, s string, p []Value) Value { return expandTabs(st, s, st.wantInt(p[0], 8)) }},
}

func found(i int) Value {
	if i < 0 {
		raise("ValueError", "substring not found")
	}
	return int64(i)
}
