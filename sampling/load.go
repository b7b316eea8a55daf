package sampling

import "github.com/gor1/gor1/model"

// Load is what an engine keeps and runs at once, for a plan of memory (model.Work).
type Load struct {
	Sequences int // decoded at once
	Positions int // of the cache
	Prefill   int // rows of prompts that are run at once, or of sequences with their drafts where those are more
}

// Load is what Rollout will need at most for problems with prompts of so many tokens and a number of samples of each, where a cached
// position takes so many bytes ([model.Config.CacheBytes]), on a device of so many (0: not known).
func (o Options) Load(position, memory int64, problems, prompt, samples int) Load {
	one := Group{Prompt: make([]int32, prompt), Samples: make([]Sample, samples)}
	groups := make([]Group, problems)
	for i := range groups {
		groups[i] = one
	}
	limit := o.maxSeqs(position, memory, groups)
	sequences := min(limit, problems*samples)
	return Load{
		Sequences: sequences,
		Positions: model.PageRows * cachePages(groups, o.MaxTokens, limit),
		Prefill:   max(min(max(prefillRows, prompt), problems*prompt), min(draftRows, sequences*(1+o.draft()))),
	}
}
