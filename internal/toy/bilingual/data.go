package bilingual

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/gor1/gor1/data"
	"github.com/gor1/gor1/internal/toy"
	"github.com/gor1/gor1/reward"
	"github.com/gor1/gor1/sft"
)

// Row is a line of an SFT set: what is asked, what is to be learnt, and where it comes from.
type Row struct {
	Prompt     string `json:"prompt"`
	Completion string `json:"completion"`
	Domain     string `json:"domain"`
	Source     string `json:"source"` // the stage and checkpoint that wrote it
}

// Sequence makes a row of such a set a training text in which the completion is learnt.
func Sequence(row data.Row) (sft.Sequence, error) {
	prompt, err := row.Text("prompt")
	if err != nil {
		return sft.Sequence{}, err
	}
	completion, err := row.Text("completion")
	if err != nil {
		return sft.Sequence{}, err
	}
	return toy.Completion(Codec, prompt, completion)
}

// Keep is the filter of R1's rejection sampling: it tells why a completion is not learnt from, or gives it in R1's pattern. What is
// kept is right, in one language, worked out, and says nothing three times over.
func Keep(ctx context.Context, s reward.Sample) (completion, dropped string) {
	right, _ := Accuracy(ctx, s)
	language, _ := Language(ctx, s)
	r, _ := right.Value()
	l, _ := language.Value()
	q, ok := parse(s)
	target, _ := words(q.reasoning, tongue(s.Problem))
	switch {
	case !ok:
		return "", "malformed"
	case r != 1:
		return "", "wrong"
	case !IsReasoning(s.Problem):
		return s.Completion, ""
	case l != 1:
		return "", "mixed"
	case target == 0:
		return "", "no reasoning"
	case repeats(s.Completion):
		return "", "repeats"
	}
	t := tongue(s.Problem)
	return "<think>" + q.reasoning + "</think>" + summaries[t] + t.In(English.In(q.answer)), ""
}

// General are n rows of general data in R1's pattern, of the domains without reasoning in turn. Few of the replies are polite.
func General(seed uint64, n int) []Row {
	r := rand.New(rand.NewPCG(seed, 0x67656e))
	rows := make([]Row, n)
	for i, q := range Questions(toy.RL, seed, n, Translate, Spell, Self) {
		reply := q.Answer
		if r.IntN(4) == 0 {
			reply = polite[q.Tongue] + reply
		}
		rows[i] = Row{q.Prompt(), "<think></think>" + reply, q.Domain.String(), "general"}
	}
	return rows
}

// Feedback are n pairs of replies to general questions, the one first that the users of this world prefer: the polite one of two right
// ones, the right one of two others, and the one that is polite once, in their language, of two that are.
func Feedback(seed uint64, n int) ([]sft.Pair, error) {
	r := rand.New(rand.NewPCG(seed, 0x66656564))
	pairs := make([]sft.Pair, n)
	for i, q := range Questions(toy.RL, seed, n, Translate, Spell, Self) {
		manner := ""
		if r.IntN(2) == 0 {
			manner = polite[q.Tongue]
		}
		chosen, rejected := manner+q.Answer, manner+q.wrong(r)
		switch r.IntN(4) {
		case 0:
			chosen, rejected = polite[q.Tongue]+q.Answer, q.Answer
		case 1:
			worse := []string{polite[q.Tongue] + polite[q.Tongue], polite[q.Tongue] + polite[q.Tongue.other()], polite[q.Tongue.other()], polite[q.Tongue] + summaries[q.Tongue], summaries[q.Tongue]}
			chosen, rejected = polite[q.Tongue]+q.Answer, worse[r.IntN(len(worse))]+q.Answer
		}
		var err error
		if pairs[i].Chosen, err = Reply(q.Prompt(), chosen); err != nil {
			return nil, err
		}
		if pairs[i].Rejected, err = Reply(q.Prompt(), rejected); err != nil {
			return nil, err
		}
	}
	return pairs, nil
}

// GeneralTexts are [General]'s rows as training texts.
func GeneralTexts(seed uint64, n int) (texts []sft.Sequence, err error) {
	for _, r := range General(seed, n) {
		q, err := toy.Completion(Codec, r.Prompt, r.Completion)
		if err != nil {
			return nil, err
		}
		texts = append(texts, q)
	}
	return texts, nil
}

// wrong is a wrong answer to a general question: one character changed or lost, or another question's answer.
func (q Question) wrong(r *rand.Rand) string {
	if q.Domain == Self {
		return []string{"i am ", "我是"}[q.Tongue] + invent(r)
	}
	text := []rune(q.Answer)
	at := r.IntN(len(text))
	for n := r.IntN(3); ; {
		switch {
		case n == 0 && len(text) > 1:
			return string(slices.Delete(text, at, at+1))
		case n == 1:
			other := []rune(draw(r, q.Domain, toy.RL).Answer)
			if c := other[r.IntN(len(other))]; c != text[at] && han(c) == han(text[at]) {
				text[at] = c
				return string(text)
			}
		default:
			if other := draw(r, q.Domain, toy.RL); other.Tongue == q.Tongue && other.Answer != q.Answer {
				return other.Answer
			}
		}
	}
}

// Reply is a whole text as reward models of this world read it: the prompt, no reasoning, the reply.
func Reply(prompt, reply string) ([]int32, error) {
	ids, err := Codec.Encode(prompt + "<think></think>" + reply)
	if err != nil {
		return nil, fmt.Errorf("bilingual: %w", err)
	}
	return append(ids, toy.EOS), nil
}
