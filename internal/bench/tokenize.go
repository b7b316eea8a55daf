package bench

import (
	"context"
	"fmt"
	"strings"
)

// Encoder turns text into token ids; *tokenizer.Tokenizer is one.
type Encoder interface {
	Encode(text string, addSpecial bool) []int32
}

// Tokenize encodes 100 KB of English, code and numbers.
func Tokenize(tok Encoder) []Case {
	var b strings.Builder
	for i := 0; b.Len() < 100_000; i++ {
		fmt.Fprintf(&b, "Question %d: a train of %d wagons leaves at %d:%02d; how far is it after %d.%d hours? ", i, i%37, i%24, i%60, i%9, i%7)
		fmt.Fprintf(&b, "for (int i%d = 0; i%d < %d; i%d++) {\n\tsum += x[i%d] * %d;\n}\n", i, i, 3*i, i, i, i%11)
	}
	text := b.String()
	return []Case{{
		Name: "tokenize", Unit: "MB/s", Work: float64(len(text)) / 1e6,
		Run: func(context.Context) error {
			if len(tok.Encode(text, false)) == 0 {
				return fmt.Errorf("bench: the tokenizer gives no ids")
			}
			return nil
		},
	}}
}
