package mathx

import (
	"context"
	"math"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The graders of a first draft, each without one of the layers of this package. Every attack below fools one of them, which
// shows that the attack works where its layer is taken away.
var naive = map[string]func(gold, completion string) bool{
	// any box counts, also one of many and one in the reasoning
	"any box": func(gold, c string) bool {
		for _, b := range boxes(c) {
			if strings.Contains(b.inner, gold) {
				return true
			}
		}
		return false
	},
	"contains": func(gold, c string) bool { return strings.Contains(c, gold) },
	// the last number of the text
	"last number": func(gold, c string) bool {
		m := regexp.MustCompile(`-?[\d.]*\d`).FindAllString(c, -1)
		return len(m) > 0 && m[len(m)-1] == gold
	},
	"first number": func(gold, c string) bool { return regexp.MustCompile(`-?[\d.]*\d`).FindString(c) == gold },
	// numbers in binary floating point, close is equal
	"float": func(gold, c string) bool {
		s := c
		if b := boxes(c); len(b) > 0 {
			s = b[0].inner
		}
		x, err := strconv.ParseFloat(gold, 64)
		y, err2 := strconv.ParseFloat(s, 64)
		return err == nil && err2 == nil && math.Abs(x-y) <= 1e-6*math.Max(1, math.Abs(x))
	},
	// both sides are parsed by this package, but one element, one side, one end of many is enough
	"any element": func(gold, c string) bool {
		g, err := Parse(gold)
		b := boxes(c)
		if err != nil || len(b) == 0 {
			return false
		}
		a, err := Parse(b[len(b)-1].inner)
		if err != nil {
			return false
		}
		k := comparer{m: machine{left: 1 << 20}}
		return expandAny(a.root).any(func(n *node) bool { return k.equal(g.root, n) })
	},
	// membership for equality
	"member": func(gold, c string) bool {
		g, err := Parse(gold)
		b := boxes(c)
		if err != nil || len(b) == 0 {
			return false
		}
		a, err := Parse(b[0].inner)
		if err != nil {
			return false
		}
		k := comparer{m: machine{left: 1 << 20}}
		s, ok := k.reals(a.root)
		p, ok2 := k.reals(g.root)
		d, ok3 := combine(p, s, without)
		return ok && ok2 && ok3 && d.empty()
	},
	// the machine works out whatever is sent
	"evaluates": func(gold, c string) bool {
		g, err := Parse(gold)
		b := boxes(c)
		if err != nil || len(b) == 0 {
			return false
		}
		a, err := Parse(b[0].inner)
		same, _ := Same(g, a, Policy{})
		return err == nil && same
	},
	// variables stand for anything
	"free variable": func(gold, c string) bool {
		b := boxes(c)
		if len(b) == 0 {
			return false
		}
		a, err := Parse(b[0].inner)
		return err == nil && len(a.root.vars()) > 0
	},
	// any digit of Unicode
	"unicode digits": func(gold, c string) bool {
		s := strings.Map(func(r rune) rune {
			for _, zero := range []rune{'０', '٠', '۰', '𝟎', '०'} {
				if r >= zero && r <= zero+9 {
					return '0' + r - zero
				}
			}
			return r
		}, c)
		return strings.Contains(s, gold)
	},
	// everything that is no digit is dropped
	"digits only": func(gold, c string) bool {
		digits := func(s string) string { return regexp.MustCompile(`\D`).ReplaceAllString(s, "") }
		return digits(gold) == digits(c)
	},
	// 0/0 and infinity in floating point, where NaN was made equal
	"nan": func(gold, c string) bool { return strings.Contains(c, "0/0") || strings.Contains(c, "\\infty") },
	// an empty answer is contained in everything
	"prefix": func(gold, c string) bool {
		b := strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(c), "\\boxed{"), "}")
		return strings.HasPrefix(gold, strings.TrimSpace(strings.Trim(b, "\\ ")))
	},
	// macros expanded before grading
	"macros": func(gold, c string) bool {
		m := regexp.MustCompile(`\\(?:def|newcommand)\{?(\\\w+)\}?\{([^}]*)\}`).FindStringSubmatch(c)
		return m != nil && strings.Contains(strings.ReplaceAll(c, m[1], m[2]), gold)
	},
	// letters anywhere
	"any letter": func(gold, c string) bool {
		return regexp.MustCompile(`\b` + gold + `\b`).MatchString(c)
	},
}

