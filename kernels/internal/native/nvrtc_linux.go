//go:build cgo

package native

// #include <stdlib.h>
// #include "nvrtc.h"
import "C"

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"unsafe"
)

// NVRTC is NVIDIA's run-time compiler, loaded.
type NVRTC struct {
	Version string // such as 13.0
	entries C.nvrtc
}

// OpenNVRTC loads the compiler from its file. Its companion libnvrtc-builtins, which it looks for by name, is taken from the same folder. What
// it loads stays loaded until the process ends.
func OpenNVRTC(path string) (*NVRTC, error) {
	builtins, err := filepath.Glob(filepath.Join(filepath.Dir(path), "libnvrtc-builtins*.so*"))
	if err != nil {
		return nil, err
	}
	for _, file := range builtins {
		if strings.Contains(file, ".alt.") { // another build of the same, for compilers of that name
			continue
		}
		if _, err := load(file); err != nil {
			return nil, err
		}
	}
	library, err := load(path)
	if err != nil {
		return nil, err
	}
	n := &NVRTC{}
	if m := C.nvrtc_open(library, &n.entries); m != nil {
		return nil, fmt.Errorf("%s: %w", path, message(m))
	}
	var major, minor C.int
	if m := C.nvrtc_version(&n.entries, &major, &minor); m != nil {
		return nil, fmt.Errorf("%s: %w", path, message(m))
	}
	n.Version = fmt.Sprintf("%d.%d", major, minor)
	return n, nil
}

// Compile compiles text to the code of one architecture, which the options name. headers holds what the text may include, by name. said is
// what the compiler said: its warnings, or why it failed.
func (n *NVRTC) Compile(name, text string, headers map[string]string, options []string) (cubin []byte, said string, err error) {
	var free []unsafe.Pointer
	defer func() {
		for _, p := range free {
			C.free(p)
		}
	}()
	str := func(s string) *C.char {
		p := C.CString(s)
		free = append(free, unsafe.Pointer(p))
		return p
	}
	list := func(n int) []*C.char { // in memory of C, which may hold its pointers
		p := C.calloc(C.size_t(n+1), C.size_t(unsafe.Sizeof((*C.char)(nil))))
		free = append(free, p)
		return unsafe.Slice((**C.char)(p), n+1)
	}
	names, texts, flags := list(len(headers)), list(len(headers)), list(len(options))
	i := 0
	for name, text := range headers {
		names[i], texts[i] = str(name), str(text)
		i++
	}
	for i, o := range options {
		flags[i] = str(o)
	}
	var log, out *C.char
	var bytes C.size_t
	m := C.nvrtc_compile(&n.entries, str(name), str(text), C.int(len(headers)), &texts[0], &names[0], C.int(len(options)), &flags[0], &log, &out, &bytes)
	free = append(free, unsafe.Pointer(log), unsafe.Pointer(out))
	if log != nil {
		said = strings.TrimSpace(C.GoString(log))
	}
	if m != nil {
		return nil, said, message(m)
	}
	return C.GoBytes(unsafe.Pointer(out), C.int(bytes)), said, nil
}

// message turns a message of C into an error and frees it.
func message(m *C.char) error {
	defer C.free(unsafe.Pointer(m))
	return errors.New(C.GoString(m))
}

// CUDACapability asks the NVIDIA driver for the compute capability of a device, such as 9, 0.
func CUDACapability(device int) (major, minor int, err error) {
	var a, b C.int
	if m := C.cuda_capability(C.int(device), &a, &b); m != nil {
		return 0, 0, message(m)
	}
	return int(a), int(b), nil
}
