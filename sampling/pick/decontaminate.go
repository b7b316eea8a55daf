package pick

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"unicode"

	"github.com/gor1/gor1/reward"
)

// Index tells whether a text shares a run of words with texts that were added, such as evaluation sets. It is a Bloom filter: its memory is
// fixed, a run that was added is always found, and one that was not is found by chance as rarely as [Index.Chance] says.
type Index struct {
	words int
	bits  []uint64
	runs  int // added
}

// hashes is the number of bits a run sets.
const hashes = 7

// worstChance is the most an index may err at a run; more runs are refused.
const worstChance = 1e-7

// NewIndex makes an index of runs of so many words (R1: 10, arXiv 2501.12948 v2, supplement) in so many bytes of memory.
func NewIndex(words, bytes int) (*Index, error) {
	if words < 1 || bytes < 8 {
		return nil, fmt.Errorf("pick: an index of %d words in %d bytes: want at least 1 and 8", words, bytes)
	}
	return &Index{words: words, bits: make([]uint64, bytes/8)}, nil
}

// Add adds a text. A text shorter than a run is found only where another is the same as a whole.
func (x *Index) Add(text string) error {
	for run := range x.each(text) {
		for _, at := range x.places(run) {
			x.bits[at/64] |= 1 << (at % 64)
		}
		x.runs++
	}
	if c := x.Chance(); c > worstChance {
		return fmt.Errorf("pick: %d runs of words are too many for an index of %d bytes: it would err at %.2g of all runs; give it more memory", x.runs, 8*len(x.bits), c)
	}
	return nil
}

// Overlaps reports that text has a run of words that was added.
func (x *Index) Overlaps(text string) bool {
	for run := range x.each(text) {
		found := true
		for _, at := range x.places(run) {
			found = found && x.bits[at/64]>>(at%64)&1 == 1
		}
		if found {
			return true
		}
	}
	return false
}

// Chance is the probability that a run that was not added is found.
func (x *Index) Chance() float64 {
	return math.Pow(1-math.Exp(-hashes*float64(x.runs)/float64(64*len(x.bits))), hashes)
}

// places are a run's bits, by double hashing.
func (x *Index) places(run string) (at [hashes]uint64) {
	sum := sha256.Sum256([]byte(run))
	a, b := binary.LittleEndian.Uint64(sum[:]), binary.LittleEndian.Uint64(sum[8:])|1
	for i := range at {
		at[i] = (a + uint64(i)*b) % uint64(64*len(x.bits))
	}
	return at
}

// each gives a text's runs of words: lower case, punctuation left out, every Chinese or Japanese character a word. A text shorter than a
// run is one with its punctuation, which tells 3+4 from 3-4.
func (x *Index) each(text string) func(yield func(run string) bool) {
	words := reward.Words(strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsMark(r) || unicode.IsNumber(r) {
			return r
		}
		return ' '
	}, text))
	return func(yield func(string) bool) {
		if n := len(words); n > 0 && n < x.words {
			yield("\x00" + strings.Join(reward.Words(text), " "))
		}
		for i := 0; i+x.words <= len(words); i++ {
			if !yield(strings.Join(words[i:i+x.words], " ")) {
				return
			}
		}
	}
}

// Decontaminate drops whole groups whose question is in the index, and completions that are.
func Decontaminate(x *Index, question func(p reward.Problem) string) Selector {
	return Where("in an evaluation set", func(c Candidate) bool {
		return !x.Overlaps(question(c.Problem)) && !x.Overlaps(c.Completion)
	})
}
