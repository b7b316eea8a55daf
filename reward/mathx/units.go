package mathx

import (
	"errors"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"
)

// unit is a product of powers of base units times factor, or a label that is no unit of measure ("apples").
type unit struct {
	dims   map[string]int
	factor *big.Rat
	labels []string
}

func (u *unit) String() string {
	var parts []string
	for _, d := range slices.Sorted(maps.Keys(u.dims)) {
		if e := u.dims[d]; e != 1 {
			d += "^" + itoa(e)
		}
		parts = append(parts, d)
	}
	return strings.Join(append(parts, u.labels...), " ")
}

// measures reports that u has a dimension.
func (u *unit) measures() bool { return len(u.dims) > 0 }

func newUnit() *unit { return &unit{dims: map[string]int{}, factor: big.NewRat(1, 1)} }

func (u *unit) mul(v *unit, power int) {
	for d, e := range v.dims {
		if u.dims[d] += e * power; u.dims[d] == 0 {
			delete(u.dims, d)
		}
	}
	for range max(power, -power) {
		if power > 0 {
			u.factor.Mul(u.factor, v.factor)
		} else {
			u.factor.Quo(u.factor, v.factor)
		}
	}
}

// unitTable has names, the factor and the dimensions. Names of three letters or more may be plural and in any case.
var unitTable = buildUnits([][3]string{
	{"m meter metre", "1", "m"}, {"in inch inche", "0.0254", "m"}, {"ft foot feet", "0.3048", "m"}, {"yd yard", "0.9144", "m"}, {"mi mile", "1609.344", "m"},
	{"g gram gramme", "1", "g"}, {"lb pound", "453.59237", "g"}, {"oz ounce", "28.349523125", "g"}, {"tonne", "1000000", "g"}, {"ton", "1", "ton"},
	{"s sec second", "1", "s"}, {"min minute", "60", "s"}, {"h hr hour", "3600", "s"}, {"d day", "86400", "s"}, {"wk week", "604800", "s"},
	{"month", "1", "month"}, {"yr year", "12", "month"}, {"decade", "120", "month"}, {"century centurie", "1200", "month"},
	{"L l liter litre", "0.001", "m m m"}, {"gal gallon", "0.003785411784", "m m m"}, {"qt quart", "0.000946352946", "m m m"}, {"pt pint", "0.000473176473", "m m m"},
	{"cup", "0.0002365882365", "m m m"}, {"acre", "4046.8564224", "m m"}, {"ha hectare", "10000", "m m"}, {"cc", "0.000001", "m m m"},
	{"mph", "0.44704", "m /s"}, {"kph kmh kmph", "5/18", "m /s"}, {"Hz hertz", "1", "/s"}, {"N newton", "1000", "g m /s /s"}, {"J joule", "1000", "g m m /s /s"},
	{"W watt", "1000", "g m m /s /s /s"}, {"Pa pascal", "1000", "g /m /s /s"}, {"eV", "1", "eV"}, {"cal calorie", "1", "cal"}, {"K kelvin", "1", "K"}, {"mol mole", "1", "mol"},
	{"V volt", "1000", "g m m /s /s /s /A"}, {"A amp ampere", "1", "A"}, {"ohm", "1000", "g m m /s /s /s /A /A"}, {"celsius", "1", "degC"}, {"fahrenheit", "1", "degF"},
	{"dollar usd buck", "1", "USD"}, {"cent ¢ penny", "0.01", "USD"}, {"euro eur", "1", "EUR"}, {"gbp", "1", "GBP"}, {"rupee", "1", "INR"}, {"yuan rmb", "1", "CNY"}, {"yen", "1", "JPY"},
	{"byte", "8", "bit"}, {"bit", "1", "bit"}, {"rpm", "1/60", "/s"}, {"radian rad", "1", ""}, {"unit", "1", ""},
})

