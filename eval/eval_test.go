package eval_test

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/eval"
)

func golden(t *testing.T, name string, v any) {
	text, err := os.ReadFile("testdata/" + name)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, v))
}

func TestPassAtK(t *testing.T) {
	var cases []struct {
		N, C, K int
		Want    float64 `json:"pass_at_k"`
	}
	golden(t, "pass_at_k.json", &cases)
	require.Len(t, cases, 160)
	for _, c := range cases {
		got, err := eval.PassAtK(c.N, c.C, c.K)
		require.NoError(t, err)
		require.InDelta(t, c.Want, got, 1e-14, "%+v", c)
	}
	for _, c := range [][3]int{{4, 5, 1}, {4, -1, 1}, {4, 2, 0}, {4, 2, 5}, {0, 0, 1}} {
		_, err := eval.PassAtK(c[0], c[1], c[2])
		require.ErrorContains(t, err, "pass@", c)
	}
}

func TestConsAtK(t *testing.T) {
	var cases []struct {
		Answers    []*string
		Gold       string
		Winners    []string
		Tie        bool
		FirstSeen  float64 `json:"first_seen"`
		Fractional float64
		Strict     float64
	}
	golden(t, "cons_at_k.json", &cases)
	require.Len(t, cases, 66)
	for i, c := range cases {
		answers := make([]string, len(c.Answers))
		for j, a := range c.Answers {
			if a != nil {
				answers[j] = *a
			}
		}
		winners := eval.Majority(answers)
		require.Equal(t, c.Winners, append([]string{}, winners...), i)
		require.Equal(t, c.Tie, len(winners) > 1, i)
		require.InDelta(t, c.Fractional, eval.ConsAtK(answers, c.Gold), 1e-15, i)
		first := 0.0
		if len(winners) > 0 && winners[0] == c.Gold {
			first = 1
		}
		require.Equal(t, c.FirstSeen, first, i)
		if len(winners) == 1 {
			require.Equal(t, c.Strict, first, i)
		}
	}
}

// Exact values from rational arithmetic: sums of binomial coefficients over powers of two.
func TestMcNemar(t *testing.T) {
	for _, c := range []struct {
		b, c int
		want float64
	}{{0, 0, 1}, {1, 0, 1}, {5, 0, 0.0625}, {3, 3, 1}, {10, 2, 158.0 / 4096}, {2, 10, 158.0 / 4096}, {4, 9, 2 * 1093.0 / 8192}} {
		got, err := eval.McNemar(c.b, c.c)
		require.NoError(t, err)
		require.InDelta(t, c.want, got, 1e-12, "%+v", c)
	}
	got, err := eval.McNemar(3000, 2000) // far out, still a number
	require.NoError(t, err)
	require.True(t, got > 0 && got < 1e-40, got)
	_, err = eval.McNemar(-1, 2)
	require.Error(t, err)
}

// The interval holds p where |p - p̂| <= z sqrt(p (1-p) / n), with equality at its ends: the definition, solved nowhere in the test.
func TestWilson(t *testing.T) {
	for _, c := range [][2]int{{0, 10}, {10, 10}, {1, 2}, {87, 100}, {933, 1000}, {1, 1}} {
		low, high, err := eval.Wilson(c[0], c[1])
		require.NoError(t, err)
		share := float64(c[0]) / float64(c[1])
		for _, p := range []float64{low, high} {
			require.InDelta(t, math.Abs(p-share), 1.959963984540054*math.Sqrt(p*(1-p)/float64(c[1])), 1e-9, "%v at %g", c, p)
		}
		require.True(t, 0 <= low && low <= share && share <= high && high <= 1)
	}
	_, _, err := eval.Wilson(3, 2)
	require.Error(t, err)
	_, _, err = eval.Wilson(0, 0)
	require.Error(t, err)
}

// The interval covers the true difference about 95 times in 100, the p-value is small where there is one and not where there is none.
func TestPairedBootstrap(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	covered, found := 0, 0
	for trial := range 200 {
		a, b := make([]float64, 120), make([]float64, 120)
		for i := range a {
			hard := rng.Float64()
			a[i] = float64(int(hard + rng.Float64()))
			b[i] = a[i] + 0.1 + rng.NormFloat64()*0.3
		}
		d, err := eval.PairedBootstrap(a, b, 400, uint64(trial))
		require.NoError(t, err)
		if d.Low <= 0.1 && 0.1 <= d.High {
			covered++
		}
		if d.P < 0.05 {
			found++
		}
		again, err := eval.PairedBootstrap(a, b, 400, uint64(trial))
		require.NoError(t, err)
		require.Equal(t, d, again)
	}
	require.InDelta(t, 190, covered, 12)
	require.Greater(t, found, 180)

	same := []float64{1, 0, 1, 1}
	d, err := eval.PairedBootstrap(same, slices.Clone(same), 100, 0)
	require.NoError(t, err)
	require.Equal(t, eval.Difference{P: 1}, d)
	for _, c := range [][2][]float64{{nil, nil}, {{1}, {1, 2}}, {{math.NaN()}, {1}}, {{1}, {math.Inf(1)}}} {
		_, err := eval.PairedBootstrap(c[0], c[1], 100, 0)
		require.Error(t, err)
	}
	_, err = eval.PairedBootstrap(same, same, 99, 0)
	require.Error(t, err)
}

func ExamplePassAtK() {
	p, _ := eval.PassAtK(4, 2, 2)
	fmt.Printf("%.4f\n", p)
	// Output: 0.8333
}
