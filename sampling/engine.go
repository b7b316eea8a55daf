package sampling

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/gor1/gor1/kernels"
	"github.com/gor1/gor1/model"
	"github.com/gor1/gor1/reward"
)

// Codec turns text into token ids and back.
type Codec interface {
	Encode(text string) ([]int32, error)
	Decode(ids []int32) string
}

// Options say how an [Engine] samples.
type Options struct {
	Codec       Codec   // for prompts and for the text that rewards read
	Temperature float32 // logits are divided by it; 0 takes the likeliest token
	MaxTokens   int     // of one completion, its end-of-sequence token included
	Seed        uint64  // of the run: a draw is a function of it, the step, the row, the sample's number and the position
	EOS         []int32 // ids that end a completion; nil: the model's
	MaxSeqs     int     // sequences decoded at once; 0: 512, or fewer where their keys and values would take over an eighth of the memory. Results do not depend on it
	Workers     int     // rewards judged at once; 0: one a core
	// Truncation restricts each draw to the likeliest words; Sample.Keep records which. With Temperature 0 it plays no part. It costs
	// memory: 4 bytes for each word kept at each token. With TopK 50 that is 200 bytes a token; with TopP 0.99 at temperature 1 the
	// kept words of an uncertain token can be much of the vocabulary (600 KB at 150,000 words), of a certain one a few.
	Truncation kernels.Truncation
	// Draft is how many tokens may be guessed ahead for one sequence, from texts that agree with it so far: its own, its group's, and those that this
	// engine drew for the same prompt before (64 MiB of them at most are kept). What is guessed is drawn as ever, at once where it was right, so
	// results do not depend on it. 0: 16; negative: none, as on devices that are not exact.
	Draft int
}

// Engine draws completions from a model with the model's own weights: there is no copy and nothing to synchronise. It is
// used by one goroutine at a time, and the parameters may change between calls only.
type Engine struct {
	policy  *model.LM
	options Options
	stats   Stats
	odds    odds // of guesses; no result depends on these two
	past    past
}

// New returns an engine. Options are checked when it is used.
func New(policy *model.LM, o Options) *Engine {
	if o.EOS == nil {
		for _, id := range policy.Config().EOS {
			o.EOS = append(o.EOS, int32(id))
		}
	}
	if o.Workers == 0 {
		o.Workers = runtime.NumCPU()
	}
	return &Engine{policy: policy, options: o}
}

// Request asks for Samples completions of each problem.
type Request struct {
	Step     uint32           // optimiser step: part of each draw's counter
	Problems []reward.Problem // Prompt is what the model is given
	Rows     []uint32         // of the data set, one a problem; nil: 0, 1, 2, ..
	Samples  int              // of each problem
	First    uint32           // number of the first sample: with Samples 1 it draws that one again, alone
	Score    reward.Func      // judges each completion as it ends; nil: none
	Compare  reward.GroupFunc // judges each group once all its completions have their Score, and adds to it (reward.Plus); nil: none
	Progress func(done, total int)
	Token    func(g *Group, sample int, id int32) // is told each token as it comes, several of one sample in a row where they were guessed; nil: nobody is
}

// Rollout draws the completions and judges them. Every group's prompt is run once and its pages shared; a sequence that
// ends leaves the batch at once, and its reward is computed on another goroutine meanwhile. The result is in the order
// of the request and, for exact devices, a function of weights, seed and counters alone: not of the batch, the threads or
// what else was asked for. A failed reward leaves its sample not scored. When ctx ends, so does Rollout, with its error.
func Rollout(ctx context.Context, e *Engine, req Request) ([]Group, error) {
	groups, err := e.groups(req)
	if err != nil {
		return nil, err
	}
	judging, stop := context.WithCancel(ctx)
	defer stop()
	var judges errgroup.Group
	seats := make(chan struct{}, e.options.Workers)
	left := map[*Group]*atomic.Int64{}
	for i := range groups {
		left[&groups[i]] = new(atomic.Int64)
		left[&groups[i]].Store(int64(req.Samples))
	}
	err = e.decode(ctx, req, groups, func(g *Group, i int) {
		if req.Score == nil && req.Compare == nil {
			return
		}
		judges.Go(func() error {
			seats <- struct{}{} // wait here, not in the decoding loop
			defer func() { <-seats }()
			e.judge(judging, req, g, &g.Samples[i])
			if left[g].Add(-1) == 0 {
				e.compare(judging, req, g)
			}
			return nil
		})
	})
	if err != nil {
		stop() // nobody will read the scores
	}
	if err = errors.Join(err, judges.Wait()); err == nil {
		err = ctx.Err() // a judge that was stopped leaves its sample not scored, which is no verdict
	}
	if err != nil {
		return nil, fmt.Errorf("sampling: %w", err)
	}
	if e.options.Draft >= 0 {
		for i := range groups {
			e.past.remember(&groups[i])
		}
	}
	return groups, nil
}

