package mathx

import (
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"
)

// Elementary functions against mpmath at 400 bits: the true value lies within the error bound, and the bound is small.
func TestFunctions(t *testing.T) {
	type row struct{ F, X, Y string }
	worst := -1000.0
	for _, r := range lines[row](t, "testdata/functions.jsonl") {
		text := "\\" + r.F + "(" + r.X + ")"
		if r.F == "" {
			text = r.X
		}
		n, _, err := parse(text, false)
		require.NoError(t, err)
		m := machine{left: 1 << 20}
		v, err := m.eval(n)
		require.NoError(t, err, text)
		want, _, err := big.ParseFloat(r.Y, 10, 400, big.ToNearestEven)
		require.NoError(t, err)
		got := v.real()
		if want.Sign() == 0 || got.x.Cmp(want) == 0 {
			require.Equal(t, want.Sign(), got.x.Sign(), text)
			continue
		}
		diff := size(new(big.Float).SetPrec(400).Sub(got.x, want))
		relative := diff - size(want)
		worst = max(worst, relative)
		require.LessOrEqual(t, relative, -238.0, "%s: %s", text, got.x.Text('g', 60))
		require.LessOrEqual(t, diff, max(got.rad, size(want)-262)+1, "%s: outside its bound", text)
		require.LessOrEqual(t, got.rad-size(want), -230.0, "%s: the bound is loose", text)
	}
	t.Logf("measured: largest relative error 2^%.0f", worst)
}

// Error bounds are carried: what cancellation destroys is not taken for equal.
func TestCancellation(t *testing.T) {
	for _, c := range []struct {
		gold, answer string
		want         Verdict
	}{
		{"4", "\\boxed{\\pi 10^{100}+4-\\pi 10^{100}}", Different}, // equal, but 256 bits cannot tell
		{"4", "\\boxed{\\pi 10^{100}+3-\\pi 10^{100}}", Different},
		{"4", "\\boxed{4+(\\pi 10^{100}+3-\\pi 10^{100})-3}", Different},
		{"0", "\\boxed{\\pi 10^{-100}}", Different},
		{"\\pi 10^{-100}", "\\boxed{2\\pi 10^{-100}}", Different},
		{"0", "\\boxed{\\sqrt{3+2\\sqrt{2}}-1-\\sqrt{2}}", Equal},
		{"1", "\\boxed{\\sin^2 1000+\\cos^2 1000}", Equal},
		{"1", "\\boxed{1+10^{-50}}", Different},
		{"\\sqrt{2}", "\\boxed{\\sqrt{2}+10^{-40}}", Different},
	} {
		r := Verify(c.gold, c.answer, Policy{})
		require.Equal(t, c.want, r.Verdict, "%s %s: %+v", c.gold, c.answer, r)
	}
}
