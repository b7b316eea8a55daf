package mathx

import (
	"flag"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var long = flag.Bool("long", false, "fuzz 1,000,000 completions instead of 10,000 and compare all pairs of MATH answers")

func mathAnswers(t testing.TB) []string {
	text, err := os.ReadFile("testdata/math_answers.txt")
	require.NoError(t, err)
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}

// soup are the pieces that fuzzed completions are made of.
var soup = strings.Fields(`\frac \frac{1}{2} \sqrt{2} \sqrt[3]{ \boxed{ \boxed{42} } { ( ) [ ] \{ \} $ $$ \( \) \[ \] + - * / ^ ^{ _ _{2} = < > \le \ge \ne \pm \mp \cup \cap
	\setminus \in \infty \pi e i x y n 0 1 2 7 10 100 1,000 3.14 .5 1e9 1e999 ! % \% ' | \left| \right| \left( \right) \begin{pmatrix} \end{pmatrix} & \\ \sin \cos \ln \log_2
	\binom{5}{2} \binom \sum_{k=1}^{9} \int_0^1 dx \text{ \text{cm} cm and or the answer is Answer: #### <think> </think> <answer> </answer> \lfloor \rfloor \overline{6} 0.\overline{3}
	\mathbb{R} \emptyset \mod \pmod{7} \begin \end \over \choose \langle \rangle ½ √ π ² − ∞ 四 \def\x{ : ; , . \, \! ~ (A) B. C million twenty-one \degree ^\circ 10^{10^{10}} 9!!! \det`)

// completion makes one hostile completion.
func completion(r *rand.Rand, seeds []string) string {
	pick := func() string { return seeds[r.IntN(len(seeds))] }
	switch r.IntN(5) {
	case 0: // token soup
		var w strings.Builder
		for range 1 + r.IntN(60) {
			w.WriteString(soup[r.IntN(len(soup))])
			if r.IntN(2) == 0 {
				w.WriteByte(' ')
			}
		}
		return w.String()
	case 1: // bytes changed, removed, inserted
		b := []byte("\\boxed{" + pick() + "}")
		for range 1 + r.IntN(4) {
			at := r.IntN(len(b))
			switch r.IntN(3) {
			case 0:
				b[at] = byte(r.IntN(256))
			case 1:
				b = slices.Delete(b, at, at+1)
			case 2:
				b = slices.Insert(b, at, byte(32+r.IntN(95)))
			}
			if len(b) == 0 {
				return ""
			}
		}
		return string(b)
	case 2: // spliced
		a, b := pick(), pick()
		return "The answer is $" + a[:r.IntN(len(a)+1)] + soup[r.IntN(len(soup))] + b[r.IntN(len(b)+1):] + "$."
	case 3: // repeated
		return "\\boxed{" + strings.Repeat(soup[r.IntN(len(soup))]+pick(), 1+r.IntN(100)) + "}"
	}
	var w strings.Builder // joined by operators
	for range 1 + r.IntN(12) {
		w.WriteString("(" + pick() + ")" + []string{"+", "-", "*", "/", "^", "!", ",", " \\cup ", "="}[r.IntN(9)])
	}
	return "\\boxed{" + w.String() + "1}"
}

// Hostile completions: no panic, and the budget holds. The time of each is printed and not judged.
func TestFuzzed(t *testing.T) {
	n := 10_000
	if *long {
		n = 1_000_000
	}
	seeds := mathAnswers(t)
	for _, a := range attacks {
		seeds = append(seeds, a.completion)
	}
	r := rand.New(rand.NewPCG(1, 2))
	took := make([]time.Duration, n)
	most, unread := 0, 0
	for k := range n {
		gold, c := seeds[r.IntN(len(seeds)-len(attacks))], completion(r, seeds)
		start := time.Now()
		v := Verify(gold, c, Policy{})
		took[k] = time.Since(start)
		for again := 0; again < 3 && took[k] > time.Millisecond; again++ { // a verdict does not vary: what varies is the machine
			start = time.Now()
			require.Equal(t, v, Verify(gold, c, Policy{}))
			took[k] = min(took[k], time.Since(start))
		}
		most = max(most, v.Steps)
		unread += b2i(v.Verdict == AnswerUnparseable)
		require.LessOrEqual(t, v.Steps, 100_000, "%q, %q", gold, c)
	}
	slices.Sort(took)
	t.Logf("measured: %d completions, %d unreadable, most steps %d, median %v, p99 %v, p99.9 %v, longest %v (bar: p99.9 < 5 ms)",
		n, unread, most, took[n/2], took[n*99/100], took[n*999/1000], took[n-1])
}

// Every answer of MATH's training set is read and equals itself; the verdict between two of them does not depend on which
// is the reference.
func TestMATHAnswers(t *testing.T) {
	answers := mathAnswers(t)
	parsed := make([]Expr, len(answers))
	for i, a := range answers {
		r := Verify(a, "So the answer is $\\boxed{"+a+"}$.", Policy{})
		require.Equal(t, Equal, r.Verdict, "%q: %+v", a, r)
		var err error
		parsed[i], err = Parse(a)
		require.NoError(t, err)
	}
	stride := 400
	if *long {
		stride = 1
	}
	equal := 0
	for i := range parsed {
		for j := i + 1; j < len(parsed); j++ {
			if (i*31+j)%stride != 0 {
				continue
			}
			same, _ := Same(parsed[i], parsed[j], Policy{})
			back, _ := Same(parsed[j], parsed[i], Policy{})
			require.Equal(t, same, back, "%q, %q", answers[i], answers[j])
			equal += b2i(same)
		}
	}
	t.Logf("measured: %d answers read, %d pairs of them equal", len(answers), equal)
}
