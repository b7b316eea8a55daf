package kernels

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"unsafe"

	"github.com/gor1/gor1/kernels/internal/native"
)

// Scope owns the tensors made through it and records how they were made. Operations are its methods. It belongs to one
// goroutine; scopes of several goroutines run side by side on one device.
//
// After an error every operation returns a dead tensor at once, so a computation is written without checks and asks
// [Scope.Err] where it loops or branches.
type Scope struct {
	st     *state
	noGrad bool
	segs   Segs // of Sequences
}

// state is what a scope and its views share.
type state struct {
	dev    *Device
	be     *native.Backend // the device's, or one of a lane
	ctx    context.Context
	root   *root
	tape   *tape
	mems   []*memory // freed when the scope ends
	segs   []uploadedSegs
	closed bool
}

// root is shared by a scope and everything inside it.
type root struct{ err error }

type uploadedSegs struct {
	first *Seg
	n     int
	t     *Tensor
}

func (st *state) close() {
	for _, m := range st.mems {
		st.free(m)
	}
	st.mems, st.tape, st.segs, st.closed = nil, nil, nil, true
}

func (st *state) free(m *memory) {
	if !m.freed {
		m.freed = true
		st.dev.release(m.block)
	}
}

// Device is where the scope computes.
func (s *Scope) Device() *Device { return s.st.dev }

// Context is the context Do was given.
func (s *Scope) Context() context.Context { return s.st.ctx }

// Err returns the first error of the scope's operations.
func (s *Scope) Err() error { return s.st.root.err }

// Fail makes err the scope's error, if it has none yet; for functions that check their own arguments.
func (s *Scope) Fail(err error) {
	if s.st.root.err == nil && err != nil {
		s.st.root.err = err
	}
}

// fail records that op failed, with the line that called it.
func (s *Scope) fail(op, format string, args ...any) *Tensor {
	if s.st.root.err == nil {
		var pcs [24]uintptr
		n := runtime.Callers(2, pcs[:])
		s.st.root.err = fmt.Errorf("kernels: %s: %w (%s)", op, fmt.Errorf(format, args...), caller(pcs[:n]))
	}
	return s.dead()
}

// caller is the first line outside this package, as file:line with the file's last folder.
func caller(pcs []uintptr) string {
	frames := runtime.CallersFrames(pcs)
	for {
		f, more := frames.Next()
		if !strings.HasPrefix(f.Function, "github.com/gor1/gor1/kernels.") || strings.HasSuffix(f.File, "_test.go") {
			file := f.File
			if i := strings.LastIndexByte(file, '/'); i >= 0 {
				if j := strings.LastIndexByte(file[:i], '/'); j >= 0 {
					file = file[j+1:]
				}
			}
			return fmt.Sprintf("%s:%d", file, f.Line)
		}
		if !more {
			return "unknown line"
		}
	}
}

func (s *Scope) dead() *Tensor { return &Tensor{dev: s.st.dev, dead: true} }

// ready reports whether op may run on these inputs; nil inputs are absent ones.
func (s *Scope) ready(op string, in ...*Tensor) bool {
	return s.alive(op, in...) && s.whole(op, nil, in...)
}

// whole reports that inputs other than w have values in memory.
func (s *Scope) whole(op string, w *Tensor, in ...*Tensor) bool {
	for i, t := range in {
		if t != nil && t != w && t.mem.halved {
			s.fail(op, "argument %d, %w", i+1, notWhole(t))
			return false
		}
	}
	return true
}

// alive is ready, of inputs that may be kept in halves.
func (s *Scope) alive(op string, in ...*Tensor) bool {
	if s.st.root.err != nil {
		return false
	}
	if s.st.closed {
		s.fail(op, "the scope has ended")
		return false
	}
	if err := s.st.ctx.Err(); err != nil {
		s.fail(op, "%w", err)
		return false
	}
	for i, t := range in {
		switch {
		case t == nil:
		case t.dead:
			s.fail(op, "argument %d is the result of an operation that failed in another scope", i+1)
			return false
		case t.dev != s.st.dev:
			s.fail(op, "argument %d, %s, lies on another device (%s)", i+1, t, t.dev)
			return false
		case t.mem == nil || t.mem.freed:
			s.fail(op, "argument %d, %s, was freed: its scope has ended", i+1, t)
			return false
		}
	}
	return true
}

