package toy

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
)

// Kind is one of the three tasks.
type Kind int

// The tasks: chained sums, letters in a word, the greater of two decimals.
const (
	Chain Kind = iota
	Letter
	Decimal
	Kinds = 3
)

// String names the task.
func (k Kind) String() string { return [...]string{"chain", "letter", "decimal"}[k] }

// Split says what a question may be used for. It depends on the question's key alone, so the splits do not meet.
type Split int

// The splits: seven tenths of all keys may appear in the corpus, two are asked during RL, one is only tested.
const (
	Corpus Split = iota
	RL
	HeldOut
)

// Question is one problem with its right answer.
type Question struct {
	Kind   Kind
	Text   string // as asked
	Answer string

	states []string // chain: the expression after each step, the answer last
	word   string   // letter
	letter byte
	a, b   string // decimal, as written
}

// The post's own two questions, held out.
var (
	Strawberry = letterQuestion("strawberry", 'r')
	Greater    = decimalQuestion("9.11", "9.8")
)

// splitOf is the split of a key.
func splitOf(key string) Split {
	if key == "strawberry" || key == "9.11 9.8" {
		return HeldOut
	}
	sum := sha256.Sum256([]byte(key))
	switch n := binary.LittleEndian.Uint64(sum[:]) % 10; {
	case n < 7:
		return Corpus
	case n < 9:
		return RL
	}
	return HeldOut
}

// key identifies what must not leak: the chain's expression, the word, the unordered pair.
func (q Question) key() string {
	switch q.Kind {
	case Chain:
		return strings.TrimSuffix(q.Text, "=?")
	case Letter:
		return q.word
	}
	if q.a < q.b {
		return q.a + " " + q.b
	}
	return q.b + " " + q.a
}

// Split is the question's split.
func (q Question) Split() Split { return splitOf(q.key()) }

// leaks tells that working the question out would write a held-out chain on the way.
func (q Question) leaks() bool {
	if q.Kind != Chain {
		return false
	}
	for _, s := range q.states {
		if strings.Count(s, "+")+strings.Count(s, "-") >= minTerms && splitOf(s) == HeldOut {
			return true
		}
	}
	return false
}

// Prompt is R1-Zero's template in miniature: the model must open <think> itself.
func (q Question) Prompt() string { return Prompt(q.Text) }

// Prompt puts any question into the template.
func Prompt(question string) string { return "<bos>User: " + question + "\nAssistant: " }

// Steps is the small-step solution, what good thinking looks like.
func (q Question) Steps() string {
	switch q.Kind {
	case Chain:
		return strings.Join(q.states, "=")
	case Letter:
		return q.countLetters()
	}
	return q.pad() + q.compare()
}

// FirstStep is the beginning of Steps that "forced" evaluation gives away.
func (q Question) FirstStep() string {
	switch q.Kind {
	case Chain:
		return q.states[0] + "="
	case Letter:
		s := q.countLetters()
		return s[:strings.IndexByte(s, '1')+1]
	}
	return q.pad()
}

const (
	minTerms = 3 // signs of a chain
	maxTerms = 5
	maxTotal = 60
)

func newChain(r *rand.Rand) Question {
	for {
		total := 3 + r.IntN(38)
		terms := minTerms + r.IntN(maxTerms-minTerms+1)
		first, values := total, make([]int, terms)
		ok := true
		for i := range values {
			values[i] = 1 + r.IntN(9)
			if r.IntN(2) == 0 {
				values[i] = -values[i]
			}
			if total += values[i]; total < 0 || total > maxTotal {
				ok = false
				break
			}
		}
		if ok {
			return chainQuestion(first, values)
		}
	}
}

func chainQuestion(first int, values []int) Question {
	q := Question{Kind: Chain, Text: Expression(first, values) + "=?"}
	total := first
	for i, v := range values {
		total += v
		q.states = append(q.states, Expression(total, values[i+1:]))
	}
	q.Answer = strconv.Itoa(total)
	return q
}

// Expression is a chain of additions and subtractions as it is written: 12-3+4.
func Expression(first int, values []int) string {
	b := []byte(strconv.Itoa(first))
	for _, v := range values {
		if v >= 0 {
			b = append(b, '+')
		}
		b = strconv.AppendInt(b, int64(v), 10)
	}
	return string(b)
}

func newLetter(r *rand.Rand) Question {
	word := invent(r)
	if r.IntN(100) < 15 {
		word = realWords[r.IntN(len(realWords))]
	}
	at := r.IntN(len(word))
	for i := 1; i < len(word); i++ { // double letters are asked for more often
		if word[i] == word[i-1] && r.IntN(2) == 0 {
			at = i
		}
	}
	return letterQuestion(word, word[at])
}

func letterQuestion(word string, letter byte) Question {
	return Question{
		Kind: Letter, Text: fmt.Sprintf("How many %c in %s?", letter, word), Answer: strconv.Itoa(strings.Count(word, string(letter))), word: word, letter: letter,
	}
}

