//go:build cgo

package native

// #cgo LDFLAGS: -ldl
// #include <stdlib.h>
// #include "torch.h"
import "C"

import (
	"errors"
	"fmt"
	"path/filepath"
	"unsafe"
)

// OpenTorch opens a context of the libtorch backend; o.Device is the ordinal of a CUDA device, or -1 for the CPU. What it loads stays
// loaded until the process ends.
func OpenTorch(t Torch, o Options) (*Backend, error) {
	libs := []string{filepath.Join(t.Lib, "libtorch_cpu.so")}
	if o.Device >= 0 {
		libs = append(libs, filepath.Join(t.Lib, "libtorch_cuda.so"))
	}
	for _, lib := range libs { // by path, so that the shim needs none
		if _, err := load(lib); err != nil {
			return nil, fmt.Errorf("load libtorch: %w", err)
		}
	}
	shim, err := load(t.Shim)
	if err != nil {
		return nil, fmt.Errorf("load the backend: %w; where it was built for another libtorch, run: r1 setup torch", err)
	}
	b := &Backend{turns: make(chan struct{}, 1)}
	if m := C.torch_open(shim, &b.api); m != nil {
		defer C.free(unsafe.Pointer(m))
		return nil, errors.New(C.GoString(m))
	}
	return b.open(o)
}

func load(path string) (unsafe.Pointer, error) {
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	var m *C.char
	handle := C.torch_load(name, &m)
	if handle == nil {
		defer C.free(unsafe.Pointer(m))
		return nil, errors.New(C.GoString(m))
	}
	return handle, nil
}

// CUDADevices asks the NVIDIA driver how many devices there are.
func CUDADevices() (int, error) {
	var m *C.char
	n := C.torch_cuda_devices(&m)
	if m != nil {
		defer C.free(unsafe.Pointer(m))
		return 0, errors.New(C.GoString(m))
	}
	return int(n), nil
}