// want is ready plus: all inputs are present and fp32.
func (s *Scope) want(op string, in ...*Tensor) bool { return s.wantWeight(op, nil, in...) }

// wantWeight is want of inputs of which w may be kept in halves.
func (s *Scope) wantWeight(op string, w *Tensor, in ...*Tensor) bool {
	for i, t := range in {
		if t == nil && s.st.root.err == nil {
			s.fail(op, "argument %d is nil", i+1)
			return false
		}
	}
	return s.alive(op, in...) && s.whole(op, w, in...) && s.typed(op, F32, in...)
}

func (s *Scope) typed(op string, dtype DType, in ...*Tensor) bool {
	for i, t := range in {
		if t != nil && t.DType() != dtype {
			s.fail(op, "argument %d is %s, want %s", i+1, t, dtype)
			return false
		}
	}
	return true
}

// make allocates an uninitialised tensor of the scope.
func (s *Scope) make(op string, dtype DType, shape ...int) *Tensor {
	t, err := s.st.dev.newTensor(dtype, shape)
	if err != nil {
		return s.fail(op, "%w", err)
	}
	s.st.mems = append(s.st.mems, t.mem)
	return t
}

// like allocates an fp32 tensor of x's shape.
func (s *Scope) like(op string, x *Tensor) *Tensor {
	t := &Tensor{dev: s.st.dev, n: x.n}
	t.n.DType = native.F32
	b, err := s.st.dev.alloc(int64(x.Len()) * 4)
	if err != nil {
		return s.fail(op, "%w", err)
	}
	t.own.block, t.n.P, t.mem = b, b.p, &t.own
	s.st.mems = append(s.st.mems, t.mem)
	return t
}

// did turns a backend's error into the scope's; it reports whether all is well.
func (s *Scope) did(op string, err error, in ...*Tensor) bool {
	if s.st.root.err != nil {
		return false
	}
	if err == nil {
		return true
	}
	names := make([]string, len(in))
	for i, t := range in {
		names[i] = t.String()
	}
	s.fail(op, "%w, of %s", memoryError(err), strings.Join(names, ", "))
	return false
}

// NoGrad returns a view of the scope whose operations are not recorded.
func (s *Scope) NoGrad() *Scope { return &Scope{st: s.st, noGrad: true, segs: s.segs} }

// Sequences returns a view of the scope for matrix products and heads whose rows belong to these sequences: the gradient of a weight goes from sequence to sequence, so that
// passes over parts of a batch that is cut between sequences add up to the same bits. Only bf16 of the classes tile and mma needs to be told, which take 32 and 16 rows at once; without it all rows
// are one sequence in class tile, and class mma sums in fp32 as without tensor cores. segs must not change while the scope lives.
func (s *Scope) Sequences(segs Segs) *Scope { return &Scope{st: s.st, noGrad: s.noGrad, segs: segs} }

// SequencesAt is [Scope.Sequences] for rows that were gathered from those of s, which may be a scope without sequences.
func (s *Scope) SequencesAt(rows []int32) *Scope {
	if len(s.segs) == 0 {
		return s
	}
	return s.Sequences(s.segs.At(rows))
}

// inSequences reports whether the scope's sequences, if it has some, have so many rows.
func (s *Scope) inSequences(op string, rows int) bool {
	if len(s.segs) > 0 && s.segs.Rows() != rows {
		s.fail(op, "%d rows in a scope for sequences of %d", rows, s.segs.Rows())
		return false
	}
	return true
}

