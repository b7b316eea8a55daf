// Package bilingual is a toy world in two languages: the same questions are asked and worked out in English and in Chinese, and its
// writers mix the two as bilingual people do. It is where the whole of R1's recipe can be watched: RL alone keeps the mixing, a cold
// start and the language reward end it.
package bilingual

import (
	"crypto/sha256"
	"encoding/binary"
	"math/rand/v2"
	"strconv"
	"strings"
	"unicode"

	"github.com/gor1/gor1/internal/toy"
	"github.com/gor1/gor1/reward"
)

// Tongue is a language.
type Tongue int

// The two languages.
const (
	English Tongue = iota
	Chinese
)

// Domain is what a question is about. The first two need reasoning, the others do not.
type Domain int

// The domains.
const (
	Chain     Domain = iota // chained sums
	Letter                  // letters in a word
	Translate               // a number into the other language
	Spell                   // a word, letter by letter
	Self                    // who the assistant is
	Domains   = 5
)

// String names the domain.
func (d Domain) String() string {
	return [...]string{"chain", "letter", "translation", "writing", "self"}[d]
}

// Reasoning tells whether the domain's questions need reasoning.
func (d Domain) Reasoning() bool { return d <= Letter }

// Question is one problem with its right answer. Text, Steps and Answer are in the question's language.
type Question struct {
	Domain Domain
	Tongue Tongue
	Text   string
	Steps  string // the solution in small steps; empty where nothing is to be worked out
	First  string // the first of them
	Answer string
	key    string // what must not leak between splits: the same in both languages
}

var numerals = []rune("〇一二三四五六七八九")

// In writes the digits of a text in a language.
func (t Tongue) In(text string) string {
	return strings.Map(func(r rune) rune {
		if t == Chinese && r >= '0' && r <= '9' {
			return numerals[r-'0']
		}
		if t == English {
			if i := strings.IndexRune(string(numerals), r); i >= 0 {
				return rune('0' + i/len("一"))
			}
		}
		return r
	}, text)
}

// other is the language that is not t.
func (t Tongue) other() Tongue { return 1 - t }

// Split is the question's split: a function of its key alone, so the splits do not meet, not even across languages.
func (q Question) Split() toy.Split { return splitOf(q.key) }

func splitOf(key string) toy.Split {
	sum := sha256.Sum256([]byte(key))
	switch n := binary.LittleEndian.Uint64(sum[:]) % 10; {
	case n < 6:
		return toy.Corpus
	case n < 8:
		return toy.RL
	}
	return toy.HeldOut
}

const (
	maxTerms = 3 // signs of a chain; at least 2
	maxTotal = 30
)

// chain draws a sum of three or four numbers.
func chain(r *rand.Rand, t Tongue) (q Question, states []string) {
	for {
		total := 2 + r.IntN(18)
		ok := true
		values := make([]int, 2+r.IntN(maxTerms-1))
		sum := total
		for i := range values {
			if values[i] = 1 + r.IntN(9); r.IntN(2) == 0 {
				values[i] = -values[i]
			}
			sum += values[i]
			ok = ok && sum >= 0 && sum <= maxTotal
		}
		if !ok {
			continue
		}
		text := toy.Expression(total, values)
		for i, v := range values {
			total += v
			states = append(states, toy.Expression(total, values[i+1:]))
		}
		q = Question{Domain: Chain, Tongue: t, Text: t.In(text) + "=?", Steps: t.In(strings.Join(states, "=")), First: t.In(states[0]) + "=", Answer: t.In(strconv.Itoa(total)), key: text}
		return q, states
	}
}

// invent makes a word of 3 to 6 letters, often with double letters.
func invent(r *rand.Rand) string {
	const consonants, vowels = "bdgklmnprst", "aeiou"
	want := 3 + r.IntN(4)
	var b []byte
	for len(b) < want {
		c := consonants[r.IntN(len(consonants))]
		if b = append(b, c); r.IntN(3) == 0 {
			b = append(b, c)
		}
		b = append(b, vowels[r.IntN(len(vowels))])
	}
	return string(b[:want])
}

