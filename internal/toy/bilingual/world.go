package bilingual

import (
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/gor1/gor1/internal/toy"
	"github.com/gor1/gor1/model"
)

var vocabulary = append([]string{
	"<bos>", "<eos>", "<think>", "</think>", "<answer>", "</answer>", "User: ", "\nAssistant: ", "Q: ", "\nA: ", "How many ", " in ",
	" so ", "easy", "i guess ", "\n", "the answer is ", "答案是", "有几个", "chinese", "的英文", "spell ", "拼写", "所以", "我猜", "who", "what", " are ", "you",
	"i am ", "你", "是", "谁", "叫", "我", "gladly, ", "好的,",
}, strings.Split("abcdefghijklmnopqrstuvwxyz0123456789〇一二三四五六七八九+-=?<>, :", "")...)

// Codec is the world's tokenizer.
var Codec = toy.NewTable(vocabulary)

// Ids are a document's tokens: <bos>, text, <eos>. The text must be of this world.
func Ids(text string) []int32 {
	ids, err := Codec.Encode(text)
	if err != nil {
		panic(err) // this package wrote it
	}
	return append(append([]int32{toy.BOS}, ids...), toy.EOS)
}

// config is a model of the world of a width, with heads of a size.
func config(width, layers, ff, head int) model.Config {
	c := toy.BaseConfig()
	c.VocabSize, c.HiddenSize, c.Layers, c.IntermediateSize, c.Heads, c.HeadDim = Codec.Size(), width, layers, ff, width/head, head
	return c
}

// Base is the world of the base model, 135,360 parameters.
func Base() toy.World {
	return toy.World{Config: config(64, 3, 160, 32), Vocabulary: vocabulary, Document: func(r *rand.Rand) []int32 { return Ids(document(r)) }}
}

// Small is the world of the student: the same web, a model of half the size.
func Small() toy.World {
	w := Base()
	w.Config = config(48, 3, 120, 16)
	return w
}

// Pretraining is how the base learns; share scales what it reads.
func Pretraining(seed uint64, tokens int) toy.Pretraining {
	return toy.Pretraining{Seed: seed, Cycles: []toy.Cycle{{Tokens: tokens, LearningRate: 4e-3}}, StepTokens: 900, Beta1: 0.9, Beta2: 0.95, Decay: 0.1, Version: 1}
}

// Shares of the synthetic web, in percent.
const (
	textbookShare = 34 // of documents: no question is asked
	quoteShare    = 8  // the question is repeated and answered at once
	generalShare  = 12 // questions that need no reasoning
	// the rest asks for reasoning

	directShare = 60 // of those: the answer without any work
	// the rest takes small steps, of which
	pureShare   = 50 // are in the question's language
	switchShare = 28 // begin in it and go over to the other half-way
	// the rest is in the other language

	directRight = 35 // answers without work that are right
	forumShare  = 20 // of questions: Q and A; the rest is User and Assistant
)

// document draws one document.
func document(r *rand.Rand) string {
	d := Domain(Chain)
	if r.IntN(100) < 40 {
		d = Letter
	}
	switch n := r.IntN(100); {
	case n < textbookShare:
		return textbook(r)
	case n < textbookShare+quoteShare:
		q := draw(r, d, toy.Corpus)
		return "Q: " + q.Text + "\n> " + q.Text + "\nA: " + q.hasty(r)
	case n < textbookShare+quoteShare+generalShare:
		q := draw(r, Translate+Domain(r.IntN(3)), toy.Corpus)
		answer := q.Answer
		if q.Domain == Self { // people have names
			answer = []string{"i am ", "我是"}[q.Tongue] + invent(r)
		}
		return layOut(r, q, "", answer)
	}
	q := draw(r, d, toy.Corpus)
	if r.IntN(100) < directShare {
		return layOut(r, q, "", q.hasty(r))
	}
	answer := q.Answer
	if r.IntN(4) == 0 {
		answer = q.Tongue.other().In(answer)
	}
	return layOut(r, q, q.mixed(r), answer)
}

// textbook draws a page without a question: sums, worked lines, numbers in both languages.
func textbook(r *rand.Rand) string {
	var lines []string
	t := Tongue(r.IntN(2))
	switch r.IntN(5) {
	case 0, 1:
		for range 3 + r.IntN(4) {
			total, v := r.IntN(maxTotal), 1+r.IntN(9)
			if r.IntN(2) == 0 && v <= total {
				v = -v
			}
			lines = append(lines, t.In(toy.Expression(total, []int{v})+"="+strconv.Itoa(total+v)))
		}
	case 2:
		for range 2 + r.IntN(3) {
			n := strconv.Itoa(r.IntN(100))
			lines = append(lines, t.In(n)+"="+t.other().In(n))
		}
	default:
		for range 1 + r.IntN(2) {
			q := draw(r, Domain(r.IntN(2)), toy.Corpus)
			line := q.Steps
			if q.Domain == Chain {
				line = strings.TrimSuffix(q.Text, "?") + line
			}
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}

// hasty is an answer without work.
func (q Question) hasty(r *rand.Rand) string {
	if r.IntN(100) < directRight {
		return q.Answer
	}
	right, _ := strconv.Atoi(English.In(q.Answer))
	wrong := right + 1 + r.IntN(3)
	if r.IntN(2) == 0 && right > 1 {
		wrong = right - 1
	}
	return q.Tongue.In(strconv.Itoa(wrong))
}

// mixed is work in small steps as bilingual people write it: in the question's language, in the other, or in both.
func (q Question) mixed(r *rand.Rand) string {
	switch n := r.IntN(100); {
	case n < pureShare:
		return q.Steps
	case n >= pureShare+switchShare:
		return q.Tongue.other().In(q.Steps)
	}
	steps := []rune(q.Steps)
	at := 1 + r.IntN(len(steps)-1)
	if eq := strings.IndexByte(q.Steps, '='); eq > 0 { // a chain is switched at a sign of equality
		at = len([]rune(q.Steps[:eq]))
	}
	return string(steps[:at]) + q.Tongue.other().In(string(steps[at:]))
}

// layOut writes question, work and answer the way some page does.
func layOut(r *rand.Rand, q Question, work, answer string) string {
	so := answer
	if work != "" {
		so = work + []string{" so ", "所以"}[q.Tongue] + answer
	}
	if r.IntN(100) < forumShare {
		return "Q: " + q.Text + "\nA: " + so
	}
	if work == "" {
		work = [][]string{{"", "easy", "i guess "}, {"", "", "我猜"}}[q.Tongue][r.IntN(3)]
	}
	text := "User: " + q.Text + "\nAssistant: "
	switch n := r.IntN(100); {
	case n < 60:
		return text + "<think>" + work + "</think><answer>" + answer + "</answer>"
	case n < 72:
		return text + "<answer>" + answer + "</answer>"
	case n < 82:
		return text + "<think>" + work + "</think>" + answer
	case n < 90:
		return text + "<think>" + work + "<answer>" + answer + "</answer>"
	}
	return text + so
}
