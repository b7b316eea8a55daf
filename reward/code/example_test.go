package code_test

import (
	"context"
	"fmt"

	"github.com/gor1/gor1/reward"
	"github.com/gor1/gor1/reward/code"
	"github.com/gor1/gor1/reward/code/sandbox"
)

// A completion that passes one of its problem's two tests.
func Example() {
	box, err := sandbox.Open(sandbox.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer box.Close()
	grader, err := code.New(code.Config{Sandbox: box})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer grader.Close()
	score, err := grader.Code(context.Background(), reward.Sample{
		Problem:    reward.Problem{Columns: map[string]any{"test_list": []any{"assert double(0) == 0", "assert double(2) == 4"}}},
		Completion: "<think>Easy.</think>\n```python\ndef double(x):\n    return 0\n```",
	})
	fmt.Println(score.Value())
	fmt.Println(err)
	// 0.5 true
	// <nil>
}