// letter asks how often a letter is in a word; the steps copy the word and count after each hit.
func letter(r *rand.Rand, t Tongue) Question {
	word := invent(r)
	c := word[r.IntN(len(word))]
	for i := 1; i < len(word); i++ {
		if word[i] == word[i-1] && r.IntN(2) == 0 {
			c = word[i]
		}
	}
	var steps []byte
	n, first := 0, 0
	for i := range len(word) {
		if steps = append(steps, word[i]); word[i] == c {
			n++
			steps = strconv.AppendInt(steps, int64(n), 10)
			if n == 1 {
				first = len(steps)
			}
		}
	}
	text := "How many " + string(c) + " in " + word + "?"
	if t == Chinese {
		text = word + "有几个" + string(c) + "?"
	}
	return Question{Domain: Letter, Tongue: t, Text: text, Steps: t.In(string(steps)), First: t.In(string(steps[:first])), Answer: t.In(strconv.Itoa(n)), key: word}
}

// general draws a question of a domain without reasoning.
func general(r *rand.Rand, d Domain, t Tongue) Question {
	q := Question{Domain: d, Tongue: t}
	switch d {
	case Translate:
		n := strconv.Itoa(r.IntN(1000))
		q.Text, q.Answer, q.key = n+" in chinese?", Chinese.In(n), "translate "+n
		if t == Chinese {
			q.Text, q.Answer = Chinese.In(n)+"的英文?", n
		}
	case Spell:
		word := invent(r)
		q.Text, q.Answer, q.key = "spell "+word, strings.Join(strings.Split(word, ""), "-"), word
		if t == Chinese {
			q.Text = "拼写" + word
		}
	default:
		ask := [][]string{{"who are you?", "who r u?", "what are you?", "you are?"}, {"你是谁?", "谁是你?", "你是?", "你叫?"}}[t]
		i := r.IntN(len(ask))
		q.Text, q.Answer, q.key = ask[i], []string{"i am r1", "我是r一"}[t], "self "+strconv.Itoa(i)
	}
	return q
}

// draw draws a question of a domain and split that leaks no held-out chain on the way.
func draw(r *rand.Rand, d Domain, split toy.Split) Question {
	for {
		t := Tongue(0)
		if r.IntN(100) < 40 {
			t = Chinese
		}
		switch d {
		case Chain:
			q, states := chain(r, t)
			if q.Split() != split || split != toy.HeldOut && leaks(states) {
				continue
			}
			return q
		case Letter:
			if q := letter(r, t); q.Split() == split {
				return q
			}
		default:
			if q := general(r, d, t); q.Split() == split || d == Self {
				return q
			}
		}
	}
}

func leaks(states []string) bool {
	for _, s := range states {
		if strings.Count(s, "+")+strings.Count(s, "-") >= 2 && splitOf(s) == toy.HeldOut {
			return true
		}
	}
	return false
}

// Questions draws n questions of a split, from the given domains in turn. The same arguments give the same questions; within a call
// no question that needs reasoning repeats.
func Questions(split toy.Split, seed uint64, n int, domains ...Domain) []Question {
	r := rand.New(rand.NewPCG(seed, 0x62696c696e67))
	seen, out := map[string]bool{}, make([]Question, 0, n)
	for len(out) < n {
		q := draw(r, domains[len(out)%len(domains)], split)
		if !q.Domain.Reasoning() || !seen[q.Text] {
			seen[q.Text] = true
			out = append(out, q)
		}
	}
	return out
}

// Prompt is the question in the template; the model opens <think> itself.
func (q Question) Prompt() string { return "<bos>User: " + q.Text + "\nAssistant: " }

// Problem is the question as rewards see it.
func (q Question) Problem() reward.Problem {
	return reward.Problem{ID: q.Text, Prompt: q.Prompt(), Answer: q.Answer, Columns: map[string]any{"domain": q.Domain, "tongue": q.Tongue}}
}

// Problems are the questions' problems.
func Problems(qs []Question) []reward.Problem {
	ps := make([]reward.Problem, len(qs))
	for i, q := range qs {
		ps[i] = q.Problem()
	}
	return ps
}

// Summary is how R1 tells the answer after its reasoning, in the question's language.
func (q Question) Summary() string { return summaries[q.Tongue] + q.Answer }

var summaries = [...]string{"the answer is ", "答案是"}

// Readable is a worked answer in R1's own pattern: the reasoning in the question's language, then a summary. A question without
// reasoning is answered at once.
func (q Question) Readable() string {
	if !q.Domain.Reasoning() {
		return "<think></think>" + q.Answer
	}
	return "<think>" + q.Steps + "</think>" + q.Summary()
}

// han tells whether a character is of the second language.
func han(r rune) bool { return unicode.Is(unicode.Han, r) || r == '〇' }
