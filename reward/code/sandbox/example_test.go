package sandbox_test

import (
	"context"
	"fmt"

	"github.com/gor1/gor1/reward/code/sandbox"
)

// The output of an Example cannot be promised on a machine without any kind of sandbox, so it is not checked.
func Example() {
	box, err := sandbox.Open(sandbox.Config{})
	if err != nil {
		fmt.Println(err) // says what was tried
		return
	}
	defer box.Close()
	res, err := box.Run(context.Background(), sandbox.Command{Args: []string{"/bin/sh", "-c", "cat; id -u"}, Stdin: []byte("hello\n")})
	fmt.Printf("%v %v %s", err, res, res.Stdout)
}
