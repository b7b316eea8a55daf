// Package toy is the world of the examples: questions small enough to be learnt in minutes on a laptop, a synthetic web to
// pre-train on, and a tokenizer of 65 tokens. Everything is made from a seed; nothing is downloaded.
package toy

import (
	"fmt"
	"strings"
)

// Special token ids.
const (
	BOS int32 = iota
	EOS
)

// vocabulary lists the tokens by id: words and tags that stand for themselves, then single characters.
var vocabulary = append([]string{
	"<bos>", "<eos>", "<think>", "</think>", "<answer>", "</answer>", "User: ", "\nAssistant: ", "Q: ", "\nA: ", "How many ", " in ",
	"Which is greater, ", " or ", " wait, ", " so ", "easy", "i guess ", "\n",
}, strings.Split("abcdefghijklmnopqrstuvwxyz0123456789+-=?.<>, :", "")...)

// VocabSize is the number of tokens.
const VocabSize = 65

// Table is a tokenizer over a fixed vocabulary: greedy longest match. NewTable makes one.
type Table struct {
	tokens []string
	first  [256][]int32 // ids of the tokens that begin with a byte, longest first
}

// NewTable returns the tokenizer of a vocabulary, ids in its order. No token may be empty.
func NewTable(tokens []string) *Table {
	t := &Table{tokens: tokens}
	for id, tok := range tokens {
		list := t.first[tok[0]]
		at := 0
		for at < len(list) && len(tokens[list[at]]) >= len(tok) {
			at++
		}
		t.first[tok[0]] = append(list[:at], append([]int32{int32(id)}, list[at:]...)...)
	}
	return t
}

// Size is the number of tokens.
func (t *Table) Size() int { return len(t.tokens) }

// Encode turns text into ids. A character outside the vocabulary is an error that tells where it is.
func (t *Table) Encode(text string) ([]int32, error) {
	ids := make([]int32, 0, len(text)/2+4)
next:
	for at := 0; at < len(text); {
		for _, id := range t.first[text[at]] {
			if strings.HasPrefix(text[at:], t.tokens[id]) {
				ids = append(ids, id)
				at += len(t.tokens[id])
				continue next
			}
		}
		r := []rune(text[at:])[0]
		return nil, fmt.Errorf("toy: character %q at byte %d is not in the toy vocabulary (a-z, 0-9 and \"+-=?.<>, :\")", r, at)
	}
	return ids, nil
}

// Decode turns ids back into text, tags and all.
func (t *Table) Decode(ids []int32) string {
	var b strings.Builder
	for _, id := range ids {
		if id >= 0 && int(id) < len(t.tokens) {
			b.WriteString(t.tokens[id])
		}
	}
	return b.String()
}

// Codec is the tokenizer of the toy world. The zero value is ready.
type Codec struct{}

var table = NewTable(vocabulary)

// Encode is [Table.Encode].
func (Codec) Encode(text string) ([]int32, error) { return table.Encode(text) }

// Decode is [Table.Decode].
func (Codec) Decode(ids []int32) string { return table.Decode(ids) }

// must encodes text that this package made.
func must(text string) []int32 {
	ids, err := Codec{}.Encode(text)
	if err != nil {
		panic(err)
	}
	return ids
}
