package lang

import (
	"context"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/gor1/gor1/reward"
)

// Faults are shares of a text's words, 0 to 1: what [Fluency] counts against it.
type Faults struct {
	Repeated float64 // words in runs of four said before
	Broken   float64 // no shape of a word: letters of two scripts, digits or capitals inside, a letter four times in a row, no vowel, longer than 35
	Mixed    float64 // not in the script of most words
	Endless  float64 // beyond the sixtieth word of a sentence
}

// Fluency is the product over four faults ([FaultsOf] the whole completion) of 1 - weight x share, at least 0: repetition (weight 1), broken words (5),
// mixed script (1), endless sentences (1). Without a word it is 0. It reads shapes only: it knows no grammar and no dictionary.
var Fluency = reward.Named("fluency", func(_ context.Context, s reward.Sample) (reward.Score, error) {
	f, ok := FaultsOf(s.Completion)
	if !ok {
		return reward.Scored(0), nil
	}
	v := 1.0
	for _, x := range []struct{ weight, share float64 }{{1, f.Repeated}, {5, f.Broken}, {1, f.Mixed}, {1, f.Endless}} {
		v *= max(0, 1-x.weight*x.share)
	}
	return reward.Scored(v), nil
})

// gram is how many words in a row make a repetition.
const gram = 4

// maxSentence is how many words a sentence may have.
const maxSentence = 60

var (
	sentenceEnd = regexp.MustCompile(`[.!?…。！？؟।;；:]+|\n+`)
	insideWord  = regexp.MustCompile(`\p{L}\d+\p{L}|\p{Ll}\p{Lu}\p{Ll}*\p{Lu}|\p{Ll}\p{Lu}+\p{Ll}|\x{FFFD}`)
	vowel       = regexp.MustCompile(`(?i)[aeiouyàáâãäåæèéêëìíîïòóôõöøœùúûüýÿąęıăőűůě]|[\x{1EA0}-\x{1EF9}]|[đơư]`)
)

// FaultsOf measures a text's prose; false where it has no words. Code, mathematics and markup are left out.
func FaultsOf(text string) (Faults, bool) {
	prose := withoutMarks(text)
	var all []string
	var f Faults
	byScript := map[int]int{}
	for _, sentence := range sentenceEnd.Split(prose, -1) {
		words := reward.Words(sentence)
		n := 0
		for _, w := range words {
			if strings.IndexFunc(w, unicode.IsLetter) < 0 {
				continue
			}
			byScript[groupOf(firstLetter(w))]++
			all = append(all, strings.TrimFunc(w, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsMark(r) }))
			n++
			if n > maxSentence && len([]rune(w)) > 1 { // a Chinese or Japanese character is not a word in this
				f.Endless++
			}
		}
		for _, w := range strings.Fields(sentence) {
			if isBroken(w) {
				f.Broken++
			}
		}
	}
	if len(all) == 0 {
		return Faults{}, false
	}
	most := 0
	for _, n := range byScript {
		most = max(most, n)
	}
	f.Mixed = 1 - float64(most)/float64(len(all))
	f.Broken /= float64(len(all))
	f.Endless /= float64(len(all))
	f.Repeated = repeated(all)
	return f, true
}

func firstLetter(w string) rune {
	r, _ := utf8.DecodeRuneInString(w[strings.IndexFunc(w, unicode.IsLetter):])
	return r
}

// repeated is the share of runs of four words that have been said before.
func repeated(words []string) float64 {
	if len(words) < 2*gram {
		return 0
	}
	seen := map[string]bool{}
	runs := len(words) - gram + 1
	for i := range runs {
		seen[strings.Join(words[i:i+gram], " ")] = true
	}
	return 1 - float64(len(seen))/float64(runs)
}

// isBroken reports that a token with letters has no shape of a word.
func isBroken(token string) bool {
	if insideWord.MatchString(token) {
		return true
	}
	letters, in, run, longest := 0, -2, 0, 0
	var last rune
	for _, c := range token {
		if !unicode.IsLetter(c) {
			run, last = 0, 0
			continue
		}
		letters++
		if c == last {
			run++
		} else {
			run = 1
		}
		last = c
		longest = max(longest, run)
		g := groupOf(c)
		if in != -2 && g != in && g <= 1 && in <= 1 { // Latin and Cyrillic look alike; others do stand together
			return true
		}
		in = g
	}
	if in == 0 && (letters > 35 || letters >= 6 && !vowel.MatchString(token)) {
		return true
	}
	return longest >= 4 && in <= 1
}
