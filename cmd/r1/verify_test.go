package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestVerify(t *testing.T) {
	code, out, _ := call("verify", "--gold", `\frac{1}{2}`, "--answer", `So it is \boxed{0.5}.`)
	require.Zero(t, code)
	require.JSONEq(t, `{"verdict":"equal","gold":"1/2","answer":"1/2","reason":"the same"}`, out)

	in := filepath.Join(t.TempDir(), "pairs.jsonl")
	require.NoError(t, os.WriteFile(in, []byte(`{"gold":"1","answer":"\\boxed{2}","id":7}
{"gold":"\\foo","answer":"1"}

{"gold":"1","answer":""}
{"gold":"x<2","answer":"$(-\\infty,2)$"}
`), 0o600))
	code, out, _ = call("verify", "--input", in)
	require.Zero(t, code)
	var verdicts []string
	for line := range strings.Lines(out) {
		var v verified
		require.NoError(t, json.Unmarshal([]byte(line), &v))
		require.NotEmpty(t, v.Reason)
		verdicts = append(verdicts, v.Verdict)
	}
	require.Equal(t, []string{"different", "gold-unparseable", "answer-unparseable", "equal"}, verdicts)

	code, out, _ = call("verify", "--gold", "0.5", "--answer", "0.51", "--tolerance", "0.1")
	require.Zero(t, code)
	require.Contains(t, out, `"equal"`)
}

func TestVerifyUsage(t *testing.T) {
	code, _, errText := call("verify", "--gold", "1", "--input", "x")
	require.Equal(t, 2, code)
	require.Contains(t, errText, "--gold with --answer, or --input")
	code, _, errText = call("verify", "--gold", "1", "--answer", "1", "--percent", "ten")
	require.Equal(t, 2, code)
	require.Contains(t, errText, "either, hundredth or label")
	in := filepath.Join(t.TempDir(), "pairs.jsonl")
	require.NoError(t, os.WriteFile(in, []byte("{\"gold\":\"1\"}\n"), 0o600))
	code, _, errText = call("verify", "--input", in)
	require.Equal(t, 1, code)
	require.Contains(t, errText, "pairs.jsonl:1")
}
