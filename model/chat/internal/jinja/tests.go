package jinja

import "unicode"

type testFunc func(st *state, v Value, a args) bool

func test0(name string, f func(v Value) bool) testFunc {
	return func(_ *state, v Value, a args) bool {
		a.bind(name)
		return f(v)
	}
}

func test1(name string, f func(st *state, v, x Value) bool) testFunc {
	return func(st *state, v Value, a args) bool { return f(st, v, a.bind(name, "other")[0]) }
}

func comparison(op string) testFunc {
	return test1(op, func(st *state, v, x Value) bool { return st.compare(op, v, x) })
}

func isUndefined(v Value) bool {
	_, ok := v.(*undefined)
	return ok
}

func isInteger(v Value) bool {
	_, isBool := v.(bool)
	_, ok := integer(v)
	return ok && !isBool
}

func parity(want int64) testFunc {
	return func(st *state, v Value, a args) bool {
		a.bind("odd")
		return st.equal(st.binary("%", v, int64(2)), want)
	}
}

// tests are Jinja's.
var tests = map[string]testFunc{
	"odd":  parity(1),
	"even": parity(0),
	"divisibleby": func(st *state, v Value, a args) bool {
		return st.equal(st.binary("%", v, a.bind("divisibleby", "num")[0]), int64(0))
	},
	"defined":   test0("defined", func(v Value) bool { return !isUndefined(v) }),
	"undefined": test0("undefined", isUndefined),
	"filter": func(st *state, v Value, a args) bool {
		s, _ := st.hash(v).(string)
		return st.filters[s] != nil
	},
	"test": func(st *state, v Value, a args) bool {
		s, _ := st.hash(v).(string)
		return st.tests[s] != nil
	},
	"none": test0("none", func(v Value) bool { return v == nil }),
	"boolean": test0("boolean", func(v Value) bool {
		_, ok := v.(bool)
		return ok
	}),
	"false":   test0("false", func(v Value) bool { b, ok := v.(bool); return ok && !b }),
	"true":    test0("true", func(v Value) bool { b, ok := v.(bool); return ok && b }),
	"integer": test0("integer", isInteger),
	"float": test0("float", func(v Value) bool {
		_, ok := v.(float64)
		return ok
	}),
	"lower": func(st *state, v Value, _ args) bool { return isCase(st.str(v), unicode.IsLower, unicode.IsUpper) },
	"upper": func(st *state, v Value, _ args) bool { return isCase(st.str(v), unicode.IsUpper, unicode.IsLower) },
	"string": test0("string", func(v Value) bool {
		_, ok := text(v)
		return ok
	}),
	"mapping": test0("mapping", func(v Value) bool {
		_, ok := v.(*Dict)
		return ok
	}),
	"number": test0("number", func(v Value) bool {
		_, isFloat := v.(float64)
		_, ok := integer(v)
		return ok || isFloat
	}),
	"sequence": test0("sequence", func(v Value) bool {
		switch v.(type) {
		case string, Markup, *List, *Tuple, *Dict, *Range, *undefined:
			return true
		}
		return false
	}),
	"iterable": test0("iterable", func(v Value) bool {
		switch v.(type) {
		case string, Markup, *List, *Tuple, *Dict, *Range, *undefined, *iterator, *view, *loop:
			return true
		}
		return false
	}),
	"callable": test0("callable", func(v Value) bool {
		switch v := v.(type) {
		case *function, *macro, *loop, *undefined:
			return true
		case *object:
			return v.call != nil
		}
		return false
	}),
	"escaped": test0("escaped", func(v Value) bool {
		_, ok := v.(Markup)
		return ok
	}),
	"sameas": test1("sameas", func(st *state, v, x Value) bool {
		switch a := v.(type) {
		case *List, *Tuple, *Dict, *Range:
			return v == x
		case string, int64, bool, nil:
			return a == x
		}
		return comparable(v) && v == x
	}),
	"in":          comparison("in"),
	"==":          comparison("=="),
	"eq":          comparison("=="),
	"equalto":     comparison("=="),
	"!=":          comparison("!="),
	"ne":          comparison("!="),
	">":           comparison(">"),
	"gt":          comparison(">"),
	"greaterthan": comparison(">"),
	">=":          comparison(">="),
	"ge":          comparison(">="),
	"<":           comparison("<"),
	"lt":          comparison("<"),
	"lessthan":    comparison("<"),
	"<=":          comparison("<="),
	"le":          comparison("<="),
}