// sequences is segs on the device, where its class of bf16 asks for them, else absent.
func (s *Scope) sequences(op string, segs Segs) native.Tensor {
	if class := s.st.dev.BF16(); len(segs) == 0 || class != "tile" && class != "mma" {
		return native.Tensor{}
	}
	return s.fromSegs(op, segs, segs.Rows()).n
}

// Sub runs fn with an inner scope and frees everything made through it but the tensors it returns, which belong to s
// then. Inside a recording the tape still needs the others, and they go to s as well.
func (s *Scope) Sub(fn func(s *Scope) []*Tensor) []*Tensor {
	if !s.ready("Sub") {
		return nil
	}
	inner := &Scope{st: &state{dev: s.st.dev, be: s.st.be, ctx: s.st.ctx, root: s.st.root, tape: s.st.tape}, noGrad: s.noGrad, segs: s.segs}
	defer inner.st.close()
	before := s.st.tape.len()
	out := fn(inner)
	keep := s.st.mems
	if s.st.tape.len() != before {
		s.st.mems, inner.st.mems = append(keep, inner.st.mems...), nil
		return out
	}
	kept := map[*memory]bool{}
	for _, t := range out {
		if t != nil && t.mem != nil {
			kept[t.mem] = true
		}
	}
	for _, m := range inner.st.mems {
		if kept[m] {
			keep = append(keep, m)
		} else {
			s.st.free(m)
		}
	}
	s.st.mems, inner.st.mems = keep, nil
	return out
}

// Lanes runs fn for lanes 0 to n-1 at once, each on a goroutine with a scope of its own whose operations compute on one thread each. It
// is for many small operations on rows that do not depend on one another, where threads that share each operation would mostly wait for each other.
// Nothing is recorded, and everything that is made is freed when Lanes returns. The first error, by lane, becomes the scope's.
func (s *Scope) Lanes(n int, fn func(lane int, s *Scope) error) {
	if !s.ready("Lanes") {
		return
	}
	be := s.st.dev.lane
	if be == nil {
		be = s.st.be
	}
	errs := make([]error, n)
	run := func(i int) {
		inner := &Scope{st: &state{dev: s.st.dev, be: be, ctx: s.st.ctx, root: &root{}}, noGrad: true}
		defer inner.st.close()
		if errs[i] = fn(i, inner); errs[i] == nil {
			errs[i] = inner.Err()
		}
	}
	var others sync.WaitGroup
	for i := 1; i < n; i++ {
		others.Go(func() { run(i) })
	}
	if n > 0 {
		run(0)
	}
	others.Wait()
	for _, err := range errs {
		s.Fail(err)
	}
}

// Release frees a tensor of the scope before the scope ends, where the tape cannot need it: not inside a recording. The caller
// uses neither it nor a view of it again; to do so is an error of the operation.
func (s *Scope) Release(t *Tensor) {
	if !s.noGrad || !s.ready("Release", t) || t == nil {
		return
	}
	if i := slices.Index(s.st.mems, t.mem); i >= 0 {
		s.st.mems = slices.Delete(s.st.mems, i, i+1)
		s.st.free(t.mem)
	}
}

// ---- tensors from and to Go ----

func (s *Scope) from(op string, dtype DType, n int, p unsafe.Pointer, shape []int) *Tensor {
	if !s.ready(op) {
		return s.dead()
	}
	if len(shape) == 0 {
		shape = []int{n}
	}
	t := s.make(op, dtype, shape...)
	if t.dead {
		return t
	}
	if t.Len() != n {
		return s.fail(op, "%d values for shape %v", n, shape)
	}
	if n > 0 && !s.did(op, s.st.be.Write(t.n, p, int64(n)*int64(dtype.Size())), t) {
		return s.dead()
	}
	return t
}

// FromF32 copies values into a new tensor; without a shape it is [len(values)].
func (s *Scope) FromF32(values []float32, shape ...int) *Tensor {
	return s.from("FromF32", F32, len(values), unsafe.Pointer(unsafe.SliceData(values)), shape)
}

