package sampling

import (
	"math/bits"
	"slices"
)

// Speculation: tokens that a sequence may write next are copied from a text that agrees with its last ones (Saxena, prompt lookup decoding,
// 2023), run beside its last token in one call of the model, and each position is drawn from as ever. While what is drawn is what was
// guessed, the next row is already there; the first other token ends the draft and is the next token. A row's bits and a draw do not depend on
// what runs beside them, so a guess changes when a token is computed and never which.

const (
	gramTokens = 3  // agreeing tokens that make a text worth copying
	matchMost  = 16 // agreeing tokens that are counted
	chainMost  = 8  // places that are compared for one guess, the latest first
	draftMost  = 16 // tokens guessed for one sequence, unless Options say
	draftRows  = 64 // rows of a step that has drafts; more sequences keep the machine busy without
	freeRows   = 8  // rows whose own work takes as long as what a step costs however few it has; more for large models, whose weights it reads
	pastBytes  = 32 << 20
)

// Stats count what an engine has done in all its rollouts.
type Stats struct {
	Steps    int // calls of the model that decoded, prompts aside
	Drafted  int // tokens guessed ahead
	Accepted int // of them, those that were then drawn
}

// Stats returns the counts so far.
func (e *Engine) Stats() Stats { return e.stats }

// odds are how often the next token of a copied text was drawn, by how many tokens before it agreed.
type odds [matchMost + 1]struct{ seen, right int }

func (o *odds) add(match int, right bool) {
	c := &o[match]
	if c.seen++; right {
		c.right++
	}
	if c.seen == 256 { // a policy in training changes
		c.seen, c.right = c.seen/2, c.right/2
	}
}

func (o *odds) of(match int) float64 { return float64(o[match].right+1) / float64(o[match].seen+2) }

// past keeps the latest completions of prompts, for the next epoch's guesses: two generations of at most pastBytes each.
type past struct {
	young, old map[uint64][][]int32 // by the hash of the prompt; a wrong one makes wrong guesses, no more
	bytes      int                  // of the young
}

func (p *past) of(prompt []int32) [][]int32 {
	k := hash(prompt)
	if texts, ok := p.young[k]; ok {
		return texts
	}
	return p.old[k]
}

func (p *past) remember(g *Group) {
	var texts [][]int32
	bytes := 64
	for _, s := range g.Samples {
		texts, bytes = append(texts, slices.Clone(s.Tokens)), bytes+4*len(s.Tokens)+24
	}
	if p.young == nil || p.bytes+bytes > pastBytes {
		p.old, p.young, p.bytes = p.young, map[uint64][][]int32{}, 0
	}
	if bytes <= pastBytes {
		p.young[hash(g.Prompt)] = texts
		p.bytes += bytes
	}
}

// hash is FNV-1a over ids.
func hash(ids []int32) uint64 {
	h := uint64(14695981039346656037)
	for _, id := range ids {
		h = (h ^ uint64(uint32(id))) * 1099511628211
	}
	return h
}

// history is what was written after one prompt: by earlier rollouts, and so far by this one's samples. Texts begin with the prompt.
type history struct {
	prompt  []int32
	texts   []*[]int32 // the completions: one a sample of the group, then earlier ones
	indexed []int      // positions of each text that can be found
	places  []place
	latest  []int32  // the number of the latest place after tokens of a hash, plus 1
	cursors []cursor // one a sample
}

// place is a position in a text; before is what was latest when it became so.
type place struct{ text, at, before int32 }

// cursor is where a sample's text is copied from: match tokens before the place agree with its last ones. 0: nowhere.
type cursor struct {
	place
	match int
	known int // tokens of the sample that it has been moved by
}

func newHistory(g *Group, earlier [][]int32) *history {
	h := &history{prompt: g.Prompt, latest: make([]int32, 64), cursors: make([]cursor, len(g.Samples))}
	for i := range g.Samples {
		h.texts = append(h.texts, &g.Samples[i].Tokens)
	}
	for i := range earlier {
		h.texts = append(h.texts, &earlier[i])
	}
	h.indexed = slices.Repeat([]int{max(len(g.Prompt), gramTokens)}, len(h.texts))
	h.indexed[0] = gramTokens // the prompt, once
	return h
}

func (h *history) len(text int32) int { return len(h.prompt) + len(*h.texts[text]) }

func (h *history) id(text int32, at int) int32 {
	if at < len(h.prompt) {
		return h.prompt[at]
	}
	return (*h.texts[text])[at-len(h.prompt)]
}

// slot is where latest has the places after the tokens before a position of a text.
func (h *history) slot(text int32, at int) int {
	k := uint32(0)
	for i := at - gramTokens; i < at; i++ {
		k = (k ^ uint32(h.id(text, i))) * 0x9e3779b1
	}
	return int(k>>7) & (len(h.latest) - 1)
}

