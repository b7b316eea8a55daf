package mathx

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// lines decodes a .jsonl file.
func lines[T any](t testing.TB, path string) []T {
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	var out []T
	in := bufio.NewScanner(f)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		var v T
		require.NoError(t, json.Unmarshal(in.Bytes(), &v))
		out = append(out, v)
	}
	require.NoError(t, in.Err())
	return out
}

// Against the recorded truth: no false positive, at most 5 % false negatives, fewer of both than math-verify.
func TestMathVerifyPairs(t *testing.T) {
	type pair struct {
		ID, Family, Gold, Pred string
		Truth                  string `json:"true_equal"`
		MathVerify             bool   `json:"verdict"`
	}
	pairs := lines[pair](t, "testdata/mathverify.jsonl")
	require.Len(t, pairs, 400)
	var yes, no, fn, fp, theirFN, theirFP, agree int
	for _, p := range pairs {
		r := Verify(p.Gold, p.Pred, Policy{})
		equal := r.Verdict == Equal
		agree += b2i(equal == p.MathVerify)
		switch p.Truth {
		case "yes":
			yes++
			theirFN += b2i(!p.MathVerify)
			if !equal {
				fn++
				t.Logf("false negative %s: %q, %q: %s", p.ID, p.Gold, p.Pred, r.Reason)
			}
		case "no":
			no++
			theirFP += b2i(p.MathVerify)
			require.False(t, equal, "%s: %q is not %q", p.ID, p.Gold, p.Pred)
		}
	}
	t.Logf("measured: false negatives %d of %d (math-verify %d), false positives %d of %d (math-verify %d), agreement with math-verify %d of %d",
		fn, yes, theirFN, fp, no, theirFP, agree, len(pairs))
	require.LessOrEqual(t, 20*fn, yes)
	require.Less(t, fn, theirFN)
}

// Pairs whose truth is known by construction, and pairs written for this repository: all verdicts right, in both directions
// where the answer is no running text.
func TestOwnPairs(t *testing.T) {
	type pair struct {
		Family, Gold, Answer string
		Equal                bool
	}
	count := map[bool]int{}
	for _, file := range []string{"generated", "written"} {
		for _, p := range lines[pair](t, "testdata/"+file+".jsonl") {
			r := Verify(p.Gold, p.Answer, Policy{})
			require.Equal(t, p.Equal, r.Verdict == Equal, "%s: %q, %q: %+v", p.Family, p.Gold, p.Answer, r)
			require.NotEqual(t, GoldUnparseable, r.Verdict, "%q", p.Gold)
			count[p.Equal]++
			if r.Verdict == Equal || r.Verdict == Different {
				back := Verify(r.Answer, r.Gold, Policy{})
				require.False(t, back.Verdict == Equal && !p.Equal, "the other way round: %s: %q, %q", p.Family, p.Gold, p.Answer)
			}
		}
	}
	t.Logf("measured: %d equal and %d different pairs, all verdicts right", count[true], count[false])
}

// Other graders' own tests, under the policy that comes nearest to each. What is left over is listed: conventions that no policy
// of ours follows, since they would reward wrong answers.
func TestOtherGraders(t *testing.T) {
	type pair struct {
		ID, Source, Gold, Answer string
		Equal                    bool
	}
	policies := map[string]Policy{
		"hendrycks/math":        {Ordered: true, Percent: PercentIsLabel},
		"NVIDIA/NeMo-Skills":    {},
		"NovaSky-AI/SkyThought": {Tolerance: 1e-4},
		"huggingface/lighteval": {},
	}
	ours := map[string]string{
		"sky-math_equal-008": "75 counts as 0.75 without a percent sign",
		"sky-math_equal-021": "an empty reference and an empty answer are equal",
	}
	for _, p := range lines[pair](t, "testdata/graders.jsonl") {
		policy, ok := policies[p.Source]
		require.True(t, ok, p.Source)
		equal := Verify(p.Gold, p.Answer, policy).Verdict == Equal
		if why, ok := ours[p.ID]; ok {
			require.NotEqual(t, p.Equal, equal, "%s is listed (%s) but agrees", p.ID, why)
			continue
		}
		require.Equal(t, p.Equal, equal, "%s: %q, %q", p.ID, p.Gold, p.Answer)
	}
}

// References as GSM8K and MATH write them.
func TestReferences(t *testing.T) {
	for solution, want := range map[string]string{
		"He has 3 + 4 = <<3+4=7>>7 left.\n#### 7": "7", "#### 1,234": "1234", "a #### b\n#### -5 \n": "-5", "####$12.50": "$12.50",
	} {
		got, ok := GSM8K(solution)
		require.True(t, ok)
		require.Equal(t, want, got)
	}
	_, ok := GSM8K("The answer is 7.")
	require.False(t, ok)
	got, ok := Boxed("so $x=\\boxed{1}$, then $\\boxed{\\frac{1}{\\sqrt{2}}}$.")
	require.True(t, ok)
	require.Equal(t, "\\frac{1}{\\sqrt{2}}", got)
	_, ok = Boxed("\\boxed{}")
	require.False(t, ok)
}

func ExampleVerify() {
	r := Verify("\\frac{3}{4}", "<think>6/8</think> The answer is $\\boxed{0.75}$.", Policy{})
	fmt.Println(r.Verdict, r.Gold, r.Answer)
	r = Verify("[1, 2)", "\\boxed{1 < x \\le 2}", Policy{})
	fmt.Println(r.Verdict, r.Gold, r.Answer)
	r = Verify("\\frac{1}{0}", "\\boxed{1}", Policy{})
	fmt.Println(r.Verdict)
	// Output:
	// equal 3/4 3/4
	// different [1, 2) 1 < x ≤ 2
	// gold-unparseable
}
