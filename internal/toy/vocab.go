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

// Codec is the tokenizer: greedy longest match over the vocabulary. The zero value is ready.
type Codec struct{}

// first lists, for each byte, the ids of the tokens that begin with it, longest first.
var first = func() (table [256][]int32) {
	for id, tok := range vocabulary {
		list := table[tok[0]]
		at := 0
		for at < len(list) && len(vocabulary[list[at]]) >= len(tok) {
			at++
		}
		table[tok[0]] = append(list[:at], append([]int32{int32(id)}, list[at:]...)...)
	}
	return table
}()

// Encode turns text into ids. A character outside the vocabulary is an error that tells where it is.
func (Codec) Encode(text string) ([]int32, error) {
	ids := make([]int32, 0, len(text)/2+4)
next:
	for at := 0; at < len(text); {
		for _, id := range first[text[at]] {
			if strings.HasPrefix(text[at:], vocabulary[id]) {
				ids = append(ids, id)
				at += len(vocabulary[id])
				continue next
			}
		}
		r := []rune(text[at:])[0]
		return nil, fmt.Errorf("toy: character %q at byte %d is not in the toy vocabulary (a-z, 0-9 and \"+-=?.<>, :\")", r, at)
	}
	return ids, nil
}

// Decode turns ids back into text, tags and all.
func (Codec) Decode(ids []int32) string {
	var b strings.Builder
	for _, id := range ids {
		if id >= 0 && int(id) < len(vocabulary) {
			b.WriteString(vocabulary[id])
		}
	}
	return b.String()
}

// must encodes text that this package made.
func must(text string) []int32 {
	ids, err := Codec{}.Encode(text)
	if err != nil {
		panic(err)
	}
	return ids
}
