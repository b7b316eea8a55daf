package jinja

import (
	"math"
	"math/big"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Value is one of Python's: nil (None), bool, int64, *big.Int (an int outside of int64), float64, string, Markup, *List, *Tuple,
// *Dict, *Range, and what templates make: undefined values, generators, views, namespaces, macros, loops, functions.
type Value = any

// Markup is a string marked safe. Values joined to it with + or % are escaped for HTML, as markupsafe does.
type Markup string

// List is a Python list. The sandbox lets no template change one.
type List struct{ Items []Value }

// Tuple is a Python tuple.
type Tuple struct {
	Items []Value
	group bool // of groupby: has the attributes grouper and list
}

// undefined is the value of a name, attribute or item that does not exist.
type undefined struct {
	hint string // the whole message, where it has one
	of   string // the object's description: "dict object"; empty: a variable
	name Value
	kind string // of the error on use
}

func (u *undefined) fail() {
	switch {
	case u.hint != "":
		raise(u.kind, "%s", u.hint)
	case u.of == "":
		raise(u.kind, "%s is undefined", quote(u.name.(string)))
	}
	if s, ok := u.name.(string); ok {
		raise(u.kind, "%s has no attribute %s", quote(u.of), quote(s))
	}
	raise(u.kind, "%s has no element %s", u.of, (&state{limits: Limits{}.withDefaults()}).repr(u.name))
}

const undefinedError = "UndefinedError"

// iterator is a generator: its items can be had once.
type iterator struct {
	kind string // Python's name of the type
	next func() (Value, bool)
}

// view is what dict.keys(), values() and items() give.
type view struct {
	d    *Dict
	kind string // dict_keys, dict_values, dict_items
}

type namespace struct{ vars *Dict }

// Range is Python's range object.
type Range struct{ start, stop, step, n int64 }

// function is a builtin or a bound method.
type function struct {
	name string
	call func(st *state, a args) Value
}

// object is a helper with attributes that are computed: cycler, joiner.
type object struct {
	kind string
	attr func(name string) (Value, bool)
	call func(st *state, a args) Value // nil: not callable
}

type missingType struct{}

// missing stands for an argument that was not given.
var missing Value = missingType{}

// typeName is Python's name of a value's type.
func typeName(v Value) string {
	switch v := v.(type) {
	case nil:
		return "NoneType"
	case bool:
		return "bool"
	case int64, *big.Int:
		return "int"
	case float64:
		return "float"
	case string:
		return "str"
	case Markup:
		return "Markup"
	case *List:
		return "list"
	case *Tuple:
		return "tuple"
	case *Dict:
		return "dict"
	case *Range:
		return "range"
	case *undefined:
		return "Undefined"
	case *iterator:
		return v.kind
	case *view:
		return v.kind
	case *namespace:
		return "Namespace"
	case *macro:
		return "Macro"
	case *loop:
		return "LoopContext"
	case *object:
		return v.kind
	}
	return "builtin_function_or_method"
}

// describe is how an undefined value's message names the object.
func describe(v Value) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case *namespace:
		return "jinja2.utils.Namespace object"
	case *macro, *loop:
		return "jinja2.runtime." + typeName(v) + " object"
	case Markup:
		return "markupsafe.Markup object"
	}
	return typeName(v) + " object"
}

// text is a string's text.
func text(v Value) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case Markup:
		return string(v), true
	}
	return "", false
}

// like gives s the type of the string that it was made from.
func like(v Value, s string) Value {
	if _, ok := v.(Markup); ok {
		return Markup(s)
	}
	return s
}

// truth is Python's bool().
func truth(v Value) bool {
	switch v := v.(type) {
	case nil, *undefined:
		return false
	case bool:
		return v
	case int64:
		return v != 0
	case float64:
		return v != 0
	case string:
		return v != ""
	case Markup:
		return v != ""
	case *List:
		return len(v.Items) > 0
	case *Tuple:
		return len(v.Items) > 0
	case *Dict:
		return v.Len() > 0
	case *Range:
		return v.n > 0
	case *view:
		return v.d.Len() > 0
	}
	return true
}

// small is i as int64 where it fits.
func small(i *big.Int) Value {
	if i.IsInt64() {
		return i.Int64()
	}
	return i
}

