package weights

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"unsafe"
)

// source is one open file, mapped into memory where the system can. A mapping saves a copy, but another process may cut the
// file short under it, and a read past the new end is then a fault, which ends a Go program, not an error. So mapped bytes are
// only touched inside view, in Go code, on a goroutine whose faults are panics, and no slice of them gets out; a file that has
// become shorter is an error, as it is where the file is read instead.
type source struct {
	file *os.File
	path string
	size int64
	data []byte // the mapping; nil: the file is read
}

func openSource(path string) (*source, error) {
	info, err := os.Stat(path) // before opening: to open a pipe is to wait for its writer
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if info, err = file.Stat(); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &source{file: file, path: path, size: info.Size(), data: mapFile(file, info.Size())}, nil
}

func (s *source) close() error {
	if s.data != nil {
		if err := unmapFile(s.data); err != nil {
			return errors.Join(err, s.file.Close())
		}
		s.data = nil
	}
	return s.file.Close()
}

// view calls use with the bytes from..to of the file, which must be inside it. They are gone when use returns.
func (s *source) view(from, to int64, use func(b []byte)) error {
	if s.data == nil {
		b := make([]byte, to-from)
		if _, err := s.file.ReadAt(b, from); err != nil {
			return err
		}
		use(b)
		return nil
	}
	if err := s.guard(func() { use(s.data[from:to]) }); err != nil {
		return err
	}
	forget(s.data, from, to)
	// A cut inside a page does not fault: the rest of the page reads as zeros.
	if info, err := s.file.Stat(); err != nil || info.Size() < s.size {
		return errors.Join(err, s.cut())
	}
	return nil
}

func (s *source) cut() error {
	return fmt.Errorf("the file had %d bytes and was cut short while it was open", s.size)
}

// guard runs fn; a fault in the mapping is an error, any other panic goes on.
func (s *source) guard(fn func()) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		r := recover()
		if r == nil {
			return
		}
		first := uintptr(unsafe.Pointer(&s.data[0]))
		if f, ok := r.(interface{ Addr() uintptr }); !ok || f.Addr() < first || f.Addr()-first >= uintptr(len(s.data)) {
			panic(r)
		}
		err = s.cut()
	}()
	fn()
	return nil
}