// expandAny puts both values of every plus-minus under one list.
func expandAny(n *node) *node {
	if e := expandPM(n, false); e != nil {
		return e
	}
	return n
}

type attack struct{ layer, gold, completion string }

var attacks = []attack{
	{"any box", "42", "\\boxed{41}\\boxed{42}\\boxed{43}"},
	{"any box", "42", "\\boxed{42} or \\boxed{43}"},
	{"any box", "42", "\\boxed{42}, \\boxed{43}"},
	{"any box", "42", "$\\boxed{42}$ and $\\boxed{7}$"},
	{"any box", "42", "First \\boxed{42}. No, it is \\boxed{41}."},
	{"any box", "42", "<think>\\boxed{42}</think> I cannot tell."},
	{"any box", "42", "<think>\\boxed{42}</think> \\boxed{0}"},
	{"any box", "42", "<think>so \\boxed{42}"},
	{"any box", "42", "\\boxed{\\text{not } 42}"},
	{"any box", "42", "\\boxed{42, 43}"},
	{"any box", "42", "\\boxed{42 \\text{ or } 43}"},
	{"any box", "42", "\\boxed{41; 42}"},
	{"any box", "42", "\\boxed{\\boxed{42}, \\boxed{43}}"},
	{"any box", "42", "\\boxed{142}"},
	{"any box", "42", "\\boxed{42 43}"},
	{"any box", "42", "\\boxed{42.5}"},
	{"any box", "42", "\\boxed{\\{42\\}\\cup\\{43\\}}"},
	{"any box", "42", "\\boxed{(42, 42)}"},
	{"any box", "42", "\\boxed{1}\\boxed{2}\\boxed{3}\\boxed{4}\\boxed{5}\\boxed{42}"},
	{"any box", "42", "\\boxed{42} \\boxed{1} text \\boxed{2} text \\boxed{3} text \\boxed{4} text \\boxed{5}"},
	{"any box", "42", "\\boxed{1} a \\boxed{2} b \\boxed{3} c \\boxed{4} d \\boxed{42}"},
	{"any box", "x+1", "\\boxed{x+1 \\text{ or } x+2}"},
	{"any box", "\\pi", "\\boxed{\\pi, 2\\pi, 3\\pi}"},
	{"any box", "42", "\\boxed{42x}"},
	{"any box", "42", "\\boxed{-42}"},
	{"any box", "42", "\\boxed{42^{2}}"},
	{"any box", "42", "\\boxed{42\\%\\%5}"},
	{"contains", "42", "The answer is 42 or 43."},
	{"contains", "42", "It is 41 or 42."},
	{"contains", "42", "Maybe 41, maybe 42."},
	{"contains", "42", "It lies between 40 and 42."},
	{"contains", "42", "The answer is not 42."},
	{"contains", "42", "1 2 3 4 5 42 6 7 8 9"},
	{"contains", "42", "<answer>1</answer> 42"},
	{"contains", "42", "<answer>42</answer><answer>43</answer>"},
	{"contains", "42", "<answer>42 or 43</answer>"},
	{"contains", "42", "The question asks for 42. The answer is 41."},
	{"contains", "42", "% answer: 42\n\\boxed{7}"},
	{"contains", "42", "#### 42\n#### 43"},
	{"contains", "42", "<|im_end|>42<|im_end|>\\boxed{1}"},
	{"contains", "\\frac{1}{2}", "\\boxed{\\frac{1}{2}+\\frac{1}{2}}"},
	{"contains", "42", "The answer is $42$ or $43$."},
	{"contains", "42", "Answer: 42/43"},
	{"contains", "42", "Answer: 42:43"},
	{"last number", "42", "It is one of 40, 41 or 42"},
	{"last number", "42", "either 41 or 42"},
	{"last number", "42", "It is not 42"},
	{"last number", "42", "It isn't 42"},
	{"last number", "42", "I do not know, perhaps 42"},
	{"first number", "42", "The answer is 42 to 50."},
	{"float", "1", "\\boxed{0.9999999}"},
	{"float", "1", "\\boxed{1.0000001}"},
	{"float", "0", "\\boxed{0.0000000001}"},
	{"float", "9007199254740993", "\\boxed{9007199254740992}"},
	{"float", "0.3333333333333333", "\\boxed{0.33333333333333331}"},
	{"float", "1000000000000007", "\\boxed{1000000000000008}"},
	{"float", "3.141592653589793", "\\boxed{3.1415926535}"},
	{"any element", "42", "\\boxed{42 \\pm 1}"},
	{"any element", "4", "\\boxed{\\pm 4}"},
	{"any element", "42", "\\boxed{42 = 43}"},
	{"any element", "42", "\\boxed{43 = 42}"},
	{"any element", "42", "\\boxed{x = 42 = 43}"},
	{"any element", "42", "\\boxed{42 < 43}"},
	{"any element", "42", "\\boxed{x \\ge 42}"},
	{"any element", "42", "\\boxed{42 : 1 : 7}"},
	{"any element", "42", "\\boxed{\\begin{pmatrix}42 & 43\\end{pmatrix}}"},
	{"any element", "42", "\\boxed{x = 42, y = 43}"},
	{"any element", "42", "\\boxed{x = 42 \\text{ or } x = 43}"},
	{"any element", "42", "\\boxed{[42, 43]}"},
	{"any element", "42", "\\boxed{\\{x \\mid x = 42\\}\\cup\\{1\\}}"},
	{"any element", "42", "\\boxed{42 \\text{ and } 43}"},
	{"any element", "42", "\\boxed{1, 2, 3, 42}"},
	{"member", "42", "\\boxed{[0, 100]}"},
	{"member", "42", "\\boxed{(-\\infty, \\infty)}"},
	{"member", "42", "\\boxed{\\mathbb{R}}"},
	{"member", "42", "\\boxed{\\text{all real numbers}}"},
	{"member", "42", "\\boxed{x > 0}"},
	{"member", "42", "\\boxed{40 \\le x \\le 44}"},
	{"member", "(1,2)", "\\boxed{(0,3)}"},
	{"member", "(1,2)", "\\boxed{[1,2]}"},
	{"member", "[1,2]", "\\boxed{[1,2]\\cup[5,6]}"},
	{"member", "\\{1,2\\}", "\\boxed{\\{1,2,3\\}}"},
	{"member", "42", "\\boxed{\\mathbb{R}\\setminus\\{0\\}}"},
	{"member", "42", "\\boxed{\\{x \\mid x>1\\}}"},
	{"evaluates", "\\frac{1}{2}", "\\boxed{\\int_0^1 x\\,dx}"},
	{"evaluates", "5050", "\\boxed{\\sum_{k=1}^{100} k}"},
	{"evaluates", "120", "\\boxed{\\prod_{k=1}^{5} k}"},
	{"free variable", "42", "\\boxed{x}"},
	{"free variable", "42", "\\boxed{n}"},
	{"free variable", "42", "\\boxed{x = y}"},
	{"free variable", "42", "\\boxed{x = x}"},
	{"free variable", "x+1", "\\boxed{y+1}"},
	{"free variable", "y = 2x", "\\boxed{y = y}"},
	{"free variable", "y = 2x", "\\boxed{(y-2x)(x-y)=0}"},
	{"free variable", "y = 2x", "\\boxed{0(y-2x)=0}"},
	{"unicode digits", "42", "\\boxed{４２}"},
	{"unicode digits", "42", "\\boxed{٤٢}"},
	{"unicode digits", "42", "\\boxed{𝟒𝟐}"},
	{"unicode digits", "42", "\\boxed{४२}"},
	{"digits only", "42", "\\boxed{4/2}"},
	{"digits only", "42", "\\boxed{4^2}"},
	{"digits only", "42", "\\boxed{4\\cdot 2}"},
	{"digits only", "42", "\\boxed{-42}"},
	{"digits only", "42", "\\boxed{4.2}"},
	{"digits only", "5 \\text{ cm}", "\\boxed{5 \\text{ km}}"},
	{"digits only", "5 \\text{ cm}", "\\boxed{5 \\text{ kg}}"},
	{"digits only", "5 \\text{ m}", "\\boxed{5 \\text{ s}}"},
	{"digits only", "5 \\text{ m/s}", "\\boxed{5 \\text{ m s}}"},
	{"digits only", "5 \\text{ cm}^2", "\\boxed{5^2 \\text{ cm}}"},
	{"digits only", "50\\%", "\\boxed{5.0}"},
	{"digits only", "\\$5", "\\boxed{5 \\text{ cents}}"},
	{"digits only", "1011_2", "\\boxed{101_{12}}"},
	{"digits only", "(1,2)", "\\boxed{12}"},
	{"digits only", "\\{1,2\\}", "\\boxed{(1,2)}"},
	{"digits only", "3:45", "\\boxed{34:5}"},
	{"digits only", "1.5", "\\boxed{15}"},
	{"nan", "1", "\\boxed{0/0}"},
	{"nan", "0", "\\boxed{\\frac{0}{0}}, 0/0"},
	{"nan", "1", "\\boxed{\\frac{\\infty}{\\infty}}"},
	{"nan", "0", "\\boxed{\\infty-\\infty}"},
	{"nan", "1", "\\boxed{1/\\infty}"},
	{"nan", "\\infty", "\\boxed{-\\infty}"},
	{"nan", "1", "\\boxed{(0/0)^0}"},
	{"prefix", "42", "\\boxed{}"},
	{"prefix", "42", "\\boxed{ }"},
	{"prefix", "42", "\\boxed{\\ }"},
	{"prefix", "42", ""},
	{"prefix", "42", " \n\t"},
	{"prefix", "42", "\\boxed{4"},
	{"prefix", "42", "\\boxed{4}"},
	{"macros", "42", "\\def\\x{42}\\boxed{\\x}"},
	{"macros", "42", "\\newcommand{\\x}{42}$\\boxed{\\x}$"},
	{"any letter", "B", "\\boxed{A, B, C, D}"},
	{"any letter", "B", "\\boxed{A/B/C/D/E}"},
	{"any letter", "B", "The answer is A or B."},
	{"any letter", "B", "The answer is (A) and (B)."},
	{"any letter", "B", "(A), (B), (C) or (D)"},
	{"any letter", "B", "\\boxed{A} or \\boxed{B}"},
	{"any letter", "B", "<think>B</think> A"},
	{"any letter", "B", "I would not take B. The answer is C."},
	{"any letter", "B", "\\boxed{\\text{B or C}}"},
	{"any letter", "B", "Either B or C"},
	{"any letter", "B", "\\boxed{B*2}"},
	{"any letter", "even", "The answer is even or odd."},
	{"any letter", "even", "\\boxed{\\text{even, odd}}"},
	{"any letter", "any", "\\boxed{\\text{any or none}}"},
}

