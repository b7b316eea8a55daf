package jinja

import (
	"math"
	"math/big"
	"strings"
)

// equal is Python's ==.
func (st *state) equal(a, b Value) bool {
	st.step()
	if x, ok := text(a); ok {
		y, ok := text(b)
		return ok && x == y
	}
	switch x := a.(type) {
	case nil:
		return b == nil
	case *undefined:
		_, ok := b.(*undefined)
		return ok
	case *List:
		y, ok := b.(*List)
		return ok && st.equalItems(x.Items, y.Items)
	case *Tuple:
		y, ok := b.(*Tuple)
		return ok && st.equalItems(x.Items, y.Items)
	case *Range:
		y, ok := b.(*Range)
		return ok && x.n == y.n && (x.n == 0 || x.start == y.start && (x.n == 1 || x.step == y.step))
	case *Dict:
		y, ok := b.(*Dict)
		if !ok || x.Len() != y.Len() {
			return false
		}
		defer st.deeper()()
		for h, i := range x.at {
			j, ok := y.at[h]
			if !ok || !st.equal(x.vals[i], y.vals[j]) {
				return false
			}
		}
		return true
	}
	if c, ok := compareNumbers(a, b); ok {
		return c == 0
	}
	return comparable(a) && a == b
}

// comparable tells that Go can compare values of a's type.
func comparable(a Value) bool {
	switch a.(type) {
	case *iterator, *view, *namespace, *macro, *loop, *object, *function:
		return true
	}
	return false
}

func (st *state) equalItems(a, b []Value) bool {
	defer st.deeper()()
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !st.equal(a[i], b[i]) {
			return false
		}
	}
	return true
}

// compareNumbers orders two numbers; 2 stands for a comparison with NaN. ok is false where one is no number.
func compareNumbers(a, b Value) (c int, ok bool) {
	x, xok := a.(int64)
	y, yok := b.(int64)
	if xok && yok {
		switch {
		case x < y:
			return -1, true
		case x > y:
			return 1, true
		}
		return 0, true
	}
	i, iok := integer(a)
	j, jok := integer(b)
	if iok && jok {
		return i.Cmp(j), true
	}
	f, fok := a.(float64)
	g, gok := b.(float64)
	if !fok && !iok || !gok && !jok {
		return 0, false
	}
	if fok && math.IsNaN(f) || gok && math.IsNaN(g) {
		return 2, true
	}
	toBig := func(f float64, isFloat bool, i *big.Int) *big.Float {
		if isFloat {
			return big.NewFloat(f)
		}
		return new(big.Float).SetInt(i)
	}
	return toBig(f, fok, i).Cmp(toBig(g, gok, j)), true
}

// less is Python's a < b.
func (st *state) less(a, b Value) bool { return st.order("<", a, b) }

// order is one of Python's <, <=, >, >=.
func (st *state) order(op string, a, b Value) bool {
	st.step()
	c, ok := 0, false
	if x, isText := text(a); isText {
		if y, isText := text(b); isText {
			c, ok = strings.Compare(x, y), true // the order of UTF-8 is the order of code points
		}
	} else if c, ok = compareNumbers(a, b); ok && c == 2 {
		return false
	}
	if !ok {
		x, isList := a.(*List)
		y, isList2 := b.(*List)
		t, isTuple := a.(*Tuple)
		u, isTuple2 := b.(*Tuple)
		switch {
		case isList && isList2:
			return st.orderItems(op, x.Items, y.Items)
		case isTuple && isTuple2:
			return st.orderItems(op, t.Items, u.Items)
		}
		failUndefined(a, b)
		raise("TypeError", "'%s' not supported between instances of '%s' and '%s'", op, typeName(a), typeName(b))
	}
	switch op {
	case "<":
		return c < 0
	case "<=":
		return c <= 0
	case ">":
		return c > 0
	}
	return c >= 0
}

func (st *state) orderItems(op string, a, b []Value) bool {
	defer st.deeper()()
	for i := range min(len(a), len(b)) {
		if !st.equal(a[i], b[i]) {
			return st.order(op, a[i], b[i])
		}
	}
	return st.order(op, int64(len(a)), int64(len(b)))
}

// failUndefined fails if one of the values is undefined.
func failUndefined(vs ...Value) {
	for _, v := range vs {
		if u, ok := v.(*undefined); ok {
			u.fail()
		}
	}
}

