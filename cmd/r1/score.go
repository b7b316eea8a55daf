package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/gor1/gor1/internal/progress"
	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/model/tokenizer"
	"github.com/gor1/gor1/model/weights"
)

// scored is one line of r1 score's output.
type scored struct {
	LogProbs []float32 `json:"logprobs"`
	Entropy  []float32 `json:"entropy"`
	Greedy   []int32   `json:"greedy,omitempty"`
}

// scoreTokens is how many tokens go through the model at a time.
const scoreTokens = 4096

func newScore() *cobra.Command {
	var f modelFlags
	var input, logits string
	var generate int
	cmd := &cobra.Command{
		Use:   "score",
		Short: "Print the log-probability of each token of a text",
		Long: "Reads lines {\"ids\":[...]} or {\"text\":\"...\"} and writes {\"logprobs\":[...],\"entropy\":[...]}, natural logarithms. A sequence of L tokens\n" +
			"gives L-1 of each: value i belongs to the distribution that predicted token i+1. Text is tokenised with special tokens and no\n" +
			"chat template; a folder without tokenizer files is fine for ids.",
		Example: "  r1 score --model DIR --input texts.jsonl\n  echo '{\"ids\":[1,2,3]}' | r1 score --model DIR --generate 16",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if generate < 0 {
				return fmt.Errorf("%w: --generate is %d", errUsage, generate)
			}
			m, free, err := f.open(cmd)
			if err != nil {
				return err
			}
			s := scorer{m: m, dir: f.model, generate: generate, keep: logits != "", live: progress.New(os.Stderr)}
			return errors.Join(s.run(cmd, input, logits), free())
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&input, "input", "-", "a .jsonl file; -: stdin")
	cmd.Flags().StringVar(&logits, "logits", "", "also write every sequence's logits, seq<i>.logits, to this .safetensors file (small inputs)")
	cmd.Flags().IntVar(&generate, "generate", 0, "also print so many tokens of the greedy continuation; end-of-sequence tokens are ignored")
	return cmd
}

type scorer struct {
	m        *model.LM
	dir      string
	tok      *tokenizer.Tokenizer
	generate int
	keep     bool
	logits   map[string]weights.Tensor
	live     *progress.Line
}

func (sc *scorer) run(cmd *cobra.Command, input, logits string) error {
	seqs, err := sc.read(cmd, input)
	if err != nil {
		return err
	}
	sc.logits = map[string]weights.Tensor{}
	w := bufio.NewWriter(cmd.OutOrStdout())
	enc := json.NewEncoder(w)
	for from := 0; from < len(seqs); {
		to, tokens := from, 0
		for to < len(seqs) && (to == from || tokens+len(seqs[to]) <= scoreTokens) {
			tokens += len(seqs[to])
			to++
		}
		rows, err := sc.batch(cmd, from, seqs[from:to])
		if err != nil {
			return err
		}
		for _, r := range rows {
			if err := enc.Encode(r); err != nil {
				return err
			}
		}
		from = to
		if from < len(seqs) {
			sc.live.Show(float64(from)/float64(len(seqs)), "scored %d of %d sequences", from, len(seqs))
		}
	}
	sc.live.Clear()
	if err := w.Flush(); err != nil || !sc.keep {
		return err
	}
	return weights.Write(logits, sc.logits)
}

// read returns the ids of every line, checked against the model.
func (sc *scorer) read(cmd *cobra.Command, input string) (seqs [][]int32, err error) {
	c := sc.m.Config()
	err = eachLine(input, cmd.InOrStdin(), func(text []byte) error {
		var line struct {
			IDs  []int32 `json:"ids"`
			Text *string `json:"text"`
		}
		if err := decodeStrict(text, &line); err != nil {
			return err
		}
		if (line.IDs == nil) == (line.Text == nil) {
			return errors.New(`want either "ids" or "text"`)
		}
		if line.Text != nil {
			if sc.tok == nil {
				if sc.tok, err = loadTokenizer(sc.dir); err != nil {
					return fmt.Errorf("\"text\" needs the model's tokenizer: %w", err)
				}
			}
			line.IDs = sc.tok.Encode(*line.Text, true)
		}
		if len(line.IDs) == 0 || len(line.IDs)+sc.generate > c.MaxPositions {
			return fmt.Errorf("%d tokens and %d to generate: want at least 1 and in all at most %d (max_position_embeddings)", len(line.IDs), sc.generate, c.MaxPositions)
		}
		for i, id := range line.IDs {
			if id < 0 || int(id) >= c.VocabSize {
				return fmt.Errorf("ids[%d] is %d, the vocabulary has %d", i, id, c.VocabSize)
			}
		}
		seqs = append(seqs, line.IDs)
		return nil
	})
	return seqs, err
}

// batch scores sequences packed into one pass; first is the number of the first.
func (sc *scorer) batch(cmd *cobra.Command, first int, seqs [][]int32) ([]scored, error) {
	var ids []int32
	lengths := make([]int, len(seqs))
	for i, q := range seqs {
		ids, lengths[i] = append(ids, q...), len(q)
	}
	segs := kernels.PackedSegs(lengths...)
	rows, targets := model.NextTokens(ids, segs)
	logp, ent := make([]float32, len(rows)), make([]float32, len(rows))
	err := sc.m.Device().Do(cmd.Context(), func(s *kernels.Scope) error {
		s = s.NoGrad()
		hidden := sc.m.Forward(s, ids, segs)
		logpC, entC := sc.m.Head(s, s.Gather(hidden, rows), targets, 1)
		if err := errors.Join(s.Read(logpC, logp), s.Read(entC, ent)); err != nil {
			return err
		}
		for i, g := range segs {
			if sc.keep {
				z := make([]float32, len(seqs[i])*sc.m.Config().VocabSize)
				if err := s.Read(sc.m.Logits(s, s.Rows(hidden, int(g.Start), int(g.Len))), z); err != nil {
					return err
				}
				sc.logits[fmt.Sprintf("seq%d.logits", first+i)] = weights.FromFloat32(z, len(seqs[i]), sc.m.Config().VocabSize)
			}
		}
		return nil
	})
	out := make([]scored, len(seqs))
	at := 0
	for i, q := range seqs {
		n := at + len(q) - 1
		out[i] = scored{LogProbs: logp[at:n:n], Entropy: ent[at:n:n]}
		at = n
	}
	if err != nil || sc.generate == 0 {
		return out, err
	}
	greedy, err := continuations(cmd.Context(), sc.m, seqs, sc.generate)
	for i := range greedy {
		out[i].Greedy = greedy[i]
	}
	return out, err
}