// judge gives one completion its score.
func (e *Engine) judge(ctx context.Context, req Request, g *Group, s *Sample) {
	if req.Score == nil {
		return
	}
	r := reward.Evaluate(ctx, req.Score, s.reading(g.Problem, e.options.Codec))
	s.Score, s.Parts = r.Score, r.Parts
}

// compare adds to a complete group's scores what its samples get beside one another.
func (e *Engine) compare(ctx context.Context, req Request, g *Group) {
	if req.Compare == nil {
		return
	}
	group := make([]reward.Sample, len(g.Samples))
	for i := range group {
		group[i] = g.Samples[i].reading(g.Problem, e.options.Codec)
	}
	for i, r := range reward.EvaluateGroup(ctx, req.Compare, group) {
		s := &g.Samples[i]
		s.Score, _ = reward.Plus(s.Score, r.Score) // a sum out of range is not scored
		s.Parts = append(s.Parts, r.Parts...)
	}
}

// reading is what a reward sees of a sample.
func (s *Sample) reading(p reward.Problem, codec Codec) reward.Sample {
	return reward.Sample{Problem: p, Completion: s.Text(codec), Tokens: s.Tokens, Truncated: s.Stop == StopLength}
}

// groups checks the request and encodes its prompts.
func (e *Engine) groups(req Request) ([]Group, error) {
	o := e.options
	positions := e.policy.Config().MaxPositions
	switch {
	case o.Codec == nil:
		return nil, errors.New("sampling: Options.Codec is nil: prompts cannot be encoded")
	case !(o.Temperature >= 0) || o.Temperature > 1e3:
		return nil, fmt.Errorf("sampling: temperature %g, want 0 or more", o.Temperature)
	case o.Truncation.TopK < 0 || !(o.Truncation.TopP >= 0 && o.Truncation.TopP <= 1) || !(o.Truncation.MinP >= 0 && o.Truncation.MinP <= 1):
		return nil, fmt.Errorf("sampling: top-k %d, top-p %g, min-p %g: want 0 or more, 0 to 1, 0 to 1", o.Truncation.TopK, o.Truncation.TopP, o.Truncation.MinP)
	case o.MaxTokens < 1:
		return nil, fmt.Errorf("sampling: MaxTokens is %d, want at least 1", o.MaxTokens)
	case req.Samples < 1:
		return nil, fmt.Errorf("sampling: %d samples of each problem, want at least 1", req.Samples)
	case o.MaxSeqs < 0:
		return nil, fmt.Errorf("sampling: MaxSeqs is %d, want 1 or more, or 0 for as many as there is room for", o.MaxSeqs)
	case req.Rows != nil && len(req.Rows) != len(req.Problems):
		return nil, fmt.Errorf("sampling: %d rows for %d problems", len(req.Rows), len(req.Problems))
	}
	groups := make([]Group, len(req.Problems))
	for i, p := range req.Problems {
		ids, err := o.Codec.Encode(p.Prompt)
		if err != nil {
			return nil, fmt.Errorf("sampling: problem %d: prompt: %w", i, err)
		}
		if len(ids) == 0 || len(ids)+o.MaxTokens-1 > positions {
			return nil, fmt.Errorf("sampling: problem %d: a prompt of %d tokens and up to %d new ones: want at least 1 and at most %d in all", i, len(ids), o.MaxTokens, positions)
		}
		row := uint32(i)
		if req.Rows != nil {
			row = req.Rows[i]
		}
		groups[i] = Group{Problem: p, Step: req.Step, Row: row, Temperature: o.Temperature, Prompt: ids, Samples: make([]Sample, req.Samples)}
	}
	return groups, nil
}

// live is one sequence being decoded.
type live struct {
	group  *Group
	number int // in the group
	seq    *model.Seq
	texts  *history // of the group; nil: no draft was thought of yet
}

func (l live) sample() *Sample { return &l.group.Samples[l.number] }

