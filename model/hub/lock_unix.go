//go:build unix

package hub

import (
	"errors"
	"os"
	"syscall"
)

// tryLock takes the lock that Python's filelock takes: flock on the file. A file that was removed meanwhile locks nothing.
func tryLock(f *os.File) (bool, error) {
	switch err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); {
	case errors.Is(err, syscall.EWOULDBLOCK):
		return false, nil
	case err != nil:
		return false, err
	}
	mine, err := f.Stat()
	if err != nil {
		return false, err
	}
	there, err := os.Stat(f.Name())
	return err == nil && os.SameFile(mine, there), nil
}
