package sampling

import "github.com/gor1/gor1/model"

// Load is what an engine keeps and runs at once, for a plan of memory (model.Work).
type Load struct {
	Sequences int // decoded at once
	Positions int // of the cache
	Prefill   int // rows of prompts that are run at once
}

// Load is what Rollout will need at most for problems with prompts of so many tokens and a number of samples of each, by a model of config c
// on a device of so many bytes (0: not known).
func (o Options) Load(c model.Config, memory int64, problems, prompt, samples int) Load {
	one := Group{Prompt: make([]int32, prompt), Samples: make([]Sample, samples)}
	groups := make([]Group, problems)
	for i := range groups {
		groups[i] = one
	}
	limit := o.maxSeqs(c, memory, groups)
	return Load{
		Sequences: min(limit, problems*samples),
		Positions: model.PageRows * cachePages(groups, o.MaxTokens, limit),
		Prefill:   min(max(prefillRows, prompt), problems*prompt),
	}
}