// decode runs all sequences to their ends and calls ended for each.
func (e *Engine) decode(ctx context.Context, req Request, groups []Group, ended func(g *Group, i int)) error {
	limit := e.maxSeqs(groups)
	cache, err := e.policy.NewCache(model.PageRows * cachePages(groups, e.options.MaxTokens, limit))
	if err != nil {
		return err
	}
	defer cache.Close()
	var active []live
	var waiting []live // admitted group by group, in order
	for g := range groups {
		for i := range groups[g].Samples {
			waiting = append(waiting, live{group: &groups[g], number: i})
		}
	}
	prompts := map[*Group]*model.Seq{}
	done, total := 0, len(waiting)
	for len(active)+len(waiting) > 0 {
		n := admissible(waiting, limit-len(active), prompts)
		fresh := waiting[:n]
		waiting = waiting[n:]
		err := e.policy.Device().Do(ctx, func(s *kernels.Scope) error {
			if err := e.step(s.NoGrad(), req, cache, active); err != nil {
				return err
			}
			return e.admit(s.NoGrad(), req, cache, prompts, fresh, waiting)
		})
		if err != nil {
			return err
		}
		before := done
		active = slices.DeleteFunc(append(active, fresh...), func(l live) bool {
			if l.sample().Stop == StopNone {
				return false
			}
			if l.seq != nil {
				cache.Drop(l.seq)
			}
			ended(l.group, l.number)
			done++
			return true
		})
		if req.Progress != nil && done > before {
			req.Progress(done, total)
		}
	}
	return nil
}

// prefillRows bounds the rows of prompts that are run at once, and with them the memory of it; a single prompt may have more.
const prefillRows = 4096

// admissible is how many of those waiting may join: at most room, their new prompts at most prefillRows.
func admissible(waiting []live, room int, prompts map[*Group]*model.Seq) int {
	var last *Group
	rows := 0
	for i, l := range waiting {
		if i == room {
			return i
		}
		if l.group != last && prompts[l.group] == nil {
			if rows += len(l.group.Prompt); i > 0 && rows > prefillRows {
				return i
			}
		}
		last = l.group
	}
	return len(waiting)
}

// maxSeqs is how many sequences run at once.
func (e *Engine) maxSeqs(groups []Group) int {
	return e.options.maxSeqs(e.policy.CacheBytes(), e.policy.Device().Memory(), groups)
}

// maxSeqs is how many run at once where a cached position takes so many bytes, on a device of so many; 0: it is not known.
func (o Options) maxSeqs(position, memory int64, groups []Group) int {
	if o.MaxSeqs > 0 {
		return o.MaxSeqs
	}
	longest := 0
	for _, g := range groups {
		longest = max(longest, len(g.Prompt))
	}
	n := int64(512)
	if memory > 0 {
		n = min(n, memory/8/(position*int64(model.PageRows*(pages(longest+o.MaxTokens)+1))))
	}
	return max(1, int(n))
}

func pages(positions int) int { return (positions + model.PageRows - 1) / model.PageRows }

// cachePages is what can be in use at once. A group's sequences share the whole pages of its prompt; where they do not all run at once, any of
// them may be the ones that do, and the prompt of one group may be kept for those that wait.
func cachePages(groups []Group, maxTokens, limit int) int {
	seqs, together, most := 0, 0, 0
	for _, g := range groups {
		all := pages(len(g.Prompt) + maxTokens)
		seqs += len(g.Samples)
		together += pages(len(g.Prompt)) + len(g.Samples)*(all-len(g.Prompt)/model.PageRows)
		most = max(most, all+1)
	}
	if seqs <= limit {
		return max(together, 1)
	}
	return min(together, (limit+1)*most)
}

// step draws one token for every active sequence, and more where they were guessed.
func (e *Engine) step(s *kernels.Scope, req Request, cache *model.Cache, active []live) error {
	if len(active) == 0 {
		return nil
	}
	ahead := e.drafts(active)
	seqs, ids := make([]*model.Seq, len(active)), make([][]int32, len(active))
	for i, l := range active {
		tokens := l.sample().Tokens
		seqs[i], ids[i] = l.seq, tokens[len(tokens)-1:]
		if ahead != nil {
			ids[i] = append(slices.Clip(ids[i]), ahead[i]...)
		}
	}
	e.stats.Steps++
	if err := e.draw(s, req, cache.Extend(s, seqs, ids), active, ahead); err != nil || ahead == nil {
		return err
	}
	for i, l := range active {
		if len(ahead[i]) > 0 { // all but the last token stay cached
			cache.Truncate(s, l.seq, len(l.group.Prompt)+len(l.sample().Tokens)-1)
		}
	}
	return s.Err()
}

