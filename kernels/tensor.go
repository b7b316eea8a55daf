package kernels

import (
	"fmt"
	"strings"

	"github.com/gor1/gor1/kernels/internal/native"
)

// DType is the type of a tensor's elements.
type DType int32

// Element types.
const (
	F32  = DType(native.F32)
	BF16 = DType(native.BF16)
	F16  = DType(native.F16)
	F64  = DType(native.F64)
	I32  = DType(native.I32)
	I64  = DType(native.I64)
	U8   = DType(native.U8)
)

// String returns the type's short name, such as "f32".
func (t DType) String() string {
	if t < 0 || int(t) >= len(dtypes) {
		return fmt.Sprintf("dtype(%d)", int32(t))
	}
	return dtypes[t].name
}

// Size is the bytes of one element.
func (t DType) Size() int {
	if t < 0 || int(t) >= len(dtypes) {
		return 0
	}
	return dtypes[t].size
}

// memory is a block and whether it is still there; views share their base's.
type memory struct {
	block
	freed  bool
	owned  bool // long-lived: freed by Free, not by a scope
	halved bool // a parameter's that is kept in halves: there is no block
	wanted int  // by so many gradients, or uploads kept for later, while Backward runs
}

// Tensor is a contiguous row-major array of up to four dimensions on a device. It belongs to the scope that made it (or
// to the program, where NewBuffer or NewParam made it); using it afterwards is an error of the operation, never a crash.
type Tensor struct {
	dev   *Device
	n     native.Tensor
	own   memory
	mem   *memory
	param *Param  // the parameter whose values these are
	grads bool    // the tape goes through it
	tape  *tape   // which one
	grad  *Tensor // while Backward runs, and after it for a Leaf
	dead  bool    // the result of an operation that failed
}

func (t *Tensor) setShape(shape []int) error {
	if len(shape) > 4 {
		return fmt.Errorf("shape %v has %d dimensions, want at most 4", shape, len(shape))
	}
	total := int64(1)
	for i, n := range shape {
		if n < 0 || (n > 0 && total > (1<<40)/int64(n)) {
			return fmt.Errorf("shape %v is out of range", shape)
		}
		t.n.N[i] = int64(n)
		total *= int64(n)
	}
	t.n.ND = int32(len(shape))
	return nil
}

// Shape returns the extents, outermost first.
func (t *Tensor) Shape() []int {
	shape := make([]int, t.n.ND)
	for i := range shape {
		shape[i] = int(t.n.N[i])
	}
	return shape
}

// Dim returns extent i; negative i counts from the end.
func (t *Tensor) Dim(i int) int {
	if i < 0 {
		i += int(t.n.ND)
	}
	if i < 0 || i >= int(t.n.ND) {
		return 0
	}
	return int(t.n.N[i])
}

// Len is the number of elements.
func (t *Tensor) Len() int {
	n := 1
	for i := range int(t.n.ND) {
		n *= int(t.n.N[i])
	}
	return n
}

// DType is the type of the elements.
func (t *Tensor) DType() DType { return DType(t.n.DType) }

// Device is where the tensor lies.
func (t *Tensor) Device() *Device { return t.dev }

// String describes the tensor: type and shape, not values.
func (t *Tensor) String() string {
	if t == nil {
		return "nil"
	}
	if t.dead {
		return "(failed)"
	}
	s := make([]string, t.n.ND)
	for i := range s {
		s[i] = fmt.Sprint(t.n.N[i])
	}
	return t.DType().String() + "[" + strings.Join(s, ",") + "]"
}

// Free frees a tensor that NewBuffer made. Freeing twice is an error.
func (t *Tensor) Free() error {
	if t.mem == nil || !t.mem.owned {
		return fmt.Errorf("kernels: free: %s belongs to a scope", t)
	}
	if t.mem.freed {
		return fmt.Errorf("kernels: free: %s is freed already", t)
	}
	t.mem.freed = true
	if !t.mem.halved {
		t.dev.release(t.mem.block)
	}
	return nil
}

// rows and cols see the tensor as a matrix: all but the last dimension, and the last.
func (t *Tensor) rows() int {
	n := 1
	for i := 0; i < int(t.n.ND)-1; i++ {
		n *= int(t.n.N[i])
	}
	return n
}

func (t *Tensor) cols() int {
	if t.n.ND == 0 {
		return 1
	}
	return int(t.n.N[t.n.ND-1])
}

func sameShape(a, b *Tensor) bool { return a.n.ND == b.n.ND && a.n.N == b.n.N }
