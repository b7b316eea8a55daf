// Package kernels is the tensor backend: devices, scopes that own tensors, operations at the grain of the transformer,
// and reverse-mode differentiation over them.
//
// A [Device] is opened once. [Device.Do] runs a function with a [Scope]; everything made through the scope is freed when
// the function returns, panics included. Operations are methods on the scope and return a [*Tensor]; the first error
// sticks to the scope and is what Do returns, so that arithmetic reads as arithmetic:
//
//	err := dev.Do(ctx, func(s *kernels.Scope) error {
//		h := s.Relu(s.Linear(s.FromF32(x, n, 2), w1.Tensor, b1.Tensor))
//		loss := s.Mean(s.Square(s.Minus(s.Linear(h, w2.Tensor, nil), s.FromF32(y, n, 1))))
//		s.Backward([]*kernels.Tensor{loss}, nil) // gradients add up in w1.Grad() and friends
//		return s.Read(loss, out)
//	})
//
// There are no finalizers, no modes and no hidden state. Token tensors are packed: all sequences end to end, described by
// [Segs]. Letters in shapes: T packed tokens, N sequences, V vocabulary, D width, H heads, d head size.
package kernels

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"unsafe"

	"github.com/gor1/gor1/kernels/internal/native"
	"github.com/gor1/gor1/kernels/libtorch"
)

// Options says how to open a device. The zero value is the right one for most programs.
type Options struct {
	Threads  int    // threads to compute on; 0: one a core
	ISA      string // instruction set of cpu: "portable", "avx2", "avx512", "neon"; "": the best one here. Bits are equal on all
	BF16     string // class of products in bf16: "fma", "dot" (as VDPBF16PS: subnormal numbers count as 0), "tile" (as TDPBF16PS, AMX: and sums of 32 at a time), "mma" (a GPU's m16n8k16, cuda:N); "": mma on cuda:N, on cpu dot where the instruction is, else fma
	Fast     bool   // leave exact mode where the backend has a faster one
	Memory   int64  // bytes that tensors may take at once; 0: what there is. More is an operation's error, which wraps ErrMemory
	LibTorch string // folder of libtorch, only for "torch" and "cuda:N"; "": the one that r1 setup torch was given last
}

// Limits of a machine that [Device.Measure] measures.
const (
	PeakF32  = "f32"  // fp32 FLOP/s of the device's threads
	PeakBF16 = "bf16" // FLOP/s of products in bf16, by the device's class
	PeakCopy = "copy" // bytes read plus written a second
)

// KVBytesRead is how many bytes of keys and values [Scope.PagedAttention] has read from pages on this device so far. Keys that
// rows beside one another have in common and take together count once.
func (d *Device) KVBytesRead() (int64, error) {
	n, err := d.be.KVRead()
	if err == nil && d.lane != nil {
		var more int64
		more, err = d.lane.KVRead()
		n += more
	}
	if err != nil {
		return 0, fmt.Errorf("kernels: %s: bytes of keys and values read: %w", d.name, err)
	}
	return n, nil
}

// PagesBF16 reports whether the pages of [Scope.KVWrite] and [Scope.PagedAttention] may be bf16 on this device.
func (d *Device) PagesBF16() bool {
	takes, err := d.be.KVBF16()
	return err == nil && takes // absent: f32 alone
}

// Stats counts what a device holds.
type Stats struct {
	LiveTensors int64 // blocks of memory in use, views not counted
	LiveBytes   int64 // their bytes
	PeakBytes   int64 // the most there were
	CachedBytes int64 // freed and kept for the next allocations
}

// Device is an opened backend. Its methods are safe for many goroutines.
type Device struct {
	be     *native.Backend
	lane   *native.Backend // the same on one thread, for Scope.Lanes; nil: there are no lanes
	info   native.Info
	memory int64 // 0: not known
	limit  int64 // Options.Memory
	name   string

	mu     sync.Mutex                 // the fields below
	free   map[int64][]unsafe.Pointer // small blocks, by class
	arena  arena                      // large ones
	stats  Stats
	closed bool
}

var isaNames = map[string]int32{"": 0, "portable": 1, "avx2": 2, "avx512": 3, "neon": 4}
var bf16Names = map[string]int32{"": 0, "fma": 1, "dot": 2, "tile": 3, "mma": 4}

// Open opens a device. "cpu" is built in. "torch" (libtorch on the CPU) and "cuda:N" need r1 setup torch once; package libtorch is
// what it calls. A GPU of another kind than before costs about 20 seconds more, in which its kernels are compiled. At most one Options may
// be given.
func Open(name string, opts ...Options) (*Device, error) {
	var o Options
	if len(opts) > 1 {
		return nil, fmt.Errorf("kernels: open %s: %d Options given, want at most one", name, len(opts))
	}
	if len(opts) == 1 {
		o = opts[0]
	}
	if o.Memory < 0 {
		return nil, fmt.Errorf("kernels: open %s: Options.Memory is %d bytes, want 0 or more", name, o.Memory)
	}
	isa, err := lookup("ISA", o.ISA, isaNames)
	if err != nil {
		return nil, err
	}
	bf16, err := lookup("BF16", o.BF16, bf16Names)
	if err != nil {
		return nil, err
	}
	be, err := backend(name, o.LibTorch, native.Options{Threads: int32(o.Threads), ISA: isa, BF16: bf16, Fast: o.Fast})
	if err != nil {
		return nil, fmt.Errorf("kernels: open %s: %w", name, err)
	}
	info, err := be.Info()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("kernels: open %s: %w", name, err), be.Close())
	}
	memory := info.Memory
	if name == "cpu" || name == "torch" {
		memory = allowed(memory)
	}
	if o.Memory > 0 && (memory == 0 || o.Memory < memory) {
		memory = o.Memory
	}
	d := &Device{be: be, info: info, memory: memory, limit: o.Memory, name: name, free: map[int64][]unsafe.Pointer{}}
	if name == "cpu" && info.Threads > 1 {
		if d.lane, err = native.Open(name, native.Options{Threads: 1, ISA: info.ISA, BF16: info.BF16}); err != nil {
			return nil, errors.Join(fmt.Errorf("kernels: open %s: %w", name, err), be.Close())
		}
	}
	return d, nil
}

