// Package native is the only cgo of the module: the table of r1.h as Go methods, and the C sources of the cpu backend.
// Only package kernels imports it.
package native

import (
	"errors"
	"unsafe"
)

// ErrNoCgo says why no backend can be opened.
var ErrNoCgo = errors.New("this program was built without cgo; set CGO_ENABLED=1 and install a C compiler (gcc or clang)")

// ErrAbsent is returned for an entry that the backend's table does not have: the caller composes it from others.
var ErrAbsent = errors.New("not in this backend's table")

// Tensor is r1_tensor of r1.h, field for field: a contiguous row-major view of backend memory. P is never Go memory.
type Tensor struct {
	P         unsafe.Pointer
	N         [4]int64
	ND, DType int32
}

// HeadModel is one output head: hidden rows X, weight W, W packed or absent.
type HeadModel struct {
	X, W, Packed Tensor
	SoftCap      float32
}

// HeadRows are the arguments of a head that are one a row; all but Target may be absent.
type HeadRows struct{ Target, Temp, KeepAt, Keep Tensor }

// Element types, as in r1.h.
const (
	F32 int32 = iota
	BF16
	F16
	F64
	I32
	I64
	U8
)

// How Round16 rounds, as in r1.h.
const (
	NearestEven int32 = iota
	HalfAway
)

// Parts of a split weight, as in r1.h.
const (
	SplitHi int32 = iota
	SplitLo
	SplitBack
)

// Functions of Unary, as in r1.h.
const (
	Neg int32 = iota
	Exp
	Log
	Square
	Sqrt
	Rsqrt
	Reciprocal
	Abs
	Tanh
	Sigmoid
	Silu
	Gelu
	Relu
	LogSigmoid
)

// Operators of Binary, as in r1.h.
const (
	Add int32 = iota
	Sub
	Mul
	Div
	Max
	Min
	Less
	Greater
	Equal
)

// How the second operand of Binary meets the first, as in r1.h.
const (
	Same int32 = iota
	Scalar
	Row
	Col
)

// What Measure measures, as in r1.h.
const (
	PeakF32 int32 = iota
	PeakBF16
	PeakCopy
)

// Options is r1_options of r1.h.
type Options struct {
	Device, Threads, ISA, BF16 int32
	Fast                       bool
	kernels                    string // r1_options.kernels, from Torch
}

// Info is r1_info of r1.h.
type Info struct {
	Exact              bool
	Threads, ISA, BF16 int32
	Memory             int64
	Name, Description  string
}

// How rope turns: R1_ROPE_* of r1.h, added up.
const (
	RopeBack  int32 = 1
	RopePairs int32 = 2
)