// index makes findable what texts have grown by.
func (h *history) index() {
	places := len(h.prompt)
	for i := range h.texts {
		places += len(*h.texts[i])
	}
	if places > len(h.latest) {
		h.latest = make([]int32, 1<<bits.Len(uint(places)))
		h.places = slices.Grow(h.places, len(h.latest)-len(h.places))
		for i, p := range h.places {
			h.add(i, p.text, int(p.at))
		}
	}
	for i := len(h.texts) - 1; i >= 0; i-- { // the samples' own are the latest
		for n := h.len(int32(i)); h.indexed[i] < n; h.indexed[i]++ {
			h.places = append(h.places, place{})
			h.add(len(h.places)-1, int32(i), h.indexed[i])
		}
	}
}

// add sets a place of the list.
func (h *history) add(number int, text int32, at int) {
	slot := h.slot(text, at)
	h.places[number] = place{text, int32(at), h.latest[slot]}
	h.latest[slot] = int32(number + 1)
}

// find is the place after the longest text that agrees with the end of a sample's.
func (h *history) find(sample int32) (best cursor) {
	n := h.len(sample)
	if n < gramTokens {
		return cursor{}
	}
	next := h.latest[h.slot(sample, n)]
	for range chainMost {
		if next == 0 {
			break
		}
		p, match := h.places[next-1], 0
		for match < min(matchMost, int(p.at), n) && h.id(p.text, int(p.at)-match-1) == h.id(sample, n-match-1) {
			match++
		}
		if match >= gramTokens && match > best.match {
			best = cursor{place: p, match: match}
		}
		next = p.before
	}
	return best
}

// follow moves a sample's cursor by the tokens it has written since, or finds another place.
func (h *history) follow(sample int32, o *odds) *cursor {
	c := &h.cursors[sample]
	tokens := *h.texts[sample]
	for ; c.known < len(tokens) && c.match > 0; c.known++ {
		if int(c.at) == h.len(c.text) { // a sample that is no further
			c.match = 0
			break
		}
		right := h.id(c.text, int(c.at)) == tokens[c.known]
		o.add(c.match, right)
		if c.at++; right {
			c.match = min(c.match+1, matchMost)
		} else {
			c.match = 0
		}
	}
	if c.match == 0 || int(c.at) == h.len(c.text) {
		*c = h.find(sample)
	}
	c.known = len(tokens)
	return c
}

// draft is how many tokens may be guessed for one sequence.
func (o Options) draft() int {
	if o.Draft == 0 {
		return draftMost
	}
	return max(o.Draft, 0)
}

// drafts are the tokens guessed for each sequence of a step. One more is guessed where the chance that it is drawn is more than the step
// takes longer by it, as a share: with few sequences nearly always, with many where a text is all but certain.
func (e *Engine) drafts(active []live) [][]int32 {
	most, rows := e.options.draft(), len(active)
	if most == 0 || rows >= draftRows || !e.policy.Device().Exact() {
		return nil
	}
	type guess struct {
		*cursor
		chance float64
		most   int
	}
	guesses, ahead := make([]guess, len(active)), make([][]int32, len(active))
	for i := range active {
		l := &active[i]
		if i > 0 && active[i-1].group == l.group { // they are in the groups' order
			l.texts = active[i-1].texts
		} else {
			if l.texts == nil {
				l.texts = newHistory(l.group, e.past.of(l.group.Prompt))
			}
			l.texts.index()
		}
		guesses[i] = guess{l.texts.follow(int32(l.number), &e.odds), 1, min(most, e.options.MaxTokens-len(l.sample().Tokens)-1)}
	}
	for grew := true; grew; {
		grew = false
		for i, l := range active {
			g, n := &guesses[i], len(ahead[i])
			if g.match == 0 || n >= g.most || rows == draftRows {
				continue
			}
			at, end := int(g.at)+n, l.texts.len(g.text)
			var id int32
			switch {
			case at < end:
				id = l.texts.id(g.text, at)
			case int(g.text) == l.number: // it repeats itself, and what it repeats is guessed already
				id = ahead[i][at-end]
			default:
				g.most = n
				continue
			}
			g.chance *= e.odds.of(min(g.match+n, matchMost))
			if g.chance < float64(rows)/float64(rows+freeRows) {
				g.most = n
				continue
			}
			ahead[i], grew = append(ahead[i], id), true
			rows++
			if slices.Contains(e.options.EOS, id) {
				g.most = len(ahead[i])
			}
		}
	}
	e.stats.Drafted += rows - len(active)
	return ahead
}
