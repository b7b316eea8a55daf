//go:build cgo

package native

// #cgo CFLAGS: -std=c11 -O3
// #cgo LDFLAGS: -lm -lpthread
// #include <stdlib.h>
// #include "call.h"
// static char *open_cpu(const r1_api **out) { return r1_open(R1_ABI, out); }
import "C"

import (
	"errors"
	"fmt"
	"unsafe"
)

// Backend is one r1_ctx and the table it came from.
type Backend struct {
	api *C.r1_api
	ctx *C.r1_ctx
	// turns bounds how many goroutines are inside the backend at once; nil: no bound. libtorch keeps helper threads for each thread
	// that ever called it, so that without a bound 64 goroutines leave a hundred threads behind.
	turns chan struct{}
}

// The layout that the conversions below rely on.
var _ = [1]struct{}{}[unsafe.Sizeof(Tensor{})-unsafe.Sizeof(C.r1_tensor{})]

func (t Tensor) c() C.r1_tensor { return *(*C.r1_tensor)(unsafe.Pointer(&t)) }

// Open opens a context on the named backend. Only "cpu" is linked in.
func Open(name string, o Options) (*Backend, error) {
	if name != "cpu" {
		return nil, fmt.Errorf("no backend named %q", name)
	}
	b := &Backend{}
	if m := C.open_cpu(&b.api); m != nil {
		defer C.free(unsafe.Pointer(m))
		return nil, errors.New(C.GoString(m))
	}
	return b.open(o)
}

// open makes the context of a backend whose table is known.
func (b *Backend) open(o Options) (*Backend, error) {
	opt := C.r1_options{device: C.int32_t(o.Device), threads: C.int32_t(o.Threads), isa: C.int32_t(o.ISA), bf16: C.int32_t(o.BF16)}
	if o.Fast {
		opt.fast = 1
	}
	if o.kernels != "" {
		opt.kernels = C.CString(o.kernels)
		defer C.free(unsafe.Pointer(opt.kernels))
	}
	if err := b.done(C.call_ctx_new(b.api, &opt, &b.ctx)); err != nil {
		return nil, err
	}
	return b, nil
}

// enter waits for a turn, which leave gives back: be.enter().leave(C.call(..)), as Go calls in order.
func (b *Backend) enter() *Backend {
	if b.turns != nil {
		b.turns <- struct{}{}
	}
	return b
}

func (b *Backend) leave(m *C.char) error {
	if b.turns != nil {
		<-b.turns
	}
	return b.done(m)
}

// done turns a message of the backend into an error and frees it.
func (b *Backend) done(m *C.char) error {
	if m == nil {
		return nil
	}
	if C.r1_is_absent(m) != 0 {
		return ErrAbsent
	}
	err := errors.New(C.GoString(m))
	C.call_err_free(b.api, m)
	return err
}

// Close frees the context. Memory that is still allocated stays so.
func (b *Backend) Close() error { return b.enter().leave(C.call_ctx_free(b.api, b.ctx)) }

// Info says what was opened.
func (b *Backend) Info() (Info, error) {
	var i C.r1_info
	if err := b.enter().leave(C.call_info(b.api, b.ctx, &i)); err != nil {
		return Info{}, err
	}
	return Info{
		Exact: i.exact != 0, Threads: int32(i.threads), ISA: int32(i.isa), BF16: int32(i.bf16), Memory: int64(i.memory),
		Name: C.GoString(&i.name[0]), Description: C.GoString(&i.description[0]),
	}, nil
}

// Measure measures a limit of the machine for about the given time.
func (b *Backend) Measure(what int32, seconds float64) (float64, error) {
	var out C.double
	err := b.enter().leave(C.call_measure(b.api, b.ctx, C.int32_t(what), C.double(seconds), &out))
	return float64(out), err
}

// KVRead is how many bytes of keys and values AttnPaged has read from pages so far.
func (b *Backend) KVRead() (int64, error) {
	var out C.int64_t
	err := b.enter().leave(C.call_kv_read(b.api, b.ctx, &out))
	return int64(out), err
}

// KVBF16 reports whether KVWrite and AttnPaged take pages of bf16.
func (b *Backend) KVBF16() (bool, error) {
	var out C.int32_t
	err := b.enter().leave(C.call_kv_bf16(b.api, b.ctx, &out))
	return out != 0, err
}

// Alloc returns backend memory with undefined contents; Release gives it back.
func (b *Backend) Alloc(bytes int64) (unsafe.Pointer, error) {
	var p unsafe.Pointer
	err := b.enter().leave(C.call_alloc(b.api, b.ctx, C.int64_t(bytes), &p))
	return p, err
}

// Release frees what Alloc returned.
func (b *Backend) Release(p unsafe.Pointer) error {
	return b.enter().leave(C.call_release(b.api, b.ctx, p))
}

// Write copies host bytes into dst and returns when it is done.
func (b *Backend) Write(dst Tensor, src unsafe.Pointer, bytes int64) error {
	return b.enter().leave(C.call_write(b.api, b.ctx, dst.c(), src, C.int64_t(bytes)))
}

// Read copies src to the host, after all work before it.
func (b *Backend) Read(dst unsafe.Pointer, src Tensor, bytes int64) error {
	return b.enter().leave(C.call_read(b.api, b.ctx, dst, src.c(), C.int64_t(bytes)))
}

// SplitBytes is the size of a part of a split [n, k] weight.
func (b *Backend) SplitBytes(n, k int64, part int32) (int64, error) {
	var out C.int64_t
	err := b.enter().leave(C.call_split_bytes(b.api, b.ctx, C.int64_t(n), C.int64_t(k), C.int32_t(part), &out))
	return int64(out), err
}

// PackBytes is the size of a packed [n, k] weight.
func (b *Backend) PackBytes(n, k int64, dtype int32) (int64, error) {
	var out C.int64_t
	err := b.enter().leave(C.call_pack_bytes(b.api, b.ctx, C.int64_t(n), C.int64_t(k), C.int32_t(dtype), &out))
	return int64(out), err
}
