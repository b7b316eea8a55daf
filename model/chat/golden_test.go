package chat

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// clock is when the reference rendered.
var clock = time.Date(2025, 3, 4, 9, 5, 7, 0, time.UTC)

// expected is what the reference gave: a text with spans, or an error.
type expected struct {
	Text  *string  `json:"text"`
	Spans [][2]int `json:"spans"`
	Error string   `json:"error"`
	Type  string   `json:"type"`
}

// agrees tells how a render differs from the reference's; empty: not at all. Messages of raise_exception and of undefined values are
// the reference's own word for word, of other errors only the fact counts.
func (want expected) agrees(got Rendered, err error) string {
	var e *Error
	switch {
	case err != nil && want.Text != nil:
		return "fails: " + err.Error()
	case err == nil && want.Text == nil:
		return "renders " + got.Text + ", not the error " + want.Type + ": " + want.Error
	case err == nil && *want.Text != got.Text:
		return "text: " + got.Text
	case err == nil && len(want.Spans)+len(got.Spans) > 0:
		a, _ := json.Marshal(want.Spans)
		b, _ := json.Marshal(got.Spans)
		if !bytes.Equal(a, b) {
			return "spans: " + string(b) + " instead of " + string(a)
		}
	case err != nil && (want.Type == "TemplateError" || want.Type == "UndefinedError"):
		if !errors.As(err, &e) || e.Kind != want.Type || e.Msg != want.Error {
			return "error: " + err.Error() + " instead of " + want.Type + ": " + want.Error
		}
	}
	return ""
}

// renderCase renders a template with a JSON object of variables.
func renderCase(template string, vars []byte) (Rendered, error) {
	t, err := Parse(template)
	if err != nil {
		return Rendered{}, err
	}
	v, err := ParseVars(vars)
	if err != nil {
		return Rendered{}, err
	}
	return t.Render(v, clock)
}

// lines are the lines of a file, or of a gzip file.
func lines(t *testing.T, path string) (out [][]byte) {
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	var r io.Reader = f
	if strings.HasSuffix(path, ".gz") {
		r, err = gzip.NewReader(f)
		require.NoError(t, err)
	}
	for in := bufio.NewReader(r); ; {
		line, err := in.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			out = append(out, line)
		}
		if err == io.EOF {
			return out
		}
		require.NoError(t, err)
	}
}

// Every construct of the language gives what transformers' Jinja gives.
func TestSemantics(t *testing.T) {
	paths, err := filepath.Glob("testdata/cases/*.jsonl.gz")
	require.NoError(t, err)
	if extra := os.Getenv("R1_CHAT_CASES"); extra != "" {
		paths = filepath.SplitList(extra)
	}
	for _, path := range paths {
		bad := 0
		for i, line := range lines(t, path) {
			var c struct {
				Template string          `json:"template"`
				Vars     json.RawMessage `json:"vars"`
				Want     expected        `json:"want"`
			}
			require.NoError(t, json.Unmarshal(line, &c))
			got, err := renderCase(c.Template, c.Vars)
			if diff := c.Want.agrees(got, err); diff != "" {
				w := ""
				if c.Want.Text != nil {
					w = *c.Want.Text
				}
				bad++
				t.Errorf("%s:%d: %q: %q, want %q", filepath.Base(path), i+1, c.Template, diff, w)
			}
		}
		t.Logf("%s: %d differ", path, bad)
	}
}
