package run_test

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/gor1/gor1/run"
)

// A run's directory is owned by one process; a checkpoint is there whole or not at all.
func ExampleOpen() {
	dir, err := os.MkdirTemp("", "run")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	r, err := run.Open(dir)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Close()
	_ = r.Metrics(1, run.Field{Name: "reward", Value: 0.5})
	_ = r.Commit(1, func(dir string) error { return os.WriteFile(filepath.Join(dir, "weights"), []byte("w"), 0o644) })
	step, _, ok, err := r.Latest()
	fmt.Println(step, ok, err)
	// Output: 1 true <nil>
}