// contains is Python's item in v.
func (st *state) contains(v, item Value) bool {
	switch c := v.(type) {
	case string, Markup:
		s, _ := text(c)
		sub, ok := text(item)
		if !ok {
			raise("TypeError", "'in <string>' requires string as left operand, not %s", typeName(item))
		}
		st.charge(len(s) / 8)
		return strings.Contains(s, sub)
	case *Dict:
		_, ok := c.get(st.hash(item))
		return ok
	case *view:
		if c.kind == "dict_keys" {
			return st.contains(c.d, item)
		}
	case *namespace, nil, bool, int64, *big.Int, float64, *function, *macro, *object:
		raise("TypeError", "argument of type '%s' is not iterable", typeName(v))
	}
	next := st.iterate(v)
	for x, ok := next(); ok; x, ok = next() {
		if st.equal(x, item) {
			return true
		}
	}
	return false
}

// binary is one of Python's arithmetic operators.
func (st *state) binary(op string, a, b Value) Value {
	if s, ok := text(a); ok && op == "%" {
		return st.printf(a, s, b)
	}
	failUndefined(a, b)
	if x, ok := a.(int64); ok {
		if y, ok := b.(int64); ok {
			if v, ok := smallArith(op, x, y); ok {
				return v
			}
		}
	}
	switch op {
	case "+":
		if v, ok := st.add(a, b); ok {
			return v
		}
	case "*":
		if v, ok := st.repeat(a, b); ok {
			return v
		}
	}
	i, iok := integer(a)
	j, jok := integer(b)
	if iok && jok {
		return st.bigArith(op, i, j)
	}
	_, fok := a.(float64)
	_, gok := b.(float64)
	if !(iok || fok) || !(jok || gok) {
		if op == "**" {
			op = "** or pow()"
		}
		raise("TypeError", "unsupported operand type(s) for %s: '%s' and '%s'", op, typeName(a), typeName(b))
	}
	x, _ := number(a)
	y, _ := number(b)
	return floatArith(op, x, y)
}

// smallArith is arithmetic that stays within int64.
func smallArith(op string, x, y int64) (Value, bool) {
	switch op {
	case "+":
		if s := x + y; (s > x) == (y > 0) {
			return s, true
		}
	case "-":
		if d := x - y; (d < x) == (y > 0) {
			return d, true
		}
	case "*":
		if int64(int32(x)) == x && int64(int32(y)) == y {
			return x * y, true
		}
	case "//", "%":
		if y == 0 || y == -1 {
			return nil, false
		}
		q, r := x/y, x%y
		if r != 0 && (r < 0) != (y < 0) {
			q, r = q-1, r+y
		}
		if op == "//" {
			return q, true
		}
		return r, true
	}
	return nil, false
}

func (st *state) add(a, b Value) (Value, bool) {
	x, xok := text(a)
	y, yok := text(b)
	switch {
	case xok && yok:
		st.charge(len(x) + len(y))
		_, m := a.(Markup)
		_, n := b.(Markup)
		if m || n {
			return Markup(st.escape(a) + st.escape(b)), true
		}
		return x + y, true
	case xok:
		raise("TypeError", `can only concatenate str (not "%s") to str`, typeName(b))
	}
	switch x := a.(type) {
	case *List:
		y, ok := b.(*List)
		if !ok {
			raise("TypeError", `can only concatenate list (not "%s") to list`, typeName(b))
		}
		return &List{st.join(x.Items, y.Items)}, true
	case *Tuple:
		y, ok := b.(*Tuple)
		if !ok {
			raise("TypeError", `can only concatenate tuple (not "%s") to tuple`, typeName(b))
		}
		return &Tuple{Items: st.join(x.Items, y.Items)}, true
	}
	return nil, false
}

func (st *state) join(a, b []Value) []Value {
	st.charge(16*(len(a)+len(b)) + 64)
	return append(append(make([]Value, 0, len(a)+len(b)), a...), b...)
}

// repeat is a sequence times a number.
func (st *state) repeat(a, b Value) (Value, bool) {
	if _, ok := index(a); ok {
		a, b = b, a
	}
	n, ok := index(b)
	if !ok {
		return nil, false
	}
	n = max(n, 0)
	times := func(size int) int {
		if size == 0 {
			return 0
		}
		if n > 1<<40 {
			n = 1 << 40
		}
		st.charge(int(n) * size)
		return int(n)
	}
	if s, ok := text(a); ok {
		return like(a, strings.Repeat(s, times(len(s)))), true
	}
	items := func(src []Value) (out []Value) {
		for range times(16 * len(src)) {
			out = append(out, src...)
		}
		return out
	}
	switch x := a.(type) {
	case *List:
		return &List{items(x.Items)}, true
	case *Tuple:
		return &Tuple{Items: items(x.Items)}, true
	}
	return nil, false
}

