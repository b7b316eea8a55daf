package mathx

import (
	"bufio"
	"encoding/json"
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
