package sft_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/data"
	"github.com/gor1/gor1/model/chat"
	"github.com/gor1/gor1/model/tokenizer"
	"github.com/gor1/gor1/sft"
)

func preparer(t testing.TB) sft.Prepare {
	tok, err := tokenizer.Load("testdata/prepare/tokenizer")
	require.NoError(t, err)
	tmpl, err := chat.Load("testdata/prepare/tokenizer")
	require.NoError(t, err)
	return sft.Prepare{Tokenizer: tok, Template: tmpl}
}

// rows reads rows written as JSON lines.
func rows(t testing.TB, lines ...string) []data.Row {
	path := filepath.Join(t.TempDir(), "rows.jsonl")
	require.NoError(t, os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o644))
	set, err := data.Open(context.Background(), path, data.Options{})
	require.NoError(t, err)
	table, err := data.ReadAll(context.Background(), set, 0)
	require.NoError(t, err)
	return table
}

// Ids and labels of TRL's own preparation, in all 14 runs: rows that keep nothing to learn are left out there and here.
func TestMasksEqualTRL(t *testing.T) {
	text, err := os.ReadFile("testdata/masks.json")
	require.NoError(t, err)
	var runs []struct {
		Kind   string
		Config struct {
			CompletionOnly *bool  `json:"completion_only_loss"`
			AssistantOnly  bool   `json:"assistant_only_loss"`
			MaxLength      int    `json:"max_length"`
			Mode           string `json:"truncation_mode"`
		}
		Rows []json.RawMessage
		Out  []struct {
			IDs    []int32 `json:"input_ids"`
			Labels []int32 `json:"labels"`
		}
	}
	require.NoError(t, json.Unmarshal(text, &runs))
	require.Len(t, runs, 14)
	checked := 0
	for _, r := range runs {
		p := preparer(t)
		p.WholePrompt = r.Config.CompletionOnly != nil && !*r.Config.CompletionOnly
		p.AssistantOnly, p.MaxLength, p.KeepEnd = r.Config.AssistantOnly, r.Config.MaxLength, r.Config.Mode == "keep_end"
		var lines []string
		for _, row := range r.Rows {
			var flat bytes.Buffer
			require.NoError(t, json.Compact(&flat, row))
			lines = append(lines, flat.String())
		}
		var got []sft.Sequence
		for _, row := range rows(t, lines...) {
			q, err := p.Sequence(row)
			if err != nil {
				require.ErrorIs(t, err, sft.ErrNothing)
				continue
			}
			got = append(got, q)
		}
		require.Len(t, got, len(r.Out), "%s %+v", r.Kind, r.Config)
		for i, want := range r.Out {
			require.Equal(t, want.IDs, got[i].IDs, "%s %+v row %d", r.Kind, r.Config, i)
			for j, l := range want.Labels {
				learnt := got[i].Weights == nil || got[i].Weights[j] == 1
				require.Equal(t, l >= 0, learnt, "%s %+v row %d token %d", r.Kind, r.Config, i, j)
			}
			checked++
		}
	}
	require.Greater(t, checked, 60)
}

// A message can say whether it is learnt; a template that marks nothing is an error that tells the fix.
func TestPerTurn(t *testing.T) {
	p := preparer(t)
	p.AssistantOnly = true
	learnt := func(row string) string {
		q, err := p.Sequence(rows(t, row)[0])
		require.NoError(t, err)
		var ids []int32
		for i, w := range q.Weights {
			if w == 1 {
				ids = append(ids, q.IDs[i])
			}
		}
		return p.Tokenizer.Decode(ids, true)
	}
	require.Equal(t, "onetwo", learnt(`{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"one"},{"role":"user","content":"b"},{"role":"assistant","content":"two"}]}`))
	require.Equal(t, "two", learnt(`{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"one","weight":0},{"role":"user","content":"b"},{"role":"assistant","content":"two"}]}`))
	require.Equal(t, "one", learnt(`{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"one","train":true},{"role":"user","content":"b"},{"role":"assistant","content":"two","train":false}]}`))

	conversation := rows(t, `{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"one","weight":2}]}`, `{"chosen":"a","rejected":"b","prompt":"c"}`, `{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"one"}]}`, `{"text":""}`)
	_, err := p.Sequence(conversation[0])
	require.ErrorContains(t, err, "rows.jsonl:1: message 1: weight is 2, want 0 or 1")
	_, err = p.Sequence(conversation[1])
	require.ErrorContains(t, err, "cannot be learnt by SFT")
	p.Template, err = chat.Parse("{% for m in messages %}{{ m.content }}{% endfor %}")
	require.NoError(t, err)
	_, err = p.Sequence(conversation[2])
	require.ErrorContains(t, err, "put {% generation %} and {% endgeneration %} around what the assistant writes")
	p.Template = nil
	_, err = p.Sequence(conversation[2])
	require.ErrorContains(t, err, "add a chat_template.jinja")
}

// Rows of segments as TRL's pack_dataset makes them, in all 40 runs; TRL packs chunks of 1,000 examples at a time.
func TestPackingEqualsTRL(t *testing.T) {
	text, err := os.ReadFile("testdata/packing.json")
	require.NoError(t, err)
	var runs []struct {
		Lengths  []int
		Max      int `json:"max_length"`
		Strategy string
		Rows     [][][3]int
	}
	require.NoError(t, json.Unmarshal(text, &runs))
	require.Len(t, runs, 40)
	packers := map[string]sft.Packer{"bfd": sft.BestFit, "bfd_split": sft.BestFitSplit, "wrapped": sft.Wrap}
	for n, r := range runs {
		var got [][][3]int
		const chunk = 1000
		for from := 0; from < len(r.Lengths); from += chunk {
			rows, err := packers[r.Strategy](r.Lengths[from:min(from+chunk, len(r.Lengths))], r.Max)
			require.NoError(t, err)
			for _, row := range rows {
				var out [][3]int
				for _, s := range row {
					out = append(out, [3]int{s.Example + from, s.From, s.To})
				}
				got = append(got, out)
			}
		}
		require.Equal(t, r.Rows, got, "run %d: %s, rows of %d", n, r.Strategy, r.Max)
	}
	_, err = sft.BestFit([]int{1}, 0)
	require.Error(t, err)
	_, err = sft.Wrap([]int{1}, 0)
	require.Error(t, err)
	_, err = sft.BestFit([]int{-1}, 4)
	require.Error(t, err)
}
