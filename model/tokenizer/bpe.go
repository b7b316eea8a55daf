package tokenizer

import (
	"math"
	"unicode/utf8"
)

// bpe is the merge model. Words come in as text; a byte-level model starts from bytes, another from
// characters.
type bpe struct {
	byteLevel    bool
	ignoreMerges bool
	fuseUnk      bool
	unk          int32            // -1: none, what has no token is dropped
	merges       *pairs           // (left, right) to (rank, result)
	bytes        [256]int32       // token of each byte, -1: none
	chars        map[rune]int32   // tokens of one character, not byte-level
	words        map[string]int32 // by text, for ignoreMerges

	// joins has each (last character, first character) at which some merge joins. Elsewhere a word can
	// be cut before merging without changing a token: Gemma, whose words are whole texts, falls apart
	// into short ones. nil for byte-level models.
	joins *pairs
}

// noRank marks a pair that no merge joins.
const noRank = math.MaxUint32

// part is a piece of a word: a token and its length in bytes of the word.
type part struct {
	id  int32
	len int32
}

// scratch is the working memory of one Encode call.
type scratch struct {
	parts []part
	ranks []uint32
	next  []int32
	prev  []int32
	heap  []uint64
	cache map[string][2]int32 // word to its range in ids
	ids   []int32
}

// shortWord is the length in parts up to which scanning for the best pair beats a heap.
const shortWord = 48

// tokens leaves the tokens of word in sc.parts.
func (m *bpe) tokens(sc *scratch, word string) {
	if m.ignoreMerges {
		if id, ok := m.words[word]; ok {
			sc.parts = append(sc.parts[:0], part{id, int32(len(word))})
			return
		}
	}
	m.start(sc, word)
	if len(sc.parts) <= shortWord {
		m.mergeShort(sc)
	} else {
		m.mergeLong(sc)
	}
}

// start fills sc.parts with the word's first parts: bytes or characters.
func (m *bpe) start(sc *scratch, word string) {
	sc.parts = sc.parts[:0]
	if m.byteLevel {
		for i := 0; i < len(word); i++ {
			sc.parts = m.known(sc.parts, m.bytes[word[i]], 1)
		}
		return
	}
	for i := 0; i < len(word); {
		r, n := utf8.DecodeRuneInString(word[i:])
		id, ok := m.chars[r]
		switch {
		case ok && (r != utf8.RuneError || n > 1):
			sc.parts = append(sc.parts, part{id, int32(n)})
		case m.haveBytes(word[i : i+n]):
			for _, b := range []byte(word[i : i+n]) {
				sc.parts = append(sc.parts, part{m.bytes[b], 1})
			}
		default:
			sc.parts = m.known(sc.parts, -1, n)
		}
		i += n
	}
}

func (m *bpe) haveBytes(s string) bool {
	for i := 0; i < len(s); i++ {
		if m.bytes[s[i]] < 0 {
			return false
		}
	}
	return true
}

// known appends a part of n bytes; without a token it becomes the unknown token, joined to one before
// it under fuseUnk, or nothing.
func (m *bpe) known(parts []part, id int32, n int) []part {
	if id >= 0 {
		return append(parts, part{id, int32(n)})
	}
	if m.unk < 0 {
		return parts
	}
	if k := len(parts) - 1; m.fuseUnk && k >= 0 && parts[k].id == m.unk {
		parts[k].len += int32(n)
		return parts
	}
	return append(parts, part{m.unk, int32(n)})
}

func (m *bpe) rank(left, right part) uint32 {
	if rank, _, ok := m.merges.get(uint32(left.id), uint32(right.id)); ok {
		return rank
	}
	return noRank
}

func (m *bpe) join(left, right part) part {
	_, id, _ := m.merges.get(uint32(left.id), uint32(right.id))
	return part{int32(id), left.len + right.len}
}

