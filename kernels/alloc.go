package kernels

import (
	"errors"
	"fmt"
	"math/bits"
	"strings"
	"unsafe"

	"github.com/gor1/gor1/kernels/internal/native"
)

// block is one allocation.
type block struct {
	p     unsafe.Pointer
	bytes int64  // what it takes, at least what was asked for
	piece *piece // of the arena; nil: a small block, or one of its own
}

// smallBytes is up to where blocks come in classes of sizes, four to each power of two, and a freed one waits for the next request of
// its class, or of one up to half its size. Larger ones are cut from the arena.
const smallBytes = 256 << 10

func sizeClass(bytes int64) int64 {
	if bytes <= 256 {
		return 256
	}
	step := int64(1) << (bits.Len64(uint64(bytes-1)) - 3)
	return (bytes + step - 1) / step * step
}

// ErrMemory is wrapped by the error of an operation for which there was not enough memory. The error names the operation and the bytes, the scope's
// tensors are freed as after any error, and the device works on.
var ErrMemory = errors.New("out of memory")

// noMemory is a backend's own error of that kind.
type noMemory struct{ error }

func (e noMemory) Is(target error) bool { return target == ErrMemory }
func (e noMemory) Unwrap() error        { return e.error }

// memoryError marks what backends say where they have no memory, libtorch's allocator with another word.
func memoryError(err error) error {
	if err != nil && !errors.Is(err, ErrMemory) && (strings.Contains(err.Error(), "out of memory") || strings.Contains(err.Error(), "t allocate memory")) {
		return noMemory{err}
	}
	return err
}

func (d *Device) alloc(bytes int64) (b block, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.closed:
		return block{}, fmt.Errorf("device %s is closed", d.name)
	case d.limit > 0 && d.stats.LiveBytes+bytes > d.limit:
		err = fmt.Errorf("%w: %d bytes are wanted, Options.Memory allows %d", ErrMemory, bytes, d.limit)
	case !reuse:
		b.bytes = max(bytes, 1)
		b.p, err = d.reserve(b.bytes)
	case bytes <= smallBytes:
		b, err = d.small(sizeClass(bytes))
	default:
		b, err = d.large((bytes + 255) / 256 * 256)
	}
	if err != nil {
		return block{}, fmt.Errorf("%w; %d bytes are in use", memoryError(err), d.stats.LiveBytes)
	}
	d.stats.LiveTensors++
	d.stats.LiveBytes += b.bytes
	d.stats.PeakBytes = max(d.stats.PeakBytes, d.stats.LiveBytes)
	return b, nil
}

// small returns a block of a class; d.mu is held, as in all that follows.
func (d *Device) small(class int64) (block, error) {
	for c := class; c <= 2*class; c = sizeClass(c + 1) {
		if l := d.free[c]; len(l) > 0 {
			d.free[c] = l[:len(l)-1]
			d.stats.CachedBytes -= c
			return block{p: l[len(l)-1], bytes: c}, nil
		}
	}
	p, err := d.reserve(class)
	return block{p: p, bytes: class}, err
}

// large returns a block of the arena, which grows where no free piece is large enough. Segments of which nothing is in use are given up first where
// the arena would become much larger than what was ever in use at once.
func (d *Device) large(bytes int64) (block, error) {
	x := d.arena.take(bytes)
	if x == nil {
		size := segment(bytes)
		for d.arena.reserved+size > d.stats.PeakBytes/4*5+2*segmentBytes && d.giveUp() {
		}
		p, err := d.reserve(size)
		if err != nil { // near the limit: no more than what is asked for
			size = bytes
			if p, err = d.reserve(size); err != nil {
				return block{}, err
			}
		}
		d.stats.CachedBytes += size
		x = d.arena.grow(p, size, bytes)
	}
	d.stats.CachedBytes -= x.bytes
	return block{x.p, x.bytes, x}, nil
}

// reserve asks the backend for memory, a second time once what is kept for reuse was given back.
func (d *Device) reserve(bytes int64) (unsafe.Pointer, error) {
	p, err := d.be.Alloc(bytes)
	if err != nil {
		d.trim()
		p, err = d.be.Alloc(bytes)
	}
	return p, err
}

// giveUp gives a segment back of which nothing is in use.
func (d *Device) giveUp() bool {
	before := d.arena.reserved
	p := d.arena.spare()
	if p == nil {
		return false
	}
	d.stats.CachedBytes -= before - d.arena.reserved
	_ = d.be.Release(p) // memory that Alloc returned: nothing to report
	return true
}

func (d *Device) release(b block) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stats.LiveTensors--
	d.stats.LiveBytes -= b.bytes
	switch {
	case !reuse:
		_ = d.be.Release(b.p)
		return
	case b.piece != nil:
		d.arena.give(b.piece)
	default:
		d.free[b.bytes] = append(d.free[b.bytes], b.p)
	}
	d.stats.CachedBytes += b.bytes
}

// Trim gives memory that is kept for reuse back to the system: freed blocks, and segments of which nothing is in use.
func (d *Device) Trim() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.trim()
}

func (d *Device) trim() {
	for class, l := range d.free {
		for _, p := range l {
			_ = d.be.Release(p)
			d.stats.CachedBytes -= class
		}
		delete(d.free, class)
	}
	for d.giveUp() {
	}
}

// newTensor allocates a tensor that belongs to nobody yet; contents are undefined.
func (d *Device) newTensor(dtype DType, shape []int) (*Tensor, error) {
	t := &Tensor{dev: d}
	t.n.DType = int32(dtype)
	if err := t.setShape(shape); err != nil {
		return nil, err
	}
	b, err := d.alloc(int64(t.Len()) * int64(dtype.Size()))
	if err != nil {
		return nil, err
	}
	t.own.block = b
	t.mem = &t.own
	t.n.P = b.p
	return t, nil
}

// NewBuffer returns a zeroed long-lived tensor, such as a KV cache. The caller frees it with [Tensor.Free].
func (d *Device) NewBuffer(dtype DType, shape ...int) (*Tensor, error) {
	t, err := d.newTensor(dtype, shape)
	if err == nil {
		err = d.be.Zero(t.n)
	}
	if err != nil {
		return nil, fmt.Errorf("kernels: new buffer %s%v: %w", dtype, shape, err)
	}
	t.mem.owned = true
	return t, nil
}

var dtypes = [...]struct {
	name string
	size int
}{native.F32: {"f32", 4}, native.BF16: {"bf16", 2}, native.F16: {"f16", 2}, native.F64: {"f64", 8}, native.I32: {"i32", 4}, native.I64: {"i64", 8}, native.U8: {"u8", 1}}