func buildUnits(table [][3]string) map[string]*unit {
	units := map[string]*unit{}
	for _, row := range table {
		u := newUnit()
		u.factor.SetString(row[1])
		for d := range strings.FieldsSeq(row[2]) {
			if name, below := strings.CutPrefix(d, "/"); below {
				u.dims[name]--
			} else {
				u.dims[name]++
			}
		}
		for name := range strings.FieldsSeq(row[0]) {
			units[name] = u
		}
	}
	return units
}

var (
	symbolPrefixes = []struct{ name, factor string }{{"k", "1000"}, {"c", "0.01"}, {"m", "0.001"}, {"d", "0.1"}, {"n", "1e-9"}, {"M", "1000000"}, {"G", "1e9"}}
	wordPrefixes   = []struct{ name, factor string }{{"kilo", "1000"}, {"centi", "0.01"}, {"milli", "0.001"}, {"deci", "0.1"}, {"micro", "1e-6"}, {"nano", "1e-9"}, {"mega", "1000000"}, {"giga", "1e9"}}
	prefixedUnits  = setOf("m g s L l J W V A N Pa Hz mol eV cal")
)

// lookupUnit finds a unit of measure by name or symbol, with prefix and plural; nil where there is none.
func lookupUnit(w string) *unit {
	if u := unitTable[w]; u != nil {
		return u
	}
	lower := stem(strings.ToLower(w))
	if len(w) > 2 {
		if u := unitTable[lower]; u != nil && len(lower) > 1 {
			return u
		}
	}
	if w == "hrs" || w == "yrs" || w == "lbs" || w == "mins" || w == "secs" {
		return unitTable[w[:len(w)-1]]
	}
	for _, p := range symbolPrefixes {
		if base, ok := strings.CutPrefix(w, p.name); ok && prefixedUnits[base] {
			return scaled(unitTable[base], p.factor)
		}
	}
	for _, p := range wordPrefixes {
		if base, ok := strings.CutPrefix(lower, p.name); ok && len(base) > 3 && unitTable[base] != nil {
			return scaled(unitTable[base], p.factor)
		}
	}
	if w == "ml" || w == "mL" {
		return scaled(unitTable["L"], "0.001")
	}
	return nil
}

func scaled(u *unit, factor string) *unit {
	v := newUnit()
	v.mul(u, 1)
	f, _ := new(big.Rat).SetString(factor)
	v.factor.Mul(v.factor, f)
	return v
}

func currencyUnit(sign string) *unit {
	return unitTable[map[string]string{"$": "dollar", "€": "euro", "£": "gbp"}[sign]]
}

// maxUnitWords bounds a phrase of units.
const maxUnitWords = 24

// isUnitWord reports that the token k ahead goes on a phrase of units; inside says that the phrase has begun.
func (p *parser) isUnitWord(n *node, inside bool) bool {
	t := p.peek()
	lower := strings.ToLower(t.s)
	switch {
	case lower == "and" || lower == "or":
		return false
	case lower == "in":
		return n.kind == kNum && (p.itemEnd(1) || p.peekAt(1).is("^") || p.peekAt(1).is("."))
	case t.kind == tWord:
		return true
	case t.kind == tRun:
		return inside || lookupUnit(t.s) != nil || !isProduct(t.s)
	case t.kind == tSym:
		return n.kind == kDegree && (t.s == "C" || t.s == "F") || inside && lookupUnit(t.s) != nil
	}
	return false
}