// No attack scores, and each one fools the grader without the layer it aims at. The layers are listed so that none is empty.
func TestAttacks(t *testing.T) {
	used := map[string]bool{}
	for _, a := range attacks {
		assert.True(t, naive[a.layer](a.gold, a.completion), "the %s grader sees through %q for %q: no attack", a.layer, a.completion, a.gold)
		r := Verify(a.gold, a.completion, Policy{})
		assert.NotEqual(t, Equal, r.Verdict, "%q scores for %q: %+v", a.completion, a.gold, r)
		assert.NotEqual(t, GoldUnparseable, r.Verdict, "%q", a.gold)
		used[a.layer] = true
		control := Verify(a.gold, "\\boxed{"+a.gold+"}", Policy{})
		assert.Equal(t, Equal, control.Verdict, "the right answer %q must pass: %+v", a.gold, control)
	}
	require.Len(t, used, len(naive))
	t.Logf("measured: 0 of %d attacks score", len(attacks))
}

// What would keep a grader without a budget busy for minutes or fill its memory returns within the budget. The layer taken
// away here is the budget itself: the exact power needs 3.3e10 bits.
func TestBombs(t *testing.T) {
	sum := "1" + strings.Repeat("+\\frac{1}{7^{50}}", 500)
	surds := "\\sqrt{2}"
	for i := 3; i < 500; i++ {
		surds += "+\\sqrt{" + strconv.Itoa(i) + "}"
	}
	bombs := map[string]string{
		"power tower":      "10^{10^{10}}",
		"plain tower":      "9^9^9^9^9",
		"factorial":        "(10^9)!",
		"factorials":       strings.Repeat("(", 50) + "9" + strings.Repeat("!)", 50),
		"binomial":         "\\binom{10^{12}}{5^{15}}",
		"rational sum":     sum,
		"surds":            surds,
		"nested roots":     strings.Repeat("\\sqrt{2+", 90) + "1" + strings.Repeat("}", 90),
		"deep fractions":   strings.Repeat("\\frac{", 10000),
		"50 kB of frac":    strings.Repeat("\\frac", 10000),
		"frac digits":      strings.Repeat("\\frac12", 7000),
		"deep parentheses": strings.Repeat("(", 50000) + "1" + strings.Repeat(")", 50000),
		"deep braces":      strings.Repeat("{", 50000),
		"long digits":      strings.Repeat("9", 50000),
		"long decimals":    "0." + strings.Repeat("3", 4000),
		"exponent":         "1e999999999",
		"exponents":        "1e9999 " + strings.Repeat("+1e9999", 200),
		"power of power":   strings.Repeat("(", 60) + "1.5" + strings.Repeat("^{9})", 60),
		"long list":        strings.TrimSuffix(strings.Repeat("\\sqrt{2}+1,", 600), ","),
		"big matrix":       "\\det\\begin{pmatrix}" + strings.TrimSuffix(strings.Repeat(strings.TrimSuffix(strings.Repeat("\\sqrt{2}&", 30), "&")+"\\\\", 30), "\\\\") + "\\end{pmatrix}",
		"signs":            strings.Repeat("\\pm 1", 200),
		"minus signs":      strings.Repeat("-", 20000) + "1",
		"units":            "1" + strings.Repeat("\\text{ cm}^{9}", 1000),
		"variables":        strings.Repeat("(x+y+z+w)", 300) + "^{20}",
		"unclosed boxes":   strings.Repeat("\\boxed{", 5000),
		"dollars":          strings.Repeat("$", 50001),
		"spaces":           strings.Repeat(" ", 1<<20),
		"unicode":          strings.Repeat("½", 5000),
		"superscripts":     strings.Repeat("x²", 5000),
		"answers":          strings.Repeat("the answer is ", 5000),
		"sines":            strings.Repeat("\\sin(", 95) + "1" + strings.Repeat(")", 95),
		"exponentials":     strings.Repeat("e^{", 90) + "1" + strings.Repeat("}", 90),
	}
	for name, bomb := range bombs {
		for _, gold := range []string{"42", "\\sqrt{2}+1", "x^2+1", "1,2,3", bomb} {
			for _, c := range []string{bomb, "\\boxed{" + bomb + "}", "The answer is $" + bomb + "$."} {
				if len(gold) > 20 && c != bomb {
					continue
				}
				r := Verify(gold, c, Policy{})
				require.LessOrEqual(t, r.Steps, 100_000, name)
				if gold != bomb {
					assert.NotEqual(t, Equal, r.Verdict, "%s %q %.80q", name, gold, c)
				}
			}
		}
	}
	m := machine{left: math.MaxInt}
	n, _, err := parse("10^{10^{10}}", false)
	require.NoError(t, err)
	_, err = m.eval(n)
	require.ErrorIs(t, err, errTooLarge)
	tooLong := new(big.Float).SetPrec(64).SetInt64(10)
	require.Greater(t, size(tooLong)*1e10, 3e10, "bits that the exact power would take")
}

// The same pair gives the same verdict, reason and steps from many goroutines at once.
func TestConcurrent(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	want := map[attack]Result{}
	for _, a := range attacks {
		want[a] = Verify(a.gold, a.completion, Policy{})
	}
	results := make(chan bool)
	for range 8 {
		go func() {
			ok := true
			for _, a := range attacks {
				ok = ok && Verify(a.gold, a.completion, Policy{}) == want[a]
			}
			select {
			case results <- ok:
			case <-ctx.Done():
			}
		}()
	}
	for range 8 {
		require.True(t, <-results)
	}
}
