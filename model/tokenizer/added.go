package tokenizer

import (
	"strings"
	"unicode/utf8"
)

// AddedToken is a token matched as a whole before anything else looks at the text.
type AddedToken struct {
	ID      int32
	Content string
	Special bool // left out by Decode with skipSpecial
	LStrip  bool // takes the blanks before it
	RStrip  bool // takes the blanks after it

	// Normalized tokens are looked for in the normalized text, after the others were cut out of the
	// raw text.
	Normalized bool
}

// matcher finds added tokens, leftmost and longest first: a trie whose edges are (node, byte).
type matcher struct {
	first [256]bool
	edges *pairs // (node, byte) to (token index + 1 that ends there or 0, node)
	added []AddedToken
}

// newMatcher builds the trie of the contents; nil without any.
func newMatcher(added []AddedToken, content []string) *matcher {
	n := 0
	for _, c := range content {
		n += len(c)
	}
	if n == 0 {
		return nil
	}
	m := &matcher{edges: newPairs(n), added: added}
	nodes := uint32(1)
	for i, c := range content {
		node := uint32(0)
		for j := 0; j < len(c); j++ {
			end, next, ok := m.edges.get(node, uint32(c[j]))
			if !ok {
				next, nodes = nodes, nodes+1
			}
			if j == len(c)-1 {
				end = uint32(i + 1)
			}
			m.edges.set(node, uint32(c[j]), end, next)
			node = next
		}
		if c != "" {
			m.first[c[0]] = true
		}
	}
	return m
}

// at returns the longest token that starts at s[i:] and where it ends.
func (m *matcher) at(s string, i int) (token *AddedToken, stop int) {
	node := uint32(0)
	for j := i; j < len(s); j++ {
		end, next, ok := m.edges.get(node, uint32(s[j]))
		if !ok {
			break
		}
		if end > 0 {
			token, stop = &m.added[end-1], j+1
		}
		node = next
	}
	return token, stop
}

// split calls text for the stretches of s without a token and token for each token with its span,
// in order. A nil matcher finds nothing.
func (m *matcher) split(s string, text func(from, to int), token func(t *AddedToken, from, to int)) {
	start := 0
	for i := 0; m != nil && i < len(s); {
		if !m.first[s[i]] {
			i++
			continue
		}
		t, stop := m.at(s, i)
		if t == nil {
			i++
			continue
		}
		from, to := i, stop
		if t.LStrip {
			from = start + len(strings.TrimRightFunc(s[start:from], isSpace))
		}
		if t.RStrip {
			to += len(s[to:]) - len(strings.TrimLeftFunc(s[to:], isSpace))
		}
		if start < from {
			text(start, from)
		}
		token(t, from, to)
		i, start = to, to
	}
	if start < len(s) {
		text(start, len(s))
	}
}

func isSpace(r rune) bool {
	if r < utf8.RuneSelf {
		return asciiClass[r] == space
	}
	return classOf(r) == space
}
