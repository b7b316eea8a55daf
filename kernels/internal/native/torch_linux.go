//go:build cgo

package native

// #cgo LDFLAGS: -ldl
// #include <stdlib.h>
// #include "torch.h"
import "C"

import (
	"fmt"
	"path/filepath"
	"sync"
	"unsafe"
)

// loaded is the folder of the libtorch in this process: a second one would take its symbols from the first.
var loaded struct {
	sync.Mutex
	lib string
}

// loadTorch loads libtorch by path, so that the shim needs none.
func loadTorch(lib string, names ...string) error {
	lib, err := filepath.EvalSymlinks(lib)
	if err != nil {
		return err
	}
	loaded.Lock()
	defer loaded.Unlock()
	if loaded.lib != "" && loaded.lib != lib {
		return fmt.Errorf("this process has loaded the one in %s already; %s needs a process of its own", loaded.lib, lib)
	}
	for _, name := range names {
		if _, err := load(filepath.Join(lib, name)); err != nil {
			return err
		}
		loaded.lib = lib
	}
	return nil
}

// OpenTorch opens a context of the libtorch backend; o.Device is the ordinal of a CUDA device, or -1 for the CPU. What it loads stays
// loaded until the process ends.
func OpenTorch(t Torch, o Options) (*Backend, error) {
	libs := []string{"libtorch_cpu.so"}
	if o.Device >= 0 {
		libs = append(libs, "libtorch_cuda.so")
	}
	if err := loadTorch(t.Lib, libs...); err != nil {
		return nil, fmt.Errorf("load libtorch: %w", err)
	}
	shim, err := load(t.Shim)
	if err != nil {
		return nil, fmt.Errorf("load the backend: %w; where it was built for another libtorch, run: r1 setup torch", err)
	}
	b := &Backend{turns: make(chan struct{}, 1)}
	if m := C.torch_open(shim, &b.api); m != nil {
		return nil, message(m)
	}
	o.kernels = t.Kernels
	return b.open(o)
}

func load(path string) (unsafe.Pointer, error) {
	name := C.CString(path)
	defer C.free(unsafe.Pointer(name))
	var m *C.char
	handle := C.torch_load(name, &m)
	if handle == nil {
		return nil, message(m)
	}
	return handle, nil
}

// CUDADevices asks the NVIDIA driver how many devices there are.
func CUDADevices() (int, error) {
	var m *C.char
	n := C.torch_cuda_devices(&m)
	if m != nil {
		return 0, message(m)
	}
	return int(n), nil
}