// mergeShort joins the pair of lowest rank, leftmost first, until none is left.
func (m *bpe) mergeShort(sc *scratch) {
	p := sc.parts
	ranks := sc.ranks[:0]
	for i := 0; i+1 < len(p); i++ {
		ranks = append(ranks, m.rank(p[i], p[i+1]))
	}
	for {
		best, at := uint32(noRank), -1
		for i, r := range ranks {
			if r < best {
				best, at = r, i
			}
		}
		if at < 0 {
			break
		}
		p[at] = m.join(p[at], p[at+1])
		p = append(p[:at+1], p[at+2:]...)
		ranks = append(ranks[:at], ranks[at+1:]...)
		if at > 0 {
			ranks[at-1] = m.rank(p[at-1], p[at])
		}
		if at < len(ranks) {
			ranks[at] = m.rank(p[at], p[at+1])
		}
	}
	sc.parts, sc.ranks = p, ranks
}

// mergeLong does the same with a heap of rank<<32|position, O(n log n). Parts stay in place, linked;
// a part of length 0 was joined to one on its left. An entry whose pair has changed is skipped.
func (m *bpe) mergeLong(sc *scratch) {
	p, n := sc.parts, len(sc.parts)
	sc.next, sc.prev = resize(sc.next, n), resize(sc.prev, n)
	next, prev := sc.next, sc.prev
	sc.heap = sc.heap[:0]
	for i := range p {
		next[i], prev[i] = int32(i+1), int32(i-1)
		if i+1 < n {
			sc.push(m.rank(p[i], p[i+1]), i)
		}
	}
	for len(sc.heap) > 0 {
		rank, i := sc.pop()
		if p[i].len == 0 || int(next[i]) >= n || m.rank(p[i], p[next[i]]) != rank {
			continue
		}
		j := next[i]
		p[i] = m.join(p[i], p[j])
		p[j].len = 0
		next[i] = next[j]
		if k := next[i]; int(k) < n {
			prev[k] = int32(i)
			sc.push(m.rank(p[i], p[k]), i)
		}
		if k := prev[i]; k >= 0 {
			sc.push(m.rank(p[k], p[i]), int(k))
		}
	}
	kept := p[:0]
	for i := 0; i < n; i = int(next[i]) {
		kept = append(kept, p[i])
	}
	sc.parts = kept
}

func resize(s []int32, n int) []int32 {
	if cap(s) < n {
		return make([]int32, n)
	}
	return s[:n]
}

func (sc *scratch) push(rank uint32, at int) {
	if rank == noRank {
		return
	}
	h := append(sc.heap, uint64(rank)<<32|uint64(at))
	for i := len(h) - 1; i > 0; {
		up := (i - 1) / 2
		if h[up] <= h[i] {
			break
		}
		h[up], h[i] = h[i], h[up]
		i = up
	}
	sc.heap = h
}

func (sc *scratch) pop() (rank uint32, at int) {
	h := sc.heap
	top := h[0]
	h[0] = h[len(h)-1]
	h = h[:len(h)-1]
	for i := 0; ; {
		least := i
		for k := 2*i + 1; k <= 2*i+2 && k < len(h); k++ {
			if h[k] < h[least] {
				least = k
			}
		}
		if least == i {
			break
		}
		h[least], h[i] = h[i], h[least]
		i = least
	}
	sc.heap = h
	return uint32(top >> 32), int(uint32(top))
}

// cutWords cuts a piece of a model of characters where no merge can join, and calls word for each.
func (m *bpe) cutWords(s string, base int, word func(s string, base int)) {
	if m.joins == nil {
		word(s, base)
		return
	}
	start, before := 0, rune(-1)
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if before >= 0 {
			if _, _, ok := m.joins.get(uint32(before), uint32(r)); !ok && m.apart(before, r) {
				word(s[start:i], base+start)
				start = i
			}
		}
		before = r
		i += n
	}
	word(s[start:], base+start)
}

// apart reports whether the two characters start as different parts: unknown ones may be fused.
func (m *bpe) apart(a, b rune) bool {
	if !m.fuseUnk || m.unk < 0 {
		return true
	}
	_, okA := m.chars[a]
	_, okB := m.chars[b]
	return okA || okB
}
