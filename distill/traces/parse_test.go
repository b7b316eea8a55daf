package traces

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// replies are whole ones, in each of the forms that servers send.
var replies = []string{
	`{"model":"m","choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","reasoning_content":"a\nb","content":"7 \"数\""}}],"usage":{"completion_tokens":3}}`,
	`{"model":"m","choices":[{"finish_reason":"stop","message":{"content":"<think>a</think>7"}}]}`,
	"data: {\"id\":\"1\",\"model\":\"m\",\"choices\":[{\"delta\":{\"role\":\"assistant\",\"reasoning\":\"a\"}}]}\n\n" +
		"data: {\"id\":\"1\",\"model\":\"m\",\"choices\":[{\"delta\":{\"content\":\"7\"}}]}\n\ndata: {\"id\":\"1\",\"model\":\"m\",\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]",
}

// A reply cut at any byte is never an answer.
func TestCutAnywhere(t *testing.T) {
	for _, r := range replies {
		a, err := parse([]byte(r))
		require.NoError(t, err)
		require.Equal(t, "m", a.Model)
		require.NotEmpty(t, a.Reasoning)
		for n := range len(r) {
			_, err := parse([]byte(r[:n]))
			require.Error(t, err, r[:n])
			if !strings.Contains(r[:n], `"stop"}]}`) { // a stream that is told to be whole, but has no end of its text
				_, err = parse([]byte(r[:n] + "\n\ndata: [DONE]\n\n"))
				require.Error(t, err, r[:n])
			}
		}
	}
	_, err := parse([]byte(`{"model":` + strings.Repeat("[", 1<<20)))
	require.Error(t, err)
}

// Whatever a server sends, nothing panics, and what is accepted has the form of an answer.
func FuzzParse(f *testing.F) {
	for _, r := range replies {
		f.Add([]byte(r))
	}
	f.Fuzz(func(t *testing.T, reply []byte) {
		a, err := parse(reply)
		if err != nil {
			return
		}
		require.NotEmpty(t, a.Content)
		for _, tag := range []string{"<think>", "</think>"} {
			require.NotContains(t, a.Reasoning+"\n"+a.Content, tag)
		}
	})
}