// admit runs the prompts of fresh sequences, each once however many samples its group has, and draws their first tokens.
func (e *Engine) admit(s *kernels.Scope, req Request, cache *model.Cache, prompts map[*Group]*model.Seq, fresh, waiting []live) error {
	if len(fresh) == 0 {
		return nil
	}
	var seqs []*model.Seq
	var ids [][]int32
	at := map[*Group]int32{} // the prompt's last hidden row
	rows := int32(0)
	for _, l := range fresh {
		if _, ok := at[l.group]; ok {
			continue
		}
		prompt, again := prompts[l.group], l.group.Prompt
		if prompt == nil {
			prompt = cache.NewSeq()
			prompts[l.group] = prompt
		} else { // admitted in part before: only the last row is wanted, so run that one again
			cache.Truncate(s, prompt, prompt.Len()-1)
			again = again[len(again)-1:]
		}
		seqs, ids = append(seqs, prompt), append(ids, again)
		rows += int32(len(again))
		at[l.group] = rows - 1
	}
	hidden := cache.Extend(s, seqs, ids)
	last := make([]int32, len(fresh))
	for i, l := range fresh {
		last[i] = at[l.group]
		fresh[i].seq = cache.Fork(s, prompts[l.group], len(l.group.Prompt))
	}
	for g := range at {
		if !slices.ContainsFunc(waiting, func(l live) bool { return l.group == g }) {
			cache.Drop(prompts[g])
			delete(prompts, g)
		}
	}
	return e.draw(s, req, s.Gather(hidden, last), fresh, nil)
}

// draw draws the next token of ls[i] from its hidden row and marks those that end. Where tokens ahead of it were guessed their rows follow, and
// are drawn from while the guesses are right; nil: there are none.
func (e *Engine) draw(s *kernels.Scope, req Request, hiddenBD *kernels.Tensor, ls []live, ahead [][]int32) error {
	if ahead == nil {
		ahead = make([][]int32, len(ls))
	}
	o := kernels.SampleOptions{Key: [2]uint32{uint32(e.options.Seed), uint32(e.options.Seed >> 32)}}
	for i, l := range ls {
		position := len(l.group.Prompt) + len(l.sample().Tokens)
		for j := range len(ahead[i]) + 1 {
			o.Counter = append(o.Counter, [4]uint32{l.group.Step, l.group.Row, req.First + uint32(l.number), uint32(position + j)})
		}
	}
	rows := len(o.Counter)
	if t := e.options.Temperature; t != 1 {
		o.Temp = slices.Repeat([]float32{t}, rows)
	}
	tokenB, logpB, entropyB, keep, mass, err := e.sample(s, hiddenBD, o)
	if err != nil {
		return err
	}
	token, logp, entropy := make([]int32, rows), make([]float32, rows), make([]float32, rows)
	if err := errors.Join(s.Read(tokenB, token), s.Read(logpB, logp), s.Read(entropyB, entropy)); err != nil {
		return s.Err()
	}
	row := 0
	for i, l := range ls {
		q := l.sample()
		for j := row; q.Stop == StopNone; j++ {
			q.Tokens, q.LogP, q.Entropy = append(q.Tokens, token[j]), append(q.LogP, logp[j]), append(q.Entropy, entropy[j])
			if keep != nil {
				q.Keep, q.Mass = append(q.Keep, keep[j]), append(q.Mass, mass[j])
			}
			if req.Token != nil {
				req.Token(l.group, l.number, token[j])
			}
			right := j-row < len(ahead[i]) && token[j] == ahead[i][j-row]
			if right {
				e.stats.Accepted++
			}
			switch {
			case slices.Contains(e.options.EOS, token[j]):
				q.Stop = StopEOS
			case len(q.Tokens) == e.options.MaxTokens:
				q.Stop = StopLength
			}
			if !right {
				break
			}
		}
		row += len(ahead[i]) + 1
	}
	return nil
}

// sample draws a token for each hidden row; keep lists the words each was chosen among, mass the probability they had, nil where nothing is truncated.
func (e *Engine) sample(s *kernels.Scope, hiddenBD *kernels.Tensor, o kernels.SampleOptions) (tokenB, logpB, entropyB *kernels.Tensor, keep [][]int32, mass []float32, err error) {
	if e.options.Truncation.Nothing() || e.options.Temperature == 0 {
		tokenB, logpB, entropyB = e.policy.Sample(s, hiddenBD, o)
		return tokenB, logpB, entropyB, nil, nil, s.Err()
	}
	var kept kernels.Kept
	tokenB, logpB, entropyB, kept = e.policy.SampleKeep(s, hiddenBD, o, slices.Repeat([]kernels.Truncation{e.options.Truncation}, len(o.Counter)))
	if s.Err() != nil {
		return nil, nil, nil, nil, nil, s.Err()
	}
	flags, width, mass := make([]int32, kept.Bits.Len()), kept.Bits.Dim(1), make([]float32, kept.Mass.Len())
	if err := errors.Join(s.Read(kept.Bits, flags), s.Read(kept.Mass, mass)); err != nil {
		return nil, nil, nil, nil, nil, err
	}
	for row := range slices.Chunk(flags, width) {
		keep = append(keep, kernels.KeptWords(row, e.policy.Config().VocabSize))
	}
	return tokenB, logpB, entropyB, keep, mass, nil
}
