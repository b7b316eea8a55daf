package jinja

import (
	"math"
	"math/big"
	"strconv"
	"strings"
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
