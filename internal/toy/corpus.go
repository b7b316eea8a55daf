package toy

import (
	"math/rand/v2"
	"strconv"
	"strings"
)

// The synthetic web: textbook pages, forum pages that quote the question, and questions with answers in many styles, most of
// them hasty and often wrong. A model that has read it can work in small steps but seldom does.
//
// Shares, in percent.
const (
	textbookShare = 30 // of documents: no question is asked
	quoteShare    = 12 // forum pages that repeat the question and answer at once
	// the rest asks and answers

	directShare = 65 // of those: the answer without any work
	coarseShare = 13 // two steps at a time, or a glance
	// the rest takes small steps

	forumShare = 25 // of those: Q and A; the rest is User and Assistant
)

// How often an answer is right, in percent.
var (
	directRight = [Kinds]int{41, 22, 65}
	coarseRight = [Kinds]int{88, 80, 75}
)

// Document draws one document, without its <bos> and <eos>, and tells whether it has the RL template's full form.
func Document(r *rand.Rand) (text string, template bool) {
	switch n := r.IntN(100); {
	case n < textbookShare:
		return textbook(r), false
	case n < textbookShare+quoteShare:
		q := newQuestion(r, pickKind(r, 43, 33), Corpus)
		return "Q: " + q.Text + "\n> " + q.Text + "\nA: " + q.hasty(r), false
	}
	q := newQuestion(r, pickKind(r, 43, 33), Corpus)
	work, answer := q.attempt(r)
	return layOut(r, q.Text, work, answer)
}

func textbook(r *rand.Rand) string {
	var lines []string
	if r.IntN(100) < 35 {
		for range 3 + r.IntN(5) {
			total, v := 1+r.IntN(50), 1+r.IntN(9)
			if r.IntN(2) == 0 && v <= total {
				v = -v
			}
			lines = append(lines, Expression(total, []int{v})+"="+strconv.Itoa(total+v))
		}
		return strings.Join(lines, "\n")
	}
	for range 1 + r.IntN(2) {
		q := newQuestion(r, pickKind(r, 48, 25), Corpus)
		switch q.Kind {
		case Chain:
			lines = append(lines, q.key()+"="+q.Steps())
		case Letter:
			lines = append(lines, string(q.letter)+" in "+q.word+": "+q.Steps())
		default:
			lines = append(lines, q.Steps())
		}
	}
	return strings.Join(lines, "\n")
}

// attempt is somebody's work (perhaps none) and answer.
func (q Question) attempt(r *rand.Rand) (work, answer string) {
	switch n := r.IntN(100); {
	case n < directShare:
		return "", q.hasty(r)
	case n < directShare+coarseShare:
		return q.glance(r)
	}
	if q.Kind == Chain {
		return q.carefulChain(r)
	}
	return q.Steps(), q.Answer
}

// hasty is an answer without work.
func (q Question) hasty(r *rand.Rand) string {
	if r.IntN(100) < directRight[q.Kind] {
		return q.Answer
	}
	return q.slip(r)
}

// slip is a wrong answer of the kind people give.
func (q Question) slip(r *rand.Rand) string {
	right, _ := strconv.Atoi(q.Answer)
	switch q.Kind {
	case Chain:
		wrong := right + 1 + r.IntN(8)
		if r.IntN(2) == 0 && right > 0 {
			wrong = max(0, right-1-r.IntN(8))
		}
		return strconv.Itoa(wrong)
	case Letter: // a double letter counted once, else one too many or too few
		doubles := strings.Count(q.word, strings.Repeat(string(q.letter), 2))
		if doubles > 0 {
			return strconv.Itoa(right - doubles)
		}
		if right == 1 || r.IntN(2) == 0 {
			return strconv.Itoa(right + 1)
		}
		return strconv.Itoa(right - 1)
	}
	if q.Answer == q.a { // 9.11 taken for more than 9.8
		return q.b
	}
	return q.a
}

// glance is coarse work: two sums at once, the letters found, the numbers side by side.
func (q Question) glance(r *rand.Rand) (work, answer string) {
	right := r.IntN(100) < coarseRight[q.Kind]
	answer = q.Answer
	if !right {
		answer = q.slip(r)
	}
	switch q.Kind {
	case Chain:
		var states []string
		for i := 1; i < len(q.states)-1; i += 2 {
			states = append(states, q.states[i])
		}
		return strings.Join(append(states, answer), "="), answer
	case Letter:
		n, _ := strconv.Atoi(answer)
		return strings.Repeat(string(q.letter), n), answer
	}
	return q.a + " " + q.b, answer
}

// carefulChain works in small steps with an error in one step of fifty; half of the errors are noticed and mended.
func (q Question) carefulChain(r *rand.Rand) (work, answer string) {
	first, values := q.parse()
	var b strings.Builder
	total := first
	for i, v := range values {
		next := total + v
		if r.IntN(50) == 0 {
			off := 1 + r.IntN(2)
			if r.IntN(2) == 0 {
				b.WriteString(strconv.Itoa(next+off) + " wait, ")
			} else {
				next += off
			}
		}
		total = next
		b.WriteString(Expression(total, values[i+1:]))
		if i+1 < len(values) {
			b.WriteByte('=')
		}
	}
	return b.String(), strconv.Itoa(total)
}

// parse reads a chain's numbers back from its text.
func (q Question) parse() (first int, values []int) {
	number, sign, started := 0, 1, false
	for _, c := range q.key() + "+" {
		if c >= '0' && c <= '9' {
			number = number*10 + int(c-'0')
			continue
		}
		if !started {
			first, started = number, true
		} else {
			values = append(values, sign*number)
		}
		number, sign = 0, 1
		if c == '-' {
			sign = -1
		}
	}
	return first, values
}

// layOut writes question, work and answer the way some page does.
func layOut(r *rand.Rand, question, work, answer string) (text string, template bool) {
	so := answer
	if work != "" {
		so = work + " so " + answer
	}
	if r.IntN(100) < forumShare {
		return "Q: " + question + "\nA: " + so, false
	}
	if work == "" {
		work = []string{"", "easy", "i guess "}[r.IntN(3)]
	}
	text = "User: " + question + "\nAssistant: "
	switch n := r.IntN(100); {
	case n < 55:
		return text + "<think>" + work + "</think><answer>" + answer + "</answer>", true
	case n < 70:
		return text + "<answer>" + answer + "</answer>", false
	case n < 80:
		return text + "<think>" + work + "</think>" + answer, false
	case n < 88:
		return text + "<think>" + work + "<answer>" + answer + "</answer>", false
	}
	return text + so, false
}

// CorpusDocs draws documents as token ids, <bos> first and <eos> last, until they have at least the given number of tokens.
// templates counts those in the RL template's full form.
func CorpusDocs(seed uint64, tokens int) (docs [][]int32, templates int) {
	r := rand.New(rand.NewPCG(seed, 0x636f72707573))
	for n := 0; n < tokens; {
		text, template := Document(r)
		ids := append([]int32{BOS}, must(text)...)
		ids = append(ids, EOS)
		docs = append(docs, ids)
		n += len(ids)
		if template {
			templates++
		}
	}
	return docs, templates
}
