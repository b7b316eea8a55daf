package hub_test

import (
	"context"
	"fmt"
	"os"

	"github.com/gor1/gor1/model/hub"
)

// A folder is used as it is; "Qwen/Qwen3-0.6B" instead would be downloaded into Python's cache.
func ExampleResolve() {
	options, err := hub.FromEnviron(os.Getenv)
	if err != nil {
		panic(err)
	}
	options.Progress = func(p hub.Progress) { fmt.Printf("%d of %d bytes\n", p.Bytes, p.Total) }
	dir, err := hub.Resolve(context.Background(), "../testdata/golden/qwen2", options)
	fmt.Println(dir, err)
	// Output: ../testdata/golden/qwen2 <nil>
}