// integer is a bool or int as a number.
func integer(v Value) (*big.Int, bool) {
	switch v := v.(type) {
	case bool:
		if v {
			return big.NewInt(1), true
		}
		return new(big.Int), true
	case int64:
		return big.NewInt(v), true
	case *big.Int:
		return v, true
	}
	return nil, false
}

// index is a bool or int that fits an int64; larger ones are clamped, as slices do.
func index(v Value) (int64, bool) {
	switch v := v.(type) {
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	case int64:
		return v, true
	case *big.Int:
		if v.Sign() < 0 {
			return math.MinInt64, true
		}
		return math.MaxInt64, true
	}
	return 0, false
}

// number is any number as a float.
func number(v Value) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case int64:
		return float64(v), true
	case *big.Int:
		f, _ := new(big.Float).SetInt(v).Float64()
		if math.IsInf(f, 0) {
			raise("OverflowError", "int too large to convert to float")
		}
		return f, true
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	}
	return 0, false
}

// isSpace is Python's str.isspace of one character.
func isSpace(r rune) bool {
	return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// length is len() of a string in characters.
func length(s string) int {
	if isASCII(s) {
		return len(s)
	}
	return utf8.RuneCountInString(s)
}

// Dict is a Python dict: it keeps the order of insertion.
type Dict struct {
	keys, vals []Value
	at         map[any]int
}

// NewDict makes a dict of pairs of keys, which are strings, and values.
func NewDict(pairs ...Value) *Dict {
	d := &Dict{}
	for i := 0; i < len(pairs); i += 2 {
		d.Set(pairs[i].(string), pairs[i+1])
	}
	return d
}

// Len is the number of keys.
func (d *Dict) Len() int { return len(d.keys) }

// Get is the value of a string key.
func (d *Dict) Get(key string) (Value, bool) { return d.get(key) }

// Set gives a string key a value.
func (d *Dict) Set(key string, v Value) { d.set(key, key, v) }

// Update sets the string keys of another dict, which may be nil.
func (d *Dict) Update(o *Dict) {
	if o == nil {
		return
	}
	for i, k := range o.keys {
		d.Set(k.(string), o.vals[i])
	}
}

func (d *Dict) get(hash any) (Value, bool) {
	i, ok := d.at[hash]
	if !ok {
		return nil, false
	}
	return d.vals[i], true
}

func (d *Dict) set(hash any, key, v Value) {
	if i, ok := d.at[hash]; ok {
		d.vals[i] = v
		return
	}
	if d.at == nil {
		d.at = map[any]int{}
	}
	d.at[hash] = len(d.keys)
	d.keys, d.vals = append(d.keys, key), append(d.vals, v)
}

// clone copies the dict, not its values.
func (d *Dict) clone() *Dict {
	c := &Dict{}
	for h, i := range d.at {
		if c.at == nil {
			c.at = make(map[any]int, len(d.at))
		}
		c.at[h] = i
	}
	c.keys, c.vals = append([]Value(nil), d.keys...), append([]Value(nil), d.vals...)
	return c
}

// hash is a Go value that is equal for keys that are equal to Python; what has no hash fails.
func (st *state) hash(v Value) any {
	switch v := v.(type) {
	case nil:
		return struct{}{}
	case string:
		return v
	case Markup:
		return string(v)
	case bool:
		n, _ := index(v)
		return n
	case int64:
		return v
	case *big.Int:
		return bigKey(v.String())
	case float64:
		if v == math.Trunc(v) && !math.IsInf(v, 0) {
			i, _ := big.NewFloat(v).Int(nil)
			return st.hash(small(i))
		}
		return v
	case *Tuple:
		defer st.deeper()()
		var b strings.Builder
		for _, item := range v.Items {
			st.step()
			k := st.hash(item)
			s, ok := k.(string)
			if !ok {
				s = st.repr(item)
				if n, isInt := k.(int64); isInt {
					s = st.repr(n)
				}
			} else {
				s = quote(s)
			}
			b.WriteString(s)
			b.WriteByte(',')
		}
		st.charge(b.Len())
		return tupleKey(b.String())
	case *List, *Dict:
		raise("TypeError", "unhashable type: '%s'", typeName(v))
	case *view:
		if v.kind != "dict_values" {
			raise("TypeError", "unhashable type: '%s'", v.kind)
		}
	case *Range:
		return *v
	case *undefined:
		return undefinedKey{}
	}
	return v
}

type (
	bigKey       string
	tupleKey     string
	undefinedKey struct{}
)
