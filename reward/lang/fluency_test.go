package lang_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/reward"
	"github.com/gor1/gor1/reward/lang"
)

func fluency(t *testing.T, text string) float64 {
	r := reward.Evaluate(context.Background(), lang.Fluency, reward.Sample{Completion: text})
	require.NoError(t, r.Err)
	v, ok := r.Score.Value()
	require.True(t, ok)
	return v
}

// Defects planted in prose of 16 languages, one kind at a time.
var defects = map[string]func(r *rand.Rand, sentences []string) string{
	"a sentence again and again": func(r *rand.Rand, s []string) string {
		return strings.Join(s, " ") + strings.Repeat(" "+s[r.IntN(len(s))], 4)
	},
	"a foreign script": func(_ *rand.Rand, s []string) string {
		return strings.Join(s, " ") + " ქართული ენა არის ძალიან ლამაზი და ძველი ენა რომელიც კავკასიაში იხმარება დღესაც."
	},
	"broken bytes": func(r *rand.Rand, s []string) string {
		return replaceWords(r, s, func(w string) string { return w + "\uFFFD" })
	},
	"digits inside words": func(r *rand.Rand, s []string) string {
		return replaceWords(r, s, func(w string) string { c := []rune(w); return string(c[:1]) + "3" + string(c[1:]) })
	},
	"no end": func(_ *rand.Rand, s []string) string {
		return strings.Repeat(regexp.MustCompile(`[.!?…。！？؟।;；:]+`).ReplaceAllString(strings.Join(s, " "), " "), 1)
	},
}

// spaced are languages with spaces between words, so that the defects of words show.
const spaced = "ar cs de el en es fr hu ko nl pl ro ru uk"

func replaceWords(r *rand.Rand, sentences []string, change func(string) string) string {
	words := strings.Fields(strings.Join(sentences, " "))
	for planted := 0; planted < 8; {
		i := r.IntN(len(words))
		if w := strings.Trim(words[i], ".,!?;:"); len([]rune(w)) > 1 && firstIsLetter(w) {
			words[i] = change(w)
			planted++
		}
	}
	return strings.Join(words, " ")
}

func firstIsLetter(w string) bool {
	return unicode.IsLetter([]rune(w)[0]) && unicode.IsLetter([]rune(w)[1])
}

// Fluency falls with each of 100 planted defects of every kind, from 0.9 or more.
func TestFluencyFallsWithDefects(t *testing.T) {
	by, _ := byLanguage(t)
	r := rand.New(rand.NewPCG(5, 6))
	languages := strings.Fields(spaced)
	for name, plant := range defects {
		lowest, fall := 1.0, 0.0
		for i := range 100 {
			l := languages[i%len(languages)]
			from := r.IntN(len(by[l]) - 12)
			s := by[l][from : from+12]
			clean := fluency(t, strings.Join(s, " "))
			lowest = min(lowest, clean)
			require.GreaterOrEqual(t, clean, 0.9, "%s: %v", l, s)
			text := plant(r, s)
			worse := fluency(t, text)
			require.Less(t, worse, clean, "%s in %s: %s", name, l, text)
			fall += clean - worse
		}
		t.Logf("measured: %s: from %.2f or more, by %.2f on average", name, lowest, fall/100)
	}
	// letters that only look right, and words without vowels, in English
	text := strings.Join(by["en"][:12], " ")
	require.Less(t, fluency(t, strings.NewReplacer("the", "th\u0435", "and", "\u0430nd").Replace(text)), 0.7)
	require.Less(t, fluency(t, text+" strngthn wtht vwls bttrmnt rhthmcl nnsns sdfghj kjhgfds"), fluency(t, text))
	require.Less(t, fluency(t, text+" heeeeelp meeee pleaaaase stoppppp"), fluency(t, text))
	require.Less(t, fluency(t, strings.Repeat("wait, ", 300)), 0.05, "a loop")
	require.Equal(t, 0.0, fluency(t, "<think></think><answer>42</answer>"), "no prose")
}

func TestFluencyOfCleanProse(t *testing.T) {
	by, languages := byLanguage(t)
	for _, l := range languages {
		for from := 0; from+10 <= len(by[l]); from += 10 {
			v := fluency(t, strings.Join(by[l][from:from+10], "\n"))
			require.GreaterOrEqual(t, v, 0.75, "%s: %s", l, fmt.Sprint(by[l][from:from+10]))
		}
	}
	text := strings.Join(by["en"][:12], "\n")
	code := "\n```python\nfor x in range(10):\n    print(x_1, my2var)\n```\n so $x_1 = \\frac{a}{b}$"
	require.InDelta(t, fluency(t, text), fluency(t, text+code), 0.02, "code and formulas are no prose")
}
