package reward_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/reward"
)

func TestRational(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"3 + 4", "7", true}, {"3 + 4", "8", false}, {"2 + 3 * 4", "14", true}, {"(2 + 3) * 4", "20", true}, {"-2^2", "-4", true}, {"2^3^2", "512", true},
		{"2**10", "1024", true}, {"1,234 + 1", "1235", true}, {"50%", "1/2", true}, {`\frac{1}{2} + \dfrac{1}{3}`, "5/6", true}, {`3 \times 4 \div 2`, "6", true},
		{"0.1 + 0.2", "0.3", true}, {"10 - 3 - 2", "5", true}, {"8 / 4 / 2", "1", true}, {"2(3 + 1)", "8", true}, {"−3", "0-3", true}, {"2^-1", "0.5", true}, {"3²", "9", true},
		{"1/3", "0.333", false}, {"$5 + $3", "$8", true}, {`\left(1 + 2\right)`, "3", true},
	} {
		got, err := reward.Rational(c.a, c.b)
		require.NoError(t, err, c.a)
		require.Equal(t, c.want, got, "%s = %s", c.a, c.b)
	}
	for _, bad := range []string{"", "x", "1/0", "0^0", "2 3", `2\frac{1}{2}`, "1,23", "(1", "1)", "10^10^10", "2^0.5", strings.Repeat("9", 1001), strings.Repeat("(", 500), strings.Repeat("-", 900) + "1",
		`\frac 12`, ".", "5!", "3+", "1.2.3", "9^1000^9"} {
		_, err := reward.Rational(bad, "1")
		require.ErrorIs(t, err, reward.ErrUndecided, bad)
	}
}

func FuzzRational(f *testing.F) {
	f.Add(`\frac{1}{2}^-3*(4,000%)`)
	f.Fuzz(func(t *testing.T, s string) {
		same, err := reward.Rational(s, s)
		require.True(t, err != nil || same)
		reward.Equalities(s+"="+s, reward.Rational)
	})
}

// What is found in prose, and what is rightly left alone. "true" and "false" are decided, "-" is not.
func TestEqualities(t *testing.T) {
	for text, want := range map[string]string{
		"So 3 + 4 = 7, and 7 * 2 = 15.":         "3 + 4 = 7 true; 7 * 2 = 15 false",
		"2 + 3 = 5 = 6":                         "2 + 3 = 5 true; 5 = 6 false",
		"x = 3 + 4 = 7":                         "x = 3 + 4 -; 3 + 4 = 7 true",
		"speed = 60 / 2 = 31":                   "60 / 2 = 31 false",
		"1. 3 + 4 = 7\n2) 2 + 2 = 5":            "3 + 4 = 7 true; 2 + 2 = 5 false",
		"we add (3 + 4 = 8) here":               "3 + 4 = 8 false",
		"$12 - 5 = 7$ and \\[ 2 + 2 = 5 \\]":    "12 - 5 = 7 true; 2 + 2 = 5 false",
		"\\begin{align} 3+4 &= 7 \\\\ &= 8":     "3+4 = 7 true; 7 = 8 false",
		"3 + 4\n  = 8":                          "3 + 4 = 8 false",
		"3 + 4 = \\boxed{7}":                    "3 + 4 = {7} true",
		"\\frac{1}{2} + \\frac{1}{2} = 1":       "\\frac{1}{2} + \\frac{1}{2} = 1 true",
		"5 \\times 5 = 26 \\text{ apples}":      "5 * 5 = 26 false",
		"2 + 3 = 5 apples":                      "2 + 3 = 5 true",
		"1,200 / 4 = 300":                       "1,200 / 4 = 300 true",
		"3 + 4 == 7":                            "3 + 4 = 7 true",
		"half of 80 = 40, 17 mod 5 = 2":         "80 = 40 -; 5 = 2 -",
		"20 % of 80 = 16; log2(8) = 3":          "80 = 16 -; (8) = 3 -",
		"f(2) = 5 and 2x = 10 and Q1 = 4":       "f(2) = 5 -; 2x = 10 -; Q1 = 4 -",
		"5 km + 3 = 8, 10 / 4 = 2 remainder 2":  "+ 3 = 8 -; 10 / 4 = 2 -",
		"3:4 = 6:8, gcd(12, 8) = 4, 5! = 120":   "3:4 = 6:8 -",
		"1 != 2, 3 <= 4, 1/3 ≈ 0.33, 4 >= 4":    "",
		"\\sqrt{16} = 4, 101_2 = 5, 7 = 2 + x":  "\\sqrt{16} = 4 -; 101_2 = 5 -; 7 = 2 + x -",
		"|3 - 5| = 2, 0.333... = 1/3":           "",
		"3 plus 4 = 7 and the square of 3 = 10": "4 = 7 -; 3 = 10 -",
	} {
		var got []string
		for _, e := range reward.Equalities(text, reward.Rational) {
			verdict := "-"
			if e.Decided {
				verdict = fmt.Sprint(e.True)
			}
			got = append(got, e.Left+" = "+e.Right+" "+verdict)
		}
		require.Equal(t, want, strings.Join(got, "; "), text)
	}
}

