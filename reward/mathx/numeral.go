package mathx

import (
	"fmt"
	"math/big"
	"strings"
)

// digitsInBase is the length of digits such as 3B1 at the start of s, digits and capitals mixed and a subscript after them.
func digitsInBase(s string) int {
	n, digits, capitals := 0, false, false
	for n < len(s) && n < 64 && (isDigit(s[n]) || s[n] >= 'A' && s[n] <= 'Z') {
		digits, capitals = digits || isDigit(s[n]), capitals || !isDigit(s[n])
		n++
	}
	if digits && capitals && n < len(s) && s[n] == '_' {
		return n
	}
	return 0
}

// number reads digits with separators of thousands, a decimal part that may recur, and an exponent.
func (l *lexer) number() error {
	if n := digitsInBase(l.rest()); n > 0 {
		l.emit(tWord, l.s[l.i:l.i+n])
		l.i += n
		return nil
	}
	var digits strings.Builder
	start := l.i
	for isDigit(l.at(0)) {
		digits.WriteByte(l.at(0))
		l.i++
	}
	if n := digits.Len(); n >= 1 && n <= 3 && l.s[start] != '0' {
		for l.thousands(&digits) {
		}
	}
	whole := digits.String()
	decimals, period := "", ""
	if l.at(0) == '.' && (isDigit(l.at(1)) || recurs(l.s[l.i+1:])) {
		l.i++
		from := l.i
		for isDigit(l.at(0)) {
			l.i++
		}
		decimals = l.s[from:l.i]
		var err error
		if decimals, period, err = l.period(decimals); err != nil {
			return err
		}
	}
	if len(whole)+len(decimals)+len(period) > 5000 {
		return fmt.Errorf("a number of more than 5000 digits")
	}
	q, ok := new(big.Rat).SetString("0" + whole + "." + decimals + "0")
	if !ok {
		return fmt.Errorf("cannot read number %.40q", whole+"."+decimals)
	}
	if period != "" {
		p, _ := new(big.Rat).SetString(period)
		nines, _ := new(big.Rat).SetString(strings.Repeat("9", len(period)) + strings.Repeat("0", len(decimals)))
		q.Add(q, p.Quo(p, nines))
	}
	if err := l.exponent(q); err != nil {
		return err
	}
	l.out = append(l.out, token{kind: tNum, s: l.s[start:l.i], q: q, space: l.space})
	l.space = false
	return nil
}

// thousands takes one group of three digits with the separator before it.
func (l *lexer) thousands(digits *strings.Builder) bool {
	for _, sep := range [...]string{"{,}", ",\\!", "\\!,", "{,\\!}", "\\,", "\\ ", "~", ",", " "} {
		if !strings.HasPrefix(l.rest(), sep) || (sep == "," || sep == " ") && l.depth > 0 || sep == "," && l.listCommas {
			continue
		}
		n := len(sep)
		if l.at(n) == '\\' && l.at(n+1) == '!' {
			n += 2
		}
		if !isDigit(l.at(n)) || !isDigit(l.at(n+1)) || !isDigit(l.at(n+2)) || isDigit(l.at(n+3)) {
			continue
		}
		digits.WriteString(l.s[l.i+n : l.i+n+3])
		l.i += n + 3
		l.sawCommas = l.sawCommas || sep == ","
		return true
	}
	return false
}

func recurs(s string) bool {
	return strings.HasPrefix(s, "\\overline") || strings.HasPrefix(s, "\\bar") || strings.HasPrefix(s, "\\dot") || strings.HasPrefix(s, "\\dots")
}

// period reads what recurs after the decimals: \overline{6}, \dot{6}, or an ellipsis after digits that repeat.
func (l *lexer) period(decimals string) (string, string, error) {
	for _, cmd := range [...]string{"\\overline", "\\bar", "\\dot{"} {
		if strings.HasPrefix(l.rest(), cmd) {
			l.i += len(strings.TrimSuffix(cmd, "{"))
			s := strings.TrimLeft(l.rest(), " {")
			n := 0
			for n < len(s) && isDigit(s[n]) {
				n++
			}
			if n == 0 || n > 64 {
				return "", "", fmt.Errorf("%s without digits", cmd)
			}
			l.i = len(l.s) - len(s) + n
			l.skip("}")
			return decimals, s[:n], nil
		}
	}
	for _, dots := range [...]string{"...", "\\ldots", "\\dots", "\\cdots", "…"} {
		if strings.HasPrefix(l.rest(), dots) {
			for n := 1; n <= len(decimals)/2 && n <= 32; n++ {
				end := decimals[len(decimals)-n:]
				if strings.HasSuffix(decimals, end+end) && (n > 1 || len(decimals) > 2 && strings.HasSuffix(decimals, end+end+end)) {
					l.i += len(dots)
					return decimals[:len(decimals)-n], end, nil
				}
			}
			return "", "", fmt.Errorf("digits go on after %q", decimals)
		}
	}
	return decimals, "", nil
}

// exponent reads e3, E-4 directly after the digits.
func (l *lexer) exponent(q *big.Rat) error {
	if c := l.at(0); c != 'e' && c != 'E' {
		return nil
	}
	n := 1
	if l.at(n) == '+' || l.at(n) == '-' {
		n++
	}
	from := n
	for isDigit(l.at(n)) {
		n++
	}
	if n == from || isLetter(l.at(n)) {
		return nil
	}
	if n-from > 3 {
		return fmt.Errorf("exponent %.10s... is out of range", l.s[l.i:l.i+n])
	}
	p, ok := new(big.Rat).SetString("1" + l.s[l.i:l.i+n])
	if !ok {
		return fmt.Errorf("cannot read exponent %q", l.s[l.i:l.i+n])
	}
	q.Mul(q, p)
	l.i += n
	return nil
}