// FromF64 copies float64 values into a new f64 tensor.
func (s *Scope) FromF64(values []float64, shape ...int) *Tensor {
	return s.from("FromF64", F64, len(values), unsafe.Pointer(unsafe.SliceData(values)), shape)
}

// FromI32 copies ids, positions or counters into a new i32 tensor.
func (s *Scope) FromI32(values []int32, shape ...int) *Tensor {
	return s.from("FromI32", I32, len(values), unsafe.Pointer(unsafe.SliceData(values)), shape)
}

// fromSegs uploads segs once for all operations of the scope that are given the same slice.
func (s *Scope) fromSegs(op string, segs Segs, rows int) *Tensor {
	for _, u := range s.st.segs {
		if len(segs) == u.n && u.n > 0 && u.first == &segs[0] {
			return u.t
		}
	}
	if err := segs.Validate(); err != nil {
		return s.fail(op, "%w", err)
	}
	if segs.Rows() != rows {
		return s.fail(op, "segs describe %d rows, the tensor has %d", segs.Rows(), rows)
	}
	t := s.from(op, I32, 3*len(segs), unsafe.Pointer(unsafe.SliceData(segs)), []int{len(segs), 3})
	if !t.dead && len(segs) > 0 {
		t.mem.wanted++
		s.st.segs = append(s.st.segs, uploadedSegs{&segs[0], len(segs), t})
	}
	return t
}

// Zeros returns an fp32 tensor of zeros.
func (s *Scope) Zeros(shape ...int) *Tensor {
	if !s.ready("Zeros") {
		return s.dead()
	}
	t := s.make("Zeros", F32, shape...)
	if t.dead || !s.did("Zeros", s.st.be.Zero(t.n)) {
		return s.dead()
	}
	return t
}

// Full returns an fp32 tensor of the given value.
func (s *Scope) Full(value float32, shape ...int) *Tensor {
	z := s.Zeros(shape...)
	if z.dead || !s.did("Full", s.st.be.Affine(z.n, z.n, 1, value)) {
		return s.dead()
	}
	return z
}

// Read copies t to the host: dst is a []float32, []float64, []int32, []int64, []uint16 (bf16, f16) or []uint8 of t's length.
// It is the only operation that waits for the device.
func (s *Scope) Read(t *Tensor, dst any) error {
	if t == nil {
		s.fail("Read", "the tensor is nil")
		return s.Err()
	}
	if !s.alive("Read", t) {
		return s.Err()
	}
	var p unsafe.Pointer
	var n int
	var fits bool
	switch d := dst.(type) {
	case []float32:
		p, n, fits = unsafe.Pointer(unsafe.SliceData(d)), len(d), t.DType() == F32
	case []float64:
		p, n, fits = unsafe.Pointer(unsafe.SliceData(d)), len(d), t.DType() == F64
	case []int32:
		p, n, fits = unsafe.Pointer(unsafe.SliceData(d)), len(d), t.DType() == I32
	case []int64:
		p, n, fits = unsafe.Pointer(unsafe.SliceData(d)), len(d), t.DType() == I64
	case []uint16:
		p, n, fits = unsafe.Pointer(unsafe.SliceData(d)), len(d), t.DType() == BF16 || t.DType() == F16
	case []uint8:
		p, n, fits = unsafe.Pointer(unsafe.SliceData(d)), len(d), t.DType() == U8
	}
	if !fits || n != t.Len() {
		s.fail("Read", "%s into %T of length %d", t, dst, n)
		return s.Err()
	}
	if half := t.halved(); half != nil {
		s.readHalves(half, dst.([]float32))
	} else if n > 0 && s.whole("Read", nil, t) {
		s.did("Read", s.st.be.Read(p, t.n, int64(n)*int64(t.DType().Size())), t)
	}
	return s.Err()
}