// backend opens the backend of a device's name.
func backend(name, dir string, o native.Options) (*native.Backend, error) {
	ordinal, isCUDA := strings.CutPrefix(name, "cuda:")
	switch n, err := strconv.Atoi(ordinal); {
	case name == "cpu":
		return native.Open(name, o)
	case name == "torch":
		o.Device = -1
	case isCUDA && err == nil && n >= 0 && n < 128:
		devices, err := native.CUDADevices()
		if err != nil {
			return nil, err
		}
		if n >= devices {
			return nil, fmt.Errorf("the driver has %d devices: the first is cuda:0", devices)
		}
		o.Device = int32(n)
	default:
		return nil, errors.New(`no such device; known are "cpu", "torch", "cuda:N"`)
	}
	in, err := libtorch.Find(dir)
	if err != nil {
		return nil, err
	}
	t := native.Torch{Lib: in.Lib(), Shim: in.Shim}
	if isCUDA {
		arch, err := libtorch.Arch(int(o.Device))
		if err != nil {
			return nil, err
		}
		if t.Kernels, err = libtorch.Kernels(context.Background(), in, arch, libtorch.Options{}); err != nil {
			return nil, err
		}
	}
	return native.OpenTorch(t, o)
}

func lookup(field, value string, names map[string]int32) (int32, error) {
	v, ok := names[value]
	if !ok {
		known := make([]string, 0, len(names))
		for n := range names {
			if n != "" {
				known = append(known, n)
			}
		}
		sort.Strings(known)
		return 0, fmt.Errorf("kernels: open: Options.%s is %q; known are %s", field, value, strings.Join(known, ", "))
	}
	return v, nil
}

// Name is the name the device was opened with.
func (d *Device) Name() string { return d.name }

// String describes the device for people: its name, instruction set and threads.
func (d *Device) String() string { return d.info.Description }

// Threads is how many threads compute.
func (d *Device) Threads() int { return int(d.info.Threads) }

// ISA is the instruction set in use, as in [Options].
func (d *Device) ISA() string {
	for name, v := range isaNames {
		if v == d.info.ISA && name != "" {
			return name
		}
	}
	return ""
}

// BF16 is the numerics class of products in bf16, as in [Options]: one for every size, so that rows do not depend on their number; empty: the device
// has none.
func (d *Device) BF16() string {
	for name, v := range bf16Names {
		if v == d.info.BF16 && name != "" {
			return name
		}
	}
	return ""
}

// Lanes is how many lanes of [Scope.Lanes] compute at once: the threads of cpu, 1 elsewhere.
func (d *Device) Lanes() int {
	if d.lane == nil {
		return 1
	}
	return d.Threads()
}

// Exact reports whether the execution contract holds: every row's result is the same bits whatever batch, thread count
// or cache it was computed with.
func (d *Device) Exact() bool { return d.info.Exact }

// Memory is the device's memory in bytes, of the host what the process may use of it (Linux control groups), at most Options.Memory; 0 where it is not known.
func (d *Device) Memory() int64 { return d.memory }

// allowed is a host's memory, or less where a control group's limit is lower.
func allowed(memory int64) int64 {
	for _, path := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && n > 0 && (memory == 0 || n < memory) {
			memory = n
		}
	}
	return memory
}

// Measure measures a limit of the machine, [PeakF32], [PeakBF16] or [PeakCopy], for about the given time.
func (d *Device) Measure(limit string, seconds float64) (float64, error) {
	what, ok := map[string]int32{PeakF32: native.PeakF32, PeakBF16: native.PeakBF16, PeakCopy: native.PeakCopy}[limit]
	if !ok {
		return 0, fmt.Errorf("kernels: measure %q: known are %q, %q and %q", limit, PeakF32, PeakBF16, PeakCopy)
	}
	v, err := d.be.Measure(what, seconds)
	if err != nil {
		return 0, fmt.Errorf("kernels: measure %s: %w", limit, err)
	}
	return v, nil
}

// Stats returns the counters at this moment.
func (d *Device) Stats() Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stats
}

// Close frees the device. Parameters and buffers must have been freed before: that they were not is an error, and then
// the device stays open.
func (d *Device) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.trim()
	if d.closed {
		return fmt.Errorf("kernels: close %s: closed already", d.name)
	}
	if n := d.stats.LiveTensors; n != 0 {
		return fmt.Errorf("kernels: close %s: %d tensors (%d bytes) are alive; free parameters and buffers first", d.name, n, d.stats.LiveBytes)
	}
	d.closed = true
	if d.lane == nil {
		return d.be.Close()
	}
	return errors.Join(d.lane.Close(), d.be.Close())
}

// Do runs fn with a scope and frees everything made through it when fn returns or panics. It returns fn's error, else
// the first error of an operation. Once ctx is done operations fail with its error.
func (d *Device) Do(ctx context.Context, fn func(s *Scope) error) error {
	s := &Scope{st: &state{dev: d, be: d.be, ctx: ctx, root: &root{}}}
	s.st.tape = &tape{}
	defer s.st.close()
	if err := fn(s); err != nil {
		return err
	}
	return s.Err()
}
