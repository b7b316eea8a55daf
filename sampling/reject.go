package sampling

import (
	"context"
	"iter"

	"github.com/gor1/gor1/sampling/pick"
)

// Kept is what rejection sampling leaves of one problem's group.
type Kept struct {
	Group                    // its Samples are those that were kept, in the order of their numbers; maybe none
	Numbers []int            // of each kept sample in its group
	Drawn   int              // samples, dropped ones included
	Dropped pick.Counts      // those that were dropped, by reason
	Judged  []pick.Candidate // every sample, with why it was dropped
}

// Reject draws a request's completions, some problems at a time, and yields each problem's group, in the order of the request, with what
// keep leaves of it. Groups of which nothing is left are yielded too, so that counts are whole. What is drawn depends on the request alone,
// as with [Rollout], not on where the loop stops. After an error there is nothing more.
func Reject(ctx context.Context, e *Engine, req Request, keep pick.Selector) iter.Seq2[Kept, error] {
	return func(yield func(Kept, error) bool) {
		groups, err := e.groups(req)
		if err != nil { // what is wrong with the last problem is told before the first is drawn
			yield(Kept{}, err)
			return
		}
		rows := req.Rows
		for i := len(rows); i < len(req.Problems); i++ {
			rows = append(rows, uint32(i))
		}
		at := max(1, e.maxSeqs(groups)/max(req.Samples, 1))
		for from := 0; from < len(req.Problems); from += at {
			to := min(from+at, len(req.Problems))
			part := req
			part.Problems, part.Rows = req.Problems[from:to], rows[from:to]
			groups, err := Rollout(ctx, e, part)
			if err != nil {
				yield(Kept{}, err)
				return
			}
			for _, g := range groups {
				k, err := Pick(ctx, g, e.options.Codec, keep)
				if !yield(k, err) || err != nil {
					return
				}
			}
		}
	}
}

// Pick applies keep to one group.
func Pick(ctx context.Context, g Group, codec Codec, keep pick.Selector) (Kept, error) {
	k := Kept{Group: g, Drawn: len(g.Samples), Dropped: pick.Counts{}, Judged: Candidates(g, codec)}
	if err := keep(ctx, k.Judged); err != nil {
		return Kept{}, err
	}
	k.Dropped.Count(k.Judged)
	k.Samples = nil
	for i, c := range k.Judged {
		if c.Why == "" {
			q := g.Samples[i]
			q.Parts = c.Parts // with what keep asked for
			k.Samples, k.Numbers = append(k.Samples, q), append(k.Numbers, i)
		}
	}
	return k, nil
}

// Candidates are a group's samples as selectors see them.
func Candidates(g Group, codec Codec) []pick.Candidate {
	out := make([]pick.Candidate, len(g.Samples))
	for i, q := range g.Samples {
		out[i] = pick.Candidate{Sample: q.reading(g.Problem, codec), Score: q.Score, Parts: q.Parts, Number: i}
	}
	return out
}