// chain writes n steps of arithmetic as a model would; steps at wrong are false. It returns how many equalities it wrote.
func chain(r *rand.Rand, n int, wrong map[int]bool) string {
	var b strings.Builder
	opening := []string{"So ", "Then ", "Next, ", "We get ", "- ", "", "$", "Step %d: "}
	value := int64(r.IntN(90) + 10)
	for i := range n {
		k := int64(r.IntN(9) + 2)
		var left string
		var right int64
		switch r.IntN(4) {
		case 0:
			left, right = fmt.Sprintf("%d + %d", value, k), value+k
		case 1:
			left, right = fmt.Sprintf("%d - %d", value, k), value-k
		case 2:
			left, right = fmt.Sprintf([]string{"%d * %d", `%d \times %d`, "%d × %d"}[r.IntN(3)], value, k), value*k
		case 3:
			left, right = fmt.Sprintf("(%d + %d) / 1", value, k), value+k
		}
		if right > 100000 || right < -100000 {
			right, left = 5, "2 + 3"
		}
		value = right
		if wrong[i] {
			right += int64(r.IntN(5) + 1)
			value = right // the chain goes on from its mistake
		}
		open := opening[r.IntN(len(opening))]
		if open == "- " && b.Len() > 0 {
			open = "\n- "
		}
		if strings.Contains(open, "%") {
			open = fmt.Sprintf(open, i+1)
		}
		closing := []string{".\n", "\n", ", "}[r.IntN(3)]
		if open == "$" {
			closing = "$" + closing
		}
		fmt.Fprintf(&b, "%s%s = %d%s", open, left, right, closing)
	}
	return b.String()
}

// Every wrong equality of 1,000 generated chains is flagged, and no right one.
func TestConsistentStepsOnChains(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	planted, steps := 0, 0
	for range 1000 {
		n := r.IntN(12) + 1
		wrong := map[int]bool{}
		for i := range n {
			wrong[i] = r.IntN(4) == 0
		}
		text := chain(r, n, wrong)
		found := reward.Equalities(text, reward.Rational)
		require.Len(t, found, n, text)
		right := 0
		for i, e := range found {
			require.True(t, e.Decided, "%v in %s", e, text)
			require.Equal(t, !wrong[i], e.True, "%v in %s", e, text)
			if steps++; wrong[i] {
				planted++
			} else {
				right++
			}
		}
		s := reward.Sample{Completion: "<think>" + text + "</think><answer>1</answer>"}
		v := score(t, reward.ConsistentSteps(reward.Rational), s)
		require.Equal(t, right == n, v == 1, text)
	}
	t.Logf("measured: %d of %d wrong equalities flagged, 0 of %d right ones", planted, planted, steps-planted)
	require.Greater(t, planted, 1000)
}

func TestConsistentStepsCannotBePadded(t *testing.T) {
	f := reward.ConsistentSteps(reward.Rational)
	think := func(text string) reward.Sample { return reward.Sample{Completion: "<think>" + text + "</think>"} }
	wrong := "3 + 4 = 8. "
	for _, padding := range []string{"1 = 1. ", "7 = 7. ", "2 + 2 = 2+2. "} {
		require.Equal(t, 0.0, score(t, f, think(wrong+strings.Repeat(padding, 1000))), padding)
	}
	require.Equal(t, 0.5, score(t, f, think(wrong+strings.Repeat("1 + 1 = 2. ", 1000))), "said once or a thousand times")
	require.Equal(t, 0.0, score(t, f, think("no equality")))
	undecided := func(string, string) (bool, error) { return true, errors.New("x") }
	require.Equal(t, 0.0, score(t, reward.ConsistentSteps(undecided), think("2 = 2 + 0")))
}
