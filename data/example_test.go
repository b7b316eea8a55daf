package data_test

import (
	"context"
	"fmt"

	"github.com/gor1/gor1/data"
)

// Problems from a file, in another order each epoch, and the rest after a stop.
func Example() {
	ctx := context.Background()
	problems, err := data.Open(ctx, "testdata/gsm8k.jsonl", data.Options{})
	if err != nil {
		panic(err)
	}
	prompts, err := data.ReadAll(ctx, data.Map(problems, data.Rename(map[string]string{"question": "prompt"})), 0)
	if err != nil {
		panic(err)
	}
	stream := data.Shuffle(prompts, 7, 3)
	var saved data.Cursor
	for row, err := range stream.Rows(ctx, data.Cursor{}) {
		if err != nil {
			panic(err)
		}
		if e, err := row.Example(); err == nil {
			fmt.Printf("%v: %.24s...\n", e.Shape, e.Prompt.Text)
		}
		saved = row.Next
		break // the run stops here
	}
	rest := 0
	for range stream.Rows(ctx, saved) {
		rest++
	}
	fmt.Println(rest, "rows left of", 3*len(prompts))
	// Output:
	// prompt-only: To make pizza, together ...
	// 119 rows left of 120
}
