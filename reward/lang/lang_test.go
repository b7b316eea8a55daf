package lang_test

import (
	"bufio"
	"compress/gzip"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/reward"
	"github.com/gor1/gor1/reward/lang"
)

// sentence is a line of testdata/sentences.tsv.gz.
type sentence struct{ language, source, text string }

func sentences(t testing.TB) []sentence {
	f, err := os.Open("testdata/sentences.tsv.gz")
	require.NoError(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	var out []sentence
	for in := bufio.NewScanner(z); in.Scan(); {
		p := strings.Split(in.Text(), "\t")
		require.Len(t, p, 3)
		out = append(out, sentence{p[0], p[1], p[2]})
	}
	return out
}

// At least 98 % of 200 sentences of each of 16 languages, from books, are told right, and of the Declaration of Human Rights in ten more.
func TestDetect(t *testing.T) {
	right, all := map[string]int{}, map[string]int{}
	for _, s := range sentences(t) {
		key := s.language + " " + s.source
		all[key]++
		if got := lang.Detect(s.text); got == s.language {
			right[key]++
		} else {
			t.Logf("%s taken for %q: %s", s.language, got, s.text)
		}
	}
	books := 0
	for key, n := range all {
		share := float64(right[key]) / float64(n)
		t.Logf("measured: %s: %d of %d", key, right[key], n)
		require.GreaterOrEqual(t, share, 0.98, key)
		if strings.HasSuffix(key, "book") {
			require.Equal(t, 200, n)
			books++
		}
	}
	require.Equal(t, 16, books)
	require.Len(t, all, 27)
}

func byLanguage(t testing.TB) (map[string][]string, []string) {
	by := map[string][]string{}
	for _, s := range sentences(t) {
		by[s.language] = append(by[s.language], s.text)
	}
	languages := lang.Languages()
	require.Len(t, languages, len(by))
	return by, languages
}

func words(text string) int {
	n := 0
	for _, c := range lang.Count(text) {
		n += c
	}
	return n
}

// The share found in texts spliced of two languages, sentence by sentence, is within 0.05 of the one constructed.
func TestShareOfSplicedTexts(t *testing.T) {
	by, languages := byLanguage(t)
	r := rand.New(rand.NewPCG(1, 2))
	size := map[string]int{} // words of each sentence
	for _, texts := range by {
		for _, s := range texts {
			size[s] = words(s)
		}
	}
	worst, total, n := 0.0, 0.0, 0
	for i, a := range languages {
		for _, b := range languages[:i] {
			var text []string
			inA, all := 0, 0
			part := r.Float64() // of a, about
			for range 20 {
				l := b
				if r.Float64() < part {
					l = a
				}
				s := by[l][r.IntN(len(by[l]))]
				text = append(text, s)
				all += size[s]
				if l == a {
					inA += size[s]
				}
			}
			counts, found := lang.Count(strings.Join(text, " ")), 0
			for _, k := range counts {
				found += k
			}
			require.Equal(t, all, found)
			for l, in := range map[string]int{a: inA, b: all - inA} {
				off := math.Abs(float64(counts[l]-in) / float64(all))
				worst, total, n = max(worst, off), total+off, n+1
				require.LessOrEqual(t, off, 0.05, "%s in a text of %s and %s", l, a, b)
			}
		}
	}
	t.Logf("measured: %d shares of two languages, off by %.4f on average, %.4f at worst", n, total/float64(n), worst)
}

// A language change inside sentences is found too, if less exactly.
func TestShareWithinSentences(t *testing.T) {
	by, _ := byLanguage(t)
	r := rand.New(rand.NewPCG(3, 4))
	for _, pair := range [][2]string{{"en", "de"}, {"en", "zh"}, {"fr", "es"}, {"ru", "en"}, {"ja", "zh"}, {"it", "vi"}} {
		var text []string
		inA, all := 0, 0
		for i := range 120 {
			l := pair[i%2]
			f := strings.Fields(by[l][r.IntN(len(by[l]))])
			s := strings.TrimRight(strings.Join(f[:min(len(f), 8)], " "), ".!?")
			k := words(s)
			all += k
			if l == pair[0] {
				inA += k
			}
			text = append(text, s)
		}
		got, _ := lang.Share(strings.Join(text, " "), pair[0])
		want := float64(inA) / float64(all)
		t.Logf("measured: %v: %.3f of %.3f", pair, got, want)
		require.InDelta(t, want, got, 0.1, "%v", pair)
	}
}

// noise is what a reasoning holds beside prose.
var noise = []string{
	"\n```python\ndef solve(numbers):\n    # the sum of all numbers that are even\n    total = 0\n    for x in numbers:\n        if x % 2 == 0:\n            total += x\n    return total\nprint(solve([1, 2, 3]))\n```\n",
	"\n```go\nfunc main() {\n\tfor i := 0; i < 10; i++ {\n\t\tfmt.Println(i)\n\t}\n}\n```\n",
	"\nint main(void) {\n  int total = 0;\n  return total;\n}\n",
	" $x^2 + y^2 = \\frac{a}{b} \\cdot \\sin(\\theta)$ ",
	"\n\\[ \\sum_{i=1}^{n} i = \\frac{n(n+1)}{2} \\]\n",
	"\n$$\\begin{aligned} a &= b + c \\\\ d &= e \\end{aligned}$$\n",
	" `total_sum = max(a, b)` ",
	" https://example.org/some/english/words?query=the+answer ",
	" 3x + 4y = 17 ",
	" f(x)=2x+1 ",
	" max_value, someIdentifier, obj.method(arg) ",
	"\nx = 3 * (4 + 5)\n",
	" 12,345.67 % ",
	" \\boxed{42} ",
	"\nreturn total_count;\n",
}

// Code and formulas move nothing: the counts are those of the prose alone, in every language.
func TestCodeAndFormulasDoNotCount(t *testing.T) {
	by, languages := byLanguage(t)
	for _, l := range languages {
		plain := strings.Join(by[l][:15], "\n")
		want := lang.Count(plain)
		for _, extra := range noise {
			var b strings.Builder
			for _, s := range by[l][:15] {
				b.WriteString(s + "\n" + extra + "\n")
			}
			require.Equal(t, want, lang.Count(b.String()), "%s with %q", l, extra)
		}
	}
}

func consistency(t *testing.T, target, reasoning string) float64 {
	f := lang.Consistency(lang.Fixed(target))
	r := reward.Evaluate(context.Background(), f, reward.Sample{Completion: "<think>" + reasoning + "</think><answer>x</answer>"})
	require.NoError(t, r.Err)
	v, ok := r.Score.Value()
	require.True(t, ok)
	return v
}

// Each trick would pay against a plain count of words; see plainShare.
func TestConsistencyCannotBeFooled(t *testing.T) {
	by, _ := byLanguage(t)
	chinese := strings.Join(by["zh"][:30], "")
	german := strings.Join(by["de"][:15], " ")
	english := strings.Join(by["en"][:15], " ")
	plainShare := func(text string) float64 { // words that are English function words or look Latin, of those outside marks
		outside := strings.Join(slices.DeleteFunc(strings.Split(text, "```"), func(s string) bool { return strings.HasPrefix(s, "\n") }), " ")
		latin, all := 0, 0
		for _, w := range strings.Fields(outside) {
			all++
			if w[0] < 128 {
				latin++
			}
		}
		return float64(latin) / float64(max(all, 1))
	}
	for name, text := range map[string]string{
		"filler repeated":        chinese + strings.Repeat(" the the the the the the the", 200),
		"a line repeated":        chinese + strings.Repeat("\nso we think about it", 200),
		"prose in a fence":       "so\n```\n" + chinese + "\n```\n",
		"an open fence":          "so\n```\n" + chinese,
		"one English word":       "so " + chinese,
		"another Latin language": german,
	} {
		require.Greater(t, plainShare(text), 0.3, "%s: works against a plain count", name)
		require.Less(t, consistency(t, "en", text), 0.1, name)
	}
	require.Equal(t, 0.0, consistency(t, "en", ""), "silence")
	require.Equal(t, 0.0, consistency(t, "en", "$x = 1$"), "nothing but a formula")
	require.Greater(t, consistency(t, "en", english), 0.98)
	require.Less(t, consistency(t, "en", "so $"+chinese+"$"), 0.1, "prose as a formula")
	require.Less(t, consistency(t, "en", "so `"+chinese+"`"), 0.1, "prose as code")
	require.Less(t, consistency(t, "en", "so "+strings.ReplaceAll(chinese, "，", "_x_")), 0.1, "signs between the words")
}

func TestConsistencyTargets(t *testing.T) {
	f := lang.Consistency(lang.OfPrompt(func(p reward.Problem) string { return p.Columns["question"].(string) }))
	s := reward.Sample{Problem: reward.Problem{Prompt: "User: ..", Columns: map[string]any{"question": "Quanto fa la somma di due e due?"}}, Completion: "<think>Allora, la somma di due e due è quattro.</think>4"}
	v, _ := reward.Evaluate(context.Background(), f, s).Score.Value()
	require.Equal(t, 1.0, v)
	r := reward.Evaluate(context.Background(), lang.Consistency(lang.Fixed("klingon")), s)
	require.ErrorContains(t, r.Err, "klingon")
	_, ok := r.Score.Value()
	require.False(t, ok)
}

func FuzzCount(f *testing.F) {
	f.Add("The ```x``` $a$ 我们 кот")
	f.Fuzz(func(t *testing.T, text string) {
		for l, n := range lang.Count(text) {
			require.Positive(t, n, l)
		}
	})
}

func BenchmarkCount(b *testing.B) {
	var all []string
	for _, s := range sentences(b) {
		if s.language == "en" || s.language == "zh" {
			all = append(all, s.text)
		}
	}
	text := strings.Join(all, "\n")
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		lang.Count(text)
	}
}

func ExampleShare() {
	share, words := lang.Share("We add the two numbers: $2+2$. 然后我们得到四。", "en")
	fmt.Printf("%.2f of %d words\n", share, words)
	// Output: 0.42 of 12 words
}