// countLetters copies the word and writes the running count after each hit: str1awber2r3y.
func (q Question) countLetters() string {
	var b []byte
	n := 0
	for i := range len(q.word) {
		b = append(b, q.word[i])
		if q.word[i] == q.letter {
			n++
			b = strconv.AppendInt(b, int64(n), 10)
		}
	}
	return string(b)
}

// invent makes a word of 4 to 11 letters from syllables, with many double letters.
func invent(r *rand.Rand) string {
	const consonants, vowels = "bcdfghklmnprstvw", "aeiou"
	want := 4 + r.IntN(8)
	var b []byte
	for len(b) < want {
		c := consonants[r.IntN(len(consonants))]
		b = append(b, c)
		if r.IntN(5) == 0 {
			b = append(b, c)
		} else if r.IntN(4) == 0 {
			b = append(b, "rlnh"[r.IntN(4)])
		}
		v := vowels[r.IntN(len(vowels))]
		b = append(b, v)
		if r.IntN(6) == 0 {
			b = append(b, v)
		}
		if r.IntN(3) == 0 {
			b = append(b, "nrstk"[r.IntN(5)])
		}
	}
	return string(b[:want])
}

func newDecimal(r *rand.Rand) Question {
	for {
		i := 1 + r.IntN(12)
		j := i
		if r.IntN(10) < 3 {
			j = 1 + r.IntN(12)
		}
		number := func(whole int) string {
			if r.IntN(2) == 0 {
				return fmt.Sprintf("%d.%d", whole, 1+r.IntN(9))
			}
			return fmt.Sprintf("%d.%d%d", whole, r.IntN(10), 1+r.IntN(9))
		}
		a, b := number(i), number(j)
		if hundredths(a) != hundredths(b) {
			return decimalQuestion(a, b)
		}
	}
}

func decimalQuestion(a, b string) Question {
	q := Question{Kind: Decimal, Text: "Which is greater, " + a + " or " + b + "?", Answer: a, a: a, b: b}
	if hundredths(b) > hundredths(a) {
		q.Answer = b
	}
	return q
}

// hundredths is the value of a decimal with one or two places, times 100.
func hundredths(s string) int {
	whole, places, _ := strings.Cut(padded(s), ".")
	w, _ := strconv.Atoi(whole)
	p, _ := strconv.Atoi(places)
	return 100*w + p
}

func padded(s string) string {
	if len(s)-strings.IndexByte(s, '.') == 2 {
		return s + "0"
	}
	return s
}

// pad writes both numbers with two places: "9.11 9.80 ".
func (q Question) pad() string { return padded(q.a) + " " + padded(q.b) + " " }

// compare writes the parts that decide, both digits at once: "11<80".
func (q Question) compare() string {
	x, xp, _ := strings.Cut(padded(q.a), ".")
	y, yp, _ := strings.Cut(padded(q.b), ".")
	if x == y {
		x, y = xp, yp
	}
	if hundredths(q.a) < hundredths(q.b) {
		return x + "<" + y
	}
	return x + ">" + y
}

// newQuestion draws one question of a kind, of the wanted split, that leaks no held-out chain.
func newQuestion(r *rand.Rand, kind Kind, split Split) Question {
	for {
		var q Question
		switch kind {
		case Chain:
			q = newChain(r)
		case Letter:
			q = newLetter(r)
		default:
			q = newDecimal(r)
		}
		if q.Split() == split && (split == HeldOut || !q.leaks()) {
			return q
		}
	}
}

// pickKind draws a task with the given shares in percent of chain and letter.
func pickKind(r *rand.Rand, chain, letter int) Kind {
	switch n := r.IntN(100); {
	case n < chain:
		return Chain
	case n < chain+letter:
		return Letter
	}
	return Decimal
}

// Questions draws n questions of a split: half chains, three tenths letters, two tenths decimals. The same arguments give
// the same questions; within a call none repeats.
func Questions(split Split, seed uint64, n int) []Question {
	r := rand.New(rand.NewPCG(seed, 0x7175657374)) // the second word names the stream
	seen, out := map[string]bool{}, make([]Question, 0, n)
	for len(out) < n {
		q := newQuestion(r, pickKind(r, 50, 30), split)
		if !seen[q.Text] {
			seen[q.Text] = true
			out = append(out, q)
		}
	}
	return out
}

var realWords = strings.Fields(`apple banana cherry orange lemon melon papaya mango carrot potato tomato pepper onion garlic butter coffee cookie
	pudding pizza noodle waffle muffin pretzel bottle kettle saucer spoon window mirror curtain carpet pillow blanket ladder hammer
	needle button zipper pocket jacket slipper mitten sweater collar summer winter autumn thunder lightning rainbow meadow forest river
	valley hill mountain desert island harbor kitten puppy rabbit squirrel otter beaver parrot raccoon giraffe buffalo mosquito butterfly
	grasshopper letter pencil paper scissors school teacher lesson question answer committee balloon tennis soccer hockey puzzle guitar
	trumpet mississippi strawberry blueberry raspberry`)
