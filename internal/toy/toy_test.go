package toy

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCodec(t *testing.T) {
	require.Len(t, vocabulary, VocabSize)
	for _, text := range []string{Strawberry.Prompt() + "<think>" + Strawberry.Steps() + "</think><answer>3</answer><eos>", "Q: 1+2=?\nA: 39 wait, 37 so 3", "a : b", ""} {
		ids, err := Codec{}.Encode(text)
		require.NoError(t, err)
		require.Equal(t, text, Codec{}.Decode(ids))
	}
	ids, err := Codec{}.Encode("How many r in strawberry?")
	require.NoError(t, err)
	require.Len(t, ids, 1+1+1+10+1, "whole words are one token")
	for text, where := range map[string]string{"abc!": "'!' at byte 3", "é": "'é' at byte 0", "a\tb": `'\t' at byte 1`} {
		_, err := Codec{}.Encode(text)
		require.ErrorContains(t, err, where)
	}
}

func TestSolutions(t *testing.T) {
	require.Equal(t, "str1awber2r3y", Strawberry.Steps())
	require.Equal(t, "3", Strawberry.Answer)
	require.Equal(t, "str1", Strawberry.FirstStep())
	require.Equal(t, "9.11 9.80 11<80", Greater.Steps())
	require.Equal(t, "9.8", Greater.Answer)
	c := chainQuestion(37, []int{8, -5, 9})
	require.Equal(t, "37+8-5+9=?", c.Text)
	require.Equal(t, "45-5+9=40+9=49", c.Steps())
	require.Equal(t, "45-5+9=", c.FirstStep())
	require.Equal(t, "3.50 7.21 3<7", decimalQuestion("3.5", "7.21").Steps())
	require.Equal(t, "2.66 2.60 66>60", decimalQuestion("2.66", "2.6").Steps())
	first, values := c.parse()
	require.Equal(t, c, chainQuestion(first, values))
}

// Every question's steps end in its answer, for an independent reading of the question.
func TestAnswersAreRight(t *testing.T) {
	for _, q := range Questions(RL, 1, 2000) {
		switch q.Kind {
		case Chain:
			total, sign, n := 0, 1, 0
			for _, c := range strings.TrimSuffix(q.Text, "=?") + "+" {
				if c >= '0' && c <= '9' {
					n = 10*n + int(c-'0')
					continue
				}
				total, n = total+sign*n, 0
				sign = 1
				if c == '-' {
					sign = -1
				}
			}
			require.Equal(t, strconv.Itoa(total), q.Answer, q.Text)
			require.True(t, strings.HasSuffix(q.Steps(), "="+q.Answer), q.Steps())
		case Letter:
			f := strings.Fields(strings.TrimSuffix(q.Text, "?"))
			require.Equal(t, strconv.Itoa(strings.Count(f[4], f[2])), q.Answer, q.Text)
		case Decimal:
			f := strings.Fields(strings.TrimSuffix(q.Text, "?"))
			a, _ := strconv.ParseFloat(f[3], 64)
			b, _ := strconv.ParseFloat(f[5], 64)
			require.Equal(t, a > b, q.Answer == f[3], q.Text)
		}
		require.True(t, strings.HasPrefix(q.Steps(), q.FirstStep()), q.Steps())
	}
}

// None of the held-out questions, words or pairs stands in the corpus, nor any held-out chain as a step of a worked line.
func TestHeldOutIsHeldOut(t *testing.T) {
	tokens := 2_000_000
	if testing.Short() {
		tokens = 200_000
	}
	held := Questions(HeldOut, 11, 1000)
	chains, words, pairs := map[string]bool{}, map[string]bool{"strawberry": true}, map[string]bool{"9.11 9.8": true}
	for _, q := range held {
		require.Equal(t, HeldOut, q.Split())
		map[Kind]map[string]bool{Chain: chains, Letter: words, Decimal: pairs}[q.Kind][q.key()] = true
	}
	docs, templates := CorpusDocs(5, tokens)
	t.Logf("%d documents, %.1f %% in the RL template", len(docs), 100*float64(templates)/float64(len(docs)))
	for _, d := range docs {
		text := Codec{}.Decode(d[1 : len(d)-1])
		for _, line := range strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '=' || r == '<' || r == '>' }) {
			line = strings.TrimPrefix(strings.TrimPrefix(strings.TrimPrefix(line, "User: "), "Q: "), " ")
			line = strings.TrimPrefix(line, "think>")
			require.False(t, chains[line], "%q in %q", line, text)
		}
		for _, f := range strings.FieldsFunc(text, func(r rune) bool { return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9') }) {
			require.False(t, words[strings.Map(dropDigits, f)], "%q in %q", f, text) // counts stand inside a copied word
		}
		f := strings.Fields(strings.NewReplacer("?", " ", "\n", " ").Replace(text))
		for i := 0; i+2 < len(f); i++ {
			if f[i+1] == "or" {
				require.False(t, pairs[f[i]+" "+f[i+2]] || pairs[f[i+2]+" "+f[i]], text)
			}
		}
	}
	for _, q := range Questions(RL, 3, 2000) {
		require.False(t, chains[q.key()] || words[q.key()] || pairs[q.key()], q.Text)
	}
}

func dropDigits(r rune) rune {
	if r >= '0' && r <= '9' {
		return -1
	}
	return r
}

// The corpus is as often right as its description says.
func TestCorpusStatistics(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var right, n [3][Kinds]float64 // direct, coarse, careful
	for range 30000 {
		q := newQuestion(r, pickKind(r, 45, 35), Corpus)
		ok := func(answer string) float64 {
			if answer == q.Answer {
				return 1
			}
			return 0
		}
		_, coarse := q.glance(r)
		careful := q.Answer
		if q.Kind == Chain {
			_, careful = q.carefulChain(r)
		}
		for i, answer := range []string{q.hasty(r), coarse, careful} {
			right[i][q.Kind] += ok(answer)
			n[i][q.Kind]++
		}
	}
	want := [3][Kinds]float64{{.41, .22, .65}, {.88, .80, .75}, {.96, 1, 1}}
	for i := range want {
		for k := range want[i] {
			require.InDelta(t, want[i][k], right[i][k]/n[i][k], .02, "style %d %s", i, Kind(k))
		}
	}
}

func TestDeterminism(t *testing.T) {
	a, _ := CorpusDocs(7, 50_000)
	b, _ := CorpusDocs(7, 50_000)
	require.Equal(t, a, b)
	c, _ := CorpusDocs(8, 50_000)
	require.NotEqual(t, a, c)
	require.Equal(t, Questions(RL, 4, 100), Questions(RL, 4, 100))
}

func BenchmarkCorpus(b *testing.B) {
	for b.Loop() {
		CorpusDocs(7, 100_000)
	}
	b.ReportMetric(100_000*float64(b.N)/b.Elapsed().Seconds(), "tokens/s")
}

func ExampleQuestion_Prompt() {
	fmt.Printf("%q\n", Greater.Prompt())
	// Output: "<bos>User: Which is greater, 9.11 or 9.8?\nAssistant: "
}