const maxBits = 1 << 16 // of an integer

func (st *state) bigArith(op string, x, y *big.Int) Value {
	z := new(big.Int)
	st.charge((x.BitLen() + y.BitLen()) / 8)
	switch op {
	case "+":
		z.Add(x, y)
	case "-":
		z.Sub(x, y)
	case "*":
		z.Mul(x, y)
	case "**":
		if y.Sign() < 0 {
			f, _ := number(small(x))
			g, _ := number(small(y))
			return floatArith(op, f, g)
		}
		if x.BitLen() > 1 && (!y.IsInt64() || y.Int64() > maxBits || int64(x.BitLen())*y.Int64() > maxBits) {
			raise(limitKind, "an integer of more than %d bits", maxBits)
		}
		if x.BitLen() <= 1 && y.Sign() > 0 { // -1, 0, 1: only whether y is even matters
			y = big.NewInt(2 - int64(y.Bit(0)))
		}
		z.Exp(x, y, nil)
	default:
		if y.Sign() == 0 {
			if op == "/" {
				raise("ZeroDivisionError", "division by zero")
			}
			raise("ZeroDivisionError", "integer division or modulo by zero")
		}
		if op == "/" {
			f, _ := new(big.Rat).SetFrac(x, y).Float64()
			if math.IsInf(f, 0) {
				raise("OverflowError", "integer division result too large for a float")
			}
			return f
		}
		r := new(big.Int)
		z.QuoRem(x, y, r)
		if r.Sign() != 0 && r.Sign() != y.Sign() {
			z.Sub(z, big.NewInt(1))
			r.Add(r, y)
		}
		if op == "%" {
			z = r
		}
	}
	if z.BitLen() > maxBits {
		raise(limitKind, "an integer of more than %d bits", maxBits)
	}
	return small(z)
}

func floatArith(op string, x, y float64) Value {
	switch op {
	case "+":
		return x + y
	case "-":
		return x - y
	case "*":
		return x * y
	case "**":
		switch {
		case x == 0 && y < 0:
			raise("ZeroDivisionError", "0.0 cannot be raised to a negative power")
		case x < 0 && !math.IsInf(x, 0) && !math.IsInf(y, 0) && y != math.Trunc(y):
			raise("TypeError", "complex numbers are not supported")
		}
		z := math.Pow(x, y)
		if math.IsInf(z, 0) && !math.IsInf(x, 0) && !math.IsInf(y, 0) {
			raise("OverflowError", "(34, 'Numerical result out of range')")
		}
		return z
	}
	if y == 0 {
		switch op {
		case "/":
			raise("ZeroDivisionError", "float division by zero")
		case "//":
			raise("ZeroDivisionError", "float floor division by zero")
		}
		raise("ZeroDivisionError", "float modulo")
	}
	if op == "/" {
		return x / y
	}
	r := math.Mod(x, y)
	q := (x - r) / y
	if r != 0 && (r < 0) != (y < 0) {
		r += y
		q--
	} else if r == 0 {
		r = math.Copysign(0, y)
	}
	if op == "%" {
		return r
	}
	if q == 0 {
		return math.Copysign(0, x/y)
	}
	f := math.Floor(q)
	if q-f > 0.5 {
		f++
	}
	return f
}

func (st *state) unary(op string, v Value) Value {
	failUndefined(v)
	if f, ok := v.(float64); ok {
		if op == "-" {
			return -f
		}
		return f
	}
	i, ok := integer(v)
	if !ok {
		raise("TypeError", "bad operand type for unary %s: '%s'", op, typeName(v))
	}
	if op == "-" {
		return small(new(big.Int).Neg(i))
	}
	return small(i)
}

// escape is markupsafe's: text for HTML, unless it is marked safe.
func (st *state) escape(v Value) string {
	if m, ok := v.(Markup); ok {
		return string(m)
	}
	s := escaper.Replace(st.str(v))
	st.charge(len(s))
	return s
}

var escaper = strings.NewReplacer("&", "&amp;", ">", "&gt;", "<", "&lt;", "'", "&#39;", `"`, "&#34;")
