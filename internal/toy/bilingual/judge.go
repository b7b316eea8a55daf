package bilingual

import (
	"context"
	"strings"

	"github.com/gor1/gor1/eval"
	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/reward"
	"github.com/gor1/gor1/sampling"
)

// response is a completion taken apart by fixed code.
type response struct {
	reasoning, answer string
	tagged            bool // R1-Zero's format; else R1's
	summary           bool // the answer is told in a sentence of the question's language
}

// parse reads R1-Zero's format or R1's, strictly.
func parse(s reward.Sample) (response, bool) {
	if s.Truncated {
		return response{}, false
	}
	if reasoning, answer, ok := reward.Parse(s.Completion); ok {
		return response{reasoning: reasoning, answer: answer, tagged: true}, true
	}
	reasoning, answer, ok := reward.ParseR1("", s.Completion)
	if !ok || strings.ContainsAny(answer, "\n") || strings.Contains(answer, "<") {
		return response{}, false
	}
	answer = strings.TrimPrefix(answer, polite[tongue(s.Problem)])
	told := strings.TrimPrefix(answer, summaries[tongue(s.Problem)])
	return response{reasoning: reasoning, answer: told, summary: told != answer}, true
}

func tongue(p reward.Problem) Tongue { t, _ := p.Columns["tongue"].(Tongue); return t }
func domain(p reward.Problem) Domain { d, _ := p.Columns["domain"].(Domain); return d }

// IsReasoning tells a row of the reasoning scenario from one of the general ones.
func IsReasoning(p reward.Problem) bool { return domain(p).Reasoning() }

// share is 1 or 0 as a score.
func share(ok bool) (reward.Score, error) {
	if ok {
		return reward.Scored(1), nil
	}
	return reward.Scored(0), nil
}

// Accuracy is 1 for the right answer, in whichever language's digits where the question is one of reasoning.
var Accuracy = reward.Named("accuracy", func(_ context.Context, s reward.Sample) (reward.Score, error) {
	q, ok := parse(s)
	if domain(s.Problem).Reasoning() {
		return share(ok && English.In(q.answer) == English.In(s.Problem.Answer))
	}
	return share(ok && q.answer == s.Problem.Answer)
})

// Format is 1 for a completion in R1-Zero's format or R1's.
var Format = reward.Named("format", func(_ context.Context, s reward.Sample) (reward.Score, error) {
	_, ok := parse(s)
	return share(ok)
})

// FormatR1 is 1 for a completion in R1's own pattern: reasoning, then a summary where there was something to work out.
var FormatR1 = reward.Named("format_r1", func(_ context.Context, s reward.Sample) (reward.Score, error) {
	q, ok := parse(s)
	return share(ok && !q.tagged && (q.summary || !IsReasoning(s.Problem)))
})

// Language is R1's language reward (arXiv 2501.12948 v2, eq. 7): the share of the reasoning's words that are of the question's
// language. Words are numerals and Chinese characters; letters that are counted belong to neither language.
var Language = reward.Named("language", func(_ context.Context, s reward.Sample) (reward.Score, error) {
	target, other := words(reward.Reasoning(s.Completion), tongue(s.Problem))
	if target+other == 0 {
		return reward.Scored(1), nil
	}
	return reward.Scored(float64(target) / float64(target+other)), nil
})

// words counts those of a language and of the other.
func words(text string, t Tongue) (target, other int) {
	var n [2]int
	for _, r := range text {
		switch {
		case r >= '0' && r <= '9':
			n[English]++
		case han(r):
			n[Chinese]++
		}
	}
	return n[t], n[t.other()]
}

// repeats tells that a text says the same again: some piece of at least four characters three times in a row.
func repeats(text string) bool {
	r := []rune(text)
	for size := 4; 3*size <= len(r); size++ {
		for at := 0; at+3*size <= len(r); at++ {
			a := string(r[at : at+size])
			if a == string(r[at+size:at+2*size]) && a == string(r[at+2*size:at+3*size]) {
				return true
			}
		}
	}
	return false
}

// Measured is how a policy does on held-out questions. Shares are of 1.
type Measured struct {
	Accuracy, Low, High float64 // of the reasoning questions, with the 95 % interval
	Format              float64 // of the reasoning questions: R1-Zero's or R1's
	Mixed               float64 // of the reasoning questions: words of the other language in the reasoning
	Language            float64 // mean of the language reward
	Readable            float64 // one language, a summary, no repetition
	Length              float64 // tokens
	Polite              float64 // of the general questions: replies as users prefer them
	Domain              [Domains]float64
	Groups              []sampling.Group
}

// Measure answers held-out questions of every domain, reasoning ones at temperature 1, and judges the answers by fixed code.
func Measure(ctx context.Context, m *model.LM, questions []Question, seed uint64) (Measured, error) {
	e := sampling.New(m, sampling.Options{Codec: Codec, Temperature: 1, MaxTokens: MaxTokens, Seed: seed})
	r, err := eval.Measure(ctx, e, Problems(questions), 1, Accuracy, nil)
	if err != nil {
		return Measured{}, err
	}
	out := Measured{Groups: r.Groups}
	var n, right [Domains]float64
	reasoning, other, correct := 0, 0, 0
	for _, g := range r.Groups {
		s := reward.Sample{Problem: g.Problem, Completion: Text(g.Samples[0]), Truncated: g.Samples[0].Stop == sampling.StopLength}
		v, _ := g.Samples[0].Score.Value()
		d := domain(g.Problem)
		n[d]++
		right[d] += v
		if !d.Reasoning() {
			other++
			if Preferred(s) {
				out.Polite++
			}
			continue
		}
		reasoning++
		correct += int(v)
		out.Length += float64(len(g.Samples[0].Tokens))
		q, ok := parse(s)
		if ok {
			out.Format++
		}
		l, _ := Language(ctx, s)
		x, _ := l.Value()
		out.Language += x
		if x < 1 {
			out.Mixed++
		} else if ok && q.summary && !repeats(s.Completion) {
			out.Readable++
		}
	}
	for d := range right {
		out.Domain[d] = right[d] / max(n[d], 1)
	}
	k := float64(max(reasoning, 1))
	out.Format, out.Mixed, out.Language, out.Readable, out.Length = out.Format/k, out.Mixed/k, out.Language/k, out.Readable/k, out.Length/k
	out.Polite /= float64(max(other, 1))
	out.Accuracy = float64(correct) / k
	out.Low, out.High, err = eval.Wilson(correct, max(reasoning, 1))
	return out, err
}

// MaxTokens is the length limit of a response.
const MaxTokens = 48

// Text is a completion's text without its end.
func Text(s sampling.Sample) string {
	t := s.Tokens
	if s.Stop == sampling.StopEOS {
		t = t[:len(t)-1]
	}
	return Codec.Decode(t)
}

// polite is how users of this world like replies to begin.
var polite = [...]string{"gladly, ", "好的,"}

// Preferred tells a reply that the users of this world prefer: it is polite once, at its beginning and in their language, and then says
// something. It is the truth behind the feedback that a reward model is trained on, and the rule metric beside it.
func Preferred(s reward.Sample) bool {
	_, reply, ok := reward.ParseR1("", s.Completion)
	rest, begins := strings.CutPrefix(reply, polite[tongue(s.Problem)])
	return ok && begins && rest != "" && !strings.Contains(rest, polite[English]) && !strings.Contains(rest, polite[Chinese])
}