// units reads the phrase of units after n: "cm", "square feet", "m/s^2", "miles per hour", "percent", "apples".
func (p *parser) units(n *node) (*node, error) {
	if t := p.peek(); (t.is("$") || t.is("€")) && p.itemEnd(1) { // 5$
		p.i++
		return &node{kind: kUnit, args: []*node{n}, unit: currencyUnit(t.s)}, nil
	}
	if !p.isUnitWord(n, false) {
		return n, nil
	}
	u := newUnit()
	sign, modifier := 1, 1
	var last *unit
	for words := 0; ; words++ {
		t := p.peek()
		if words > maxUnitWords {
			return nil, fmt.Errorf("more than %d words behind a number", maxUnitWords)
		}
		switch {
		case p.isUnitWord(n, true) || t.is("°") && sign < 0:
			p.i++
			w := strings.ToLower(t.s)
			switch {
			case w == "per" || w == "a" && last != nil:
				sign = -1
			case w == "square" || w == "sq":
				modifier = 2
			case w == "cubic" || w == "cu":
				modifier = 3
			case (w == "squared" || w == "cubed") && last != nil:
				u.mul(last, map[string]int{"squared": 1, "cubed": 2}[w])
			case w == "percent" || w == "percentage" || w == "pct":
				n = mk(kPercent, n)
			case w == "degree" || w == "degrees" || w == "deg":
				n = mk(kDegree, n)
			case n.kind == kDegree && (w == "c" || w == "f" || w == "celsius" || w == "fahrenheit"):
				n = n.args[0]
				u.dims["deg"+strings.ToUpper(w[:1])]++
			case numberWords[w] >= 12 && len(u.labels) == 0 && last == nil:
				n = mk(kMul, n, numNode(numberWords[w]))
			case fillers[w], ordinalSuffix(w):
			default:
				if found := lookupUnit(t.s); found != nil {
					u.mul(found, sign*modifier)
					last = scaled(found, "1")
					if sign < 0 {
						last = newUnit()
						last.mul(found, -1)
					}
				} else {
					u.labels = append(u.labels, stem(w))
				}
				sign, modifier = 1, 1
			}
			continue
		case t.is("^") && last != nil:
			e, err := p.unitPower()
			if err != nil {
				return nil, err
			}
			u.mul(last, e-1)
			continue
		case t.is("/") && (last != nil || len(u.labels) > 0):
			p.i++
			sign = -1
			continue
		case t.is("*") && last != nil, t.is("-") && len(u.labels) > 0, t.is(".") && !p.itemEnd(1), t.is("'") && len(u.labels) > 0:
			p.i++
			continue
		}
		break
	}
	if !u.measures() && len(u.labels) == 0 && u.factor.Cmp(big.NewRat(1, 1)) == 0 {
		return n, nil
	}
	n = &node{kind: kUnit, args: []*node{n}, unit: u}
	if u.measures() && p.peek().kind == tNum && n.args[0].kind == kNum {
		return p.compound(n)
	}
	return n, nil
}

// compound adds the smaller unit in 2 h 30 min and 5 ft 6 in.
func (p *parser) compound(n *node) (*node, error) {
	rest, err := p.units(p.numeral(p.next()))
	if err != nil {
		return nil, err
	}
	if rest.kind != kUnit || !maps.Equal(rest.unit.dims, n.unit.dims) || rest.unit.factor.Cmp(n.unit.factor) >= 0 || len(rest.unit.labels) > 0 {
		return nil, errors.New("two quantities that do not add up")
	}
	ratio := new(big.Rat).Quo(rest.unit.factor, n.unit.factor)
	return n.with([]*node{mk(kAdd, n.args[0], mk(kMul, ratNode(ratio), rest.args[0]))}), nil
}

func (p *parser) unitPower() (int, error) {
	p.i++
	e, err := p.exponent()
	if err != nil {
		return 0, err
	}
	v, ok := e, e.kind == kNum
	sign := 1
	if e.kind == kNeg {
		v, sign, ok = e.args[0], -1, e.args[0].kind == kNum
	}
	if !ok || !v.q.IsInt() || v.q.Cmp(big.NewRat(12, 1)) > 0 || v.q.Cmp(big.NewRat(-12, 1)) < 0 {
		return 0, p.unexpected()
	}
	return sign * int(v.q.Num().Int64()), nil
}
