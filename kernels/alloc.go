package kernels

import (
	"fmt"
	"math/bits"
	"unsafe"

	"github.com/gor1/gor1/kernels/internal/native"
)

// block is one allocation. Blocks come in classes of sizes, four to each power of two, and a freed one waits for the next
// request of its class, or of one up to half its size: steps ask for nearly the same sizes again and get the same memory.
type block struct {
	p     unsafe.Pointer
	bytes int64 // the class
}

func sizeClass(bytes int64) int64 {
	if bytes <= 256 {
		return 256
	}
	step := int64(1) << (bits.Len64(uint64(bytes-1)) - 3)
	return (bytes + step - 1) / step * step
}

func (d *Device) alloc(bytes int64) (block, error) {
	class := sizeClass(bytes)
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return block{}, fmt.Errorf("device %s is closed", d.name)
	}
	for c := class; c <= 2*class; c = sizeClass(c + 1) {
		if l := d.free[c]; len(l) > 0 {
			b := l[len(l)-1]
			d.free[c] = l[:len(l)-1]
			d.stats.CachedBytes -= c
			d.taken(c)
			d.mu.Unlock()
			return b, nil
		}
	}
	d.mu.Unlock()
	p, err := d.be.Alloc(class)
	if err != nil {
		d.Trim()
		if p, err = d.be.Alloc(class); err != nil {
			return block{}, fmt.Errorf("%w; %d bytes are in use", err, d.Stats().LiveBytes)
		}
	}
	d.mu.Lock()
	d.taken(class)
	d.mu.Unlock()
	return block{p, class}, nil
}

// taken counts a block; d.mu is held.
func (d *Device) taken(class int64) {
	d.stats.LiveTensors++
	d.stats.LiveBytes += class
	d.stats.PeakBytes = max(d.stats.PeakBytes, d.stats.LiveBytes)
}

func (d *Device) release(b block) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stats.LiveTensors--
	d.stats.LiveBytes -= b.bytes
	d.stats.CachedBytes += b.bytes
	d.free[b.bytes] = append(d.free[b.bytes], b)
}

// Trim gives memory that is kept for reuse back to the system.
func (d *Device) Trim() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for class, l := range d.free {
		for _, b := range l {
			_ = d.be.Release(b.p) // memory that Alloc returned: nothing to report
			d.stats.CachedBytes -= class
		}
		delete(d.free, class)
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
