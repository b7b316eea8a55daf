package kernels_test

import (
	"context"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/kernels"
)

// opCase is one row of the table that all devices, instruction sets and thread counts are held to: an operation, a plain
// float64 twin of it, and shapes. The twin's finite differences are the gradient.
type opCase struct {
	name   string
	shapes [][]int
	domain func(x float64) float64 // from a value in (-1, 1) to one the operation is smooth at; nil: 2x
	op     func(s *kernels.Scope, x []*kernels.Tensor) []*kernels.Tensor
	twin   func(x [][]float64) [][]float64
	rows   bool    // row t of the result depends on row t of the first input alone
	tol    float64 // relative to the largest value; 0: 2e-6
}

func one(f func(s *kernels.Scope, x *kernels.Tensor) *kernels.Tensor) func(*kernels.Scope, []*kernels.Tensor) []*kernels.Tensor {
	return func(s *kernels.Scope, x []*kernels.Tensor) []*kernels.Tensor { return []*kernels.Tensor{f(s, x[0])} }
}

func two(f func(s *kernels.Scope, a, b *kernels.Tensor) *kernels.Tensor) func(*kernels.Scope, []*kernels.Tensor) []*kernels.Tensor {
	return func(s *kernels.Scope, x []*kernels.Tensor) []*kernels.Tensor {
		return []*kernels.Tensor{f(s, x[0], x[1])}
	}
}

func each(f func(float64) float64) func([][]float64) [][]float64 {
	return func(x [][]float64) [][]float64 {
		y := make([]float64, len(x[0]))
		for i, v := range x[0] {
			y[i] = f(v)
		}
		return [][]float64{y}
	}
}

func positive(x float64) float64 { return 1.2 + x }
func awayFrom0(x float64) float64 {
	if x < 0 {
		return 2*x - 0.1
	}
	return 2*x + 0.1
}

func silu(x float64) float64 { return x / (1 + math.Exp(-x)) }
func gelu(x float64) float64 {
	return x / 2 * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
}

const (
	tRows = 13
	tCols = 37
)

var tSegs = kernels.PackedSegs(5, 1, 7)

func unaryCases() []opCase {
	type u struct {
		name   string
		op     func(s *kernels.Scope, x *kernels.Tensor) *kernels.Tensor
		f      func(float64) float64
		domain func(float64) float64
	}
	var out []opCase
	for _, c := range []u{
		{"Neg", (*kernels.Scope).Neg, func(x float64) float64 { return -x }, nil},
		{"Exp", (*kernels.Scope).Exp, math.Exp, nil},
		{"Log", (*kernels.Scope).Log, math.Log, positive},
		{"Square", (*kernels.Scope).Square, func(x float64) float64 { return x * x }, nil},
		{"Sqrt", (*kernels.Scope).Sqrt, math.Sqrt, positive},
		{"Rsqrt", (*kernels.Scope).Rsqrt, func(x float64) float64 { return 1 / math.Sqrt(x) }, positive},
		{"Reciprocal", (*kernels.Scope).Reciprocal, func(x float64) float64 { return 1 / x }, positive},
		{"Abs", (*kernels.Scope).Abs, math.Abs, awayFrom0},
		{"Tanh", (*kernels.Scope).Tanh, math.Tanh, nil},
		{"Sigmoid", (*kernels.Scope).Sigmoid, func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }, nil},
		{"Silu", (*kernels.Scope).Silu, silu, nil},
		{"Gelu", (*kernels.Scope).Gelu, gelu, nil},
		{"Relu", (*kernels.Scope).Relu, func(x float64) float64 { return math.Max(x, 0) }, awayFrom0},
		{"LogSigmoid", (*kernels.Scope).LogSigmoid, func(x float64) float64 { return -math.Log1p(math.Exp(-x)) }, nil},
		{"Affine", func(s *kernels.Scope, x *kernels.Tensor) *kernels.Tensor { return s.Affine(x, 1.5, -0.25) }, func(x float64) float64 { return 1.5*x - 0.25 }, nil},
		{"Clamp", func(s *kernels.Scope, x *kernels.Tensor) *kernels.Tensor { return s.Clamp(x, -0.5, 0.75) }, func(x float64) float64 { return math.Min(math.Max(x, -0.5), 0.75) }, nil},
	} {
		out = append(out, opCase{name: c.name, shapes: [][]int{{tRows, tCols}}, domain: c.domain, op: one(c.op), twin: each(c.f), rows: true})
	}
	return out
}

func binaryCases() []opCase {
	var out []opCase
	ops := []struct {
		name string
		op   func(s *kernels.Scope, a, b *kernels.Tensor) *kernels.Tensor
		f    func(a, b float64) float64
	}{
		{"Add", (*kernels.Scope).Add, func(a, b float64) float64 { return a + b }},
		{"Minus", (*kernels.Scope).Minus, func(a, b float64) float64 { return a - b }},
		{"Mul", (*kernels.Scope).Mul, func(a, b float64) float64 { return a * b }},
		{"Div", (*kernels.Scope).Div, func(a, b float64) float64 { return a / b }},
		{"Max", (*kernels.Scope).Max, math.Max},
		{"Min", (*kernels.Scope).Min, math.Min},
	}
	for _, how := range []struct {
		name  string
		b     []int
		index func(i int) int
	}{
		{"same", []int{tRows, tCols}, func(i int) int { return i }},
		{"scalar", []int{1}, func(i int) int { return 0 }},
		{"row", []int{tCols}, func(i int) int { return i % tCols }},
		{"col", []int{tRows, 1}, func(i int) int { return i / tCols }},
	} {
		for _, c := range ops {
			out = append(out, opCase{
				name: c.name + "/" + how.name, shapes: [][]int{{tRows, tCols}, how.b}, domain: positive, op: two(c.op), rows: how.name == "row" || how.name == "scalar",
				twin: func(x [][]float64) [][]float64 {
					y := make([]float64, len(x[0]))
					for i, v := range x[0] {
						y[i] = c.f(v, x[1][how.index(i)])
					}
					return [][]float64{y}
				},
			})
		}
	}
	return out
}

// mat is a view of values as rows of n.
func mat(v []float64, n int) [][]float64 { return slices.Collect(slices.Chunk(v, n)) }

func perRow(n int, f func(row []float64) []float64) func([][]float64) [][]float64 {
	return func(x [][]float64) [][]float64 {
		var y []float64
		for _, row := range mat(x[0], n) {
			y = append(y, f(row)...)
		}
		return [][]float64{y}
	}
}

func sum(v []float64) (t float64) {
	for _, x := range v {
		t += x
	}
	return t
}

func logSoftmax(row []float64) []float64 {
	m, t := slices.Max(row), 0.0
	for _, x := range row {
		t += math.Exp(x - m)
	}
	out := make([]float64, len(row))
	for i, x := range row {
		out[i] = x - m - math.Log(t)
	}
	return out
}

func reduceCases() []opCase {
	m := [][]int{{tRows, tCols}}
	bySeg := func(f func(v []float64) []float64) func([][]float64) [][]float64 {
		return func(x [][]float64) [][]float64 {
			var y []float64
			for _, g := range tSegs {
				y = append(y, f(x[0][g.Start:g.Start+g.Len])...)
			}
			return [][]float64{y}
		}
	}
	scan := func(v []float64) []float64 {
		y, t := make([]float64, len(v)), 0.0
		for i, x := range v {
			t += x
			y[i] = t
		}
		return y
	}
	return []opCase{
		{name: "RowSum", shapes: [][]int{{3, 2500}}, op: one((*kernels.Scope).RowSum), twin: perRow(2500, func(r []float64) []float64 { return []float64{sum(r)} }), rows: true},
		// a square x: what is one element a row must not be taken for a row
		{name: "RowSum/square", shapes: [][]int{{5, 5}}, op: one((*kernels.Scope).RowSum), twin: perRow(5, func(r []float64) []float64 { return []float64{sum(r)} })},
		{name: "RowMax/square", shapes: [][]int{{5, 5}}, op: one((*kernels.Scope).RowMax), twin: perRow(5, func(r []float64) []float64 { return []float64{slices.Max(r)} })},
		{name: "LogSoftmax/square", shapes: [][]int{{5, 5}}, op: one((*kernels.Scope).LogSoftmax), twin: perRow(5, logSoftmax)},
		{name: "RowMax", shapes: m, op: one((*kernels.Scope).RowMax), twin: perRow(tCols, func(r []float64) []float64 { return []float64{slices.Max(r)} }), rows: true},
		{name: "ColSum", shapes: m, op: one((*kernels.Scope).ColSum), twin: func(x [][]float64) [][]float64 {
			y := make([]float64, tCols)
			for i, v := range x[0] {
				y[i%tCols] += v
			}
			return [][]float64{y}
		}},
		{name: "Sum", shapes: m, op: one((*kernels.Scope).Sum), twin: func(x [][]float64) [][]float64 { return [][]float64{{sum(x[0])}} }},
		{name: "Mean", shapes: m, op: one((*kernels.Scope).Mean), twin: func(x [][]float64) [][]float64 { return [][]float64{{sum(x[0]) / float64(len(x[0]))}} }},
		{name: "SegSum", shapes: [][]int{{tRows}}, op: one(func(s *kernels.Scope, x *kernels.Tensor) *kernels.Tensor { return s.SegSum(x, tSegs) }),
			twin: bySeg(func(v []float64) []float64 { return []float64{sum(v)} })},
		{name: "SegSpread", shapes: [][]int{{3}}, op: one(func(s *kernels.Scope, x *kernels.Tensor) *kernels.Tensor { return s.SegSpread(x, tSegs) }),
			twin: func(x [][]float64) [][]float64 {
				var y []float64
				for i, g := range tSegs {
					y = append(y, slices.Repeat([]float64{x[0][i]}, int(g.Len))...)
				}
				return [][]float64{y}
			}},
		{name: "SegScan", shapes: [][]int{{tRows}}, op: one(func(s *kernels.Scope, x *kernels.Tensor) *kernels.Tensor { return s.SegScan(x, tSegs, false) }), twin: bySeg(scan)},
		{name: "SegScan/reverse", shapes: [][]int{{tRows}}, op: one(func(s *kernels.Scope, x *kernels.Tensor) *kernels.Tensor { return s.SegScan(x, tSegs, true) }),
			twin: bySeg(func(v []float64) []float64 {
				r := slices.Clone(v)
				slices.Reverse(r)
				r = scan(r)
				slices.Reverse(r)
				return r
			})},
		{name: "Reshape", shapes: m, op: one(func(s *kernels.Scope, x *kernels.Tensor) *kernels.Tensor { return s.Reshape(x, tCols, tRows) }), twin: each(func(x float64) float64 { return x })},
		{name: "Rows", shapes: m, op: one(func(s *kernels.Scope, x *kernels.Tensor) *kernels.Tensor { return s.Rows(x, 2, 5) }),
			twin: func(x [][]float64) [][]float64 { return [][]float64{x[0][2*tCols : 7*tCols]} }},
		{name: "Cols", shapes: m, op: one(func(s *kernels.Scope, x *kernels.Tensor) *kernels.Tensor { return s.Cols(x, 3, 20) }),
			twin: perRow(tCols, func(r []float64) []float64 { return r[3:23] }), rows: true},
		{name: "ConcatRows", shapes: [][]int{{2, tCols}, {3, tCols}}, op: two(func(s *kernels.Scope, a, b *kernels.Tensor) *kernels.Tensor { return s.ConcatRows(a, b) }),
			twin: func(x [][]float64) [][]float64 { return [][]float64{slices.Concat(x[0], x[1])} }},
		{name: "ConcatCols", shapes: [][]int{{4, 3}, {4, 5}}, op: two(func(s *kernels.Scope, a, b *kernels.Tensor) *kernels.Tensor { return s.ConcatCols(a, b) }),
			twin: func(x [][]float64) [][]float64 {
				var y []float64
				for i := range 4 {
					y = slices.Concat(y, x[0][3*i:3*i+3], x[1][5*i:5*i+5])
				}
				return [][]float64{y}
			}},
		{name: "LogSoftmax", shapes: m, op: one((*kernels.Scope).LogSoftmax), twin: perRow(tCols, logSoftmax), rows: true},
		{name: "Softmax", shapes: m, op: one((*kernels.Scope).Softmax), twin: perRow(tCols, func(r []float64) []float64 {
			out := logSoftmax(r)
			for i, x := range out {
				out[i] = math.Exp(x)
			}
			return out
		}), rows: true},
		{name: "Where", shapes: [][]int{{tRows}, {tRows}}, op: func(s *kernels.Scope, x []*kernels.Tensor) []*kernels.Tensor {
			cond := make([]float32, tRows)
			for i := range cond {
				cond[i] = float32(i % 2)
			}
			return []*kernels.Tensor{s.Where(s.FromF32(cond), x[0], x[1])}
		}, twin: func(x [][]float64) [][]float64 {
			y := slices.Clone(x[1])
			for i := 1; i < len(y); i += 2 {
				y[i] = x[0][i]
			}
			return [][]float64{y}
		}},
		{name: "Gather", shapes: m, op: one(func(s *kernels.Scope, x *kernels.Tensor) *kernels.Tensor { return s.Gather(x, []int32{3, 0, 3, 12}) }),
			twin: func(x [][]float64) [][]float64 {
				r := mat(x[0], tCols)
				return [][]float64{slices.Concat(r[3], r[0], r[3], r[12])}
			}},
		{name: "Pick", shapes: [][]int{{3, tCols}}, op: one(func(s *kernels.Scope, x *kernels.Tensor) *kernels.Tensor { return s.Pick(x, []int32{5, 36, 0}) }),
			twin: func(x [][]float64) [][]float64 { return [][]float64{{x[0][5], x[0][tCols+36], x[0][2*tCols]}} }},
	}
}

func linear(x, w, b []float64, k int) []float64 {
	var y []float64
	for _, row := range mat(x, k) {
		for n, wr := range mat(w, k) {
			t := 0.0
			for i := range row {
				t += row[i] * wr[i]
			}
			if b != nil {
				t += b[n]
			}
			y = append(y, t)
		}
	}
	return y
}

func matrixCases() []opCase {
	const n, k = 35, 53
	return []opCase{
		{name: "Linear", shapes: [][]int{{tRows, k}, {n, k}, {n}}, rows: true, op: func(s *kernels.Scope, x []*kernels.Tensor) []*kernels.Tensor {
			return []*kernels.Tensor{s.Linear(x[0], x[1], x[2])}
		}, twin: func(x [][]float64) [][]float64 { return [][]float64{linear(x[0], x[1], x[2], k)} }},
		{name: "Linears", shapes: [][]int{{tRows, k}, {n, k}, {7, k}, {n}}, rows: true, op: func(s *kernels.Scope, x []*kernels.Tensor) []*kernels.Tensor {
			return s.Linears(x[0], x[1:3], []*kernels.Tensor{x[3], nil})
		}, twin: func(x [][]float64) [][]float64 {
			return [][]float64{linear(x[0], x[1], x[3], k), linear(x[0], x[2], nil, k)}
		}},
		{name: "Linear/deep", shapes: [][]int{{3, 1100}, {5, 1100}}, rows: true, op: two(func(s *kernels.Scope, a, b *kernels.Tensor) *kernels.Tensor { return s.Linear(a, b, nil) }),
			twin: func(x [][]float64) [][]float64 { return [][]float64{linear(x[0], x[1], nil, 1100)} }},
		{name: "MatMul", shapes: [][]int{{tRows, k}, {k, n}}, rows: true, op: two((*kernels.Scope).MatMul), twin: func(x [][]float64) [][]float64 {
			wt := make([]float64, n*k)
			for i := range k {
				for j := range n {
					wt[j*k+i] = x[1][i*n+j]
				}
			}
			return [][]float64{linear(x[0], wt, nil, k)}
		}},
		{name: "RMSNorm", shapes: [][]int{{tRows, tCols}, {tCols}}, rows: true, op: two(func(s *kernels.Scope, a, b *kernels.Tensor) *kernels.Tensor { return s.RMSNorm(a, b, 1e-5) }),
			twin: func(x [][]float64) [][]float64 {
				var y []float64
				for _, row := range mat(x[0], tCols) {
					t := 0.0
					for _, v := range row {
						t += v * v
					}
					for i, v := range row {
						y = append(y, v/math.Sqrt(t/tCols+1e-5)*x[1][i])
					}
				}
				return [][]float64{y}
			}},
		{name: "RMSNormOffset", shapes: [][]int{{tRows, tCols}, {tCols}}, rows: true, op: two(func(s *kernels.Scope, a, b *kernels.Tensor) *kernels.Tensor { return s.RMSNormOffset(a, b, 1e-5) }),
			twin: func(x [][]float64) [][]float64 {
				var y []float64
				for _, row := range mat(x[0], tCols) {
					t := 0.0
					for _, v := range row {
						t += v * v
					}
					for i, v := range row {
						y = append(y, v/math.Sqrt(t/tCols+1e-5)*(1+x[1][i]))
					}
				}
				return [][]float64{y}
			}},
		{name: "SwiGLU", shapes: [][]int{{tRows, tCols}, {tRows, tCols}}, op: two((*kernels.Scope).SwiGLU), twin: glu(silu)},
		{name: "GeGLU", shapes: [][]int{{tRows, tCols}, {tRows, tCols}}, op: two((*kernels.Scope).GeGLU), twin: glu(gelu)},
		ropeCase("Rope", (*kernels.Scope).Rope, true), ropeCase("RopePairs", (*kernels.Scope).RopePairs, false),
	}
}

func glu(f func(float64) float64) func([][]float64) [][]float64 {
	return func(x [][]float64) [][]float64 {
		y := make([]float64, len(x[0]))
		for i := range y {
			y[i] = f(x[0][i]) * x[1][i]
		}
		return [][]float64{y}
	}
}

func ropeCase(name string, op func(s *kernels.Scope, x, pos, table *kernels.Tensor) *kernels.Tensor, halves bool) opCase {
	const t, h, d = 4, 3, 10
	pos, table := []int32{2, 0, 5, 1}, make([]float32, 6*d)
	for p := range 6 {
		for i := range d / 2 {
			sin, cos := math.Sincos(float64(p) * math.Pow(100, -2*float64(i)/d))
			table[p*d+i], table[p*d+d/2+i] = float32(cos), float32(sin)
		}
	}
	return opCase{name: name, shapes: [][]int{{t, h, d}}, op: one(func(s *kernels.Scope, x *kernels.Tensor) *kernels.Tensor {
		return op(s, x, s.FromI32(pos), s.FromF32(table, 6, d))
	}), twin: func(x [][]float64) [][]float64 {
		y := make([]float64, len(x[0]))
		for i, head := range mat(x[0], d) {
			cs := table[int(pos[i/h])*d:]
			for j := range d / 2 {
				c, s := float64(cs[j]), float64(cs[d/2+j])
				a, b := 2*j, 2*j+1
				if halves {
					a, b = j, d/2+j
				}
				y[i*d+a], y[i*d+b] = head[a]*c-head[b]*s, head[b]*c+head[a]*s
			}
		}
		return [][]float64{y}
	}}
}

// attention is the definition, row by row.
func attention(q, k, v []float64, segs kernels.Segs, h, g, d int, o kernels.AttnOptions) []float64 {
	out := make([]float64, len(q))
	for _, seg := range segs {
		var keys []int
		if seg.Parent >= 0 {
			for i := range int(segs[seg.Parent].Len) {
				keys = append(keys, int(segs[seg.Parent].Start)+i)
			}
		}
		for t := int(seg.Start); t < int(seg.Start+seg.Len); t++ {
			keys = append(keys, t)
			seen := keys
			if o.Window > 0 && len(seen) > o.Window {
				seen = seen[len(seen)-o.Window:]
			}
			for head := range h {
				qr, kh := q[(t*h+head)*d:][:d], head*g/h
				var scores []float64
				for _, j := range seen {
					z := 0.0
					for i := range d {
						z += qr[i] * k[(j*g+kh)*d+i]
					}
					z *= float64(o.Scale)
					if o.SoftCap > 0 {
						z = float64(o.SoftCap) * math.Tanh(z/float64(o.SoftCap))
					}
					scores = append(scores, z)
				}
				for n, lp := range logSoftmax(scores) {
					for i := range d {
						out[(t*h+head)*d+i] += math.Exp(lp) * v[(seen[n]*g+kh)*d+i]
					}
				}
			}
		}
	}
	return out
}

func attentionCases() []opCase {
	shared := kernels.Segs{{Start: 0, Len: 4, Parent: -1}, {Start: 4, Len: 3, Parent: 0}, {Start: 7, Len: 1, Parent: 0}, {Start: 8, Len: 5, Parent: -1}}
	var out []opCase
	for _, c := range []struct {
		name    string
		t, h, d int
		g       int
		segs    kernels.Segs
		o       kernels.AttnOptions
	}{
		{"Attention", tRows, 4, 10, 2, tSegs, kernels.AttnOptions{Scale: 0.4}},
		{"Attention/window", tRows, 2, 18, 1, tSegs, kernels.AttnOptions{Scale: 0.4, Window: 3}},
		{"Attention/softcap", tRows, 2, 16, 2, tSegs, kernels.AttnOptions{Scale: 0.7, SoftCap: 1.5}},
		{"Attention/shared prompt", tRows, 4, 32, 2, shared, kernels.AttnOptions{Scale: 0.3}},
		{"Attention/long", 600, 1, 4, 1, kernels.PackedSegs(600), kernels.AttnOptions{Scale: 0.5}},
		{"Attention/long window", 600, 1, 4, 1, kernels.PackedSegs(600), kernels.AttnOptions{Scale: 0.5, Window: 300}},
	} {
		out = append(out, opCase{
			name: c.name, shapes: [][]int{{c.t, c.h, c.d}, {c.t, c.g, c.d}, {c.t, c.g, c.d}}, tol: 5e-6,
			op: func(s *kernels.Scope, x []*kernels.Tensor) []*kernels.Tensor {
				return []*kernels.Tensor{s.Attention(x[0], x[1], x[2], c.segs, c.o)}
			},
			twin: func(x [][]float64) [][]float64 {
				return [][]float64{attention(x[0], x[1], x[2], c.segs, c.h, c.g, c.d, c.o)}
			},
		})
	}
	return out
}

func headCases() []opCase {
	var out []opCase
	for _, c := range []struct {
		name    string
		v       int
		temp    float32
		softCap float32
	}{{"Head", 71, 1, 0}, {"Head/temperature", 40, 0.7, 0}, {"Head/softcap", 40, 1.3, 2}, {"Head/large", 2600, 1, 0}} {
		const t, d = 5, 12
		targets := []int32{3, 0, int32(c.v - 1), 7, 3}
		out = append(out, opCase{
			name: c.name, shapes: [][]int{{t, d}, {c.v, d}}, tol: 5e-6, rows: false,
			op: func(s *kernels.Scope, x []*kernels.Tensor) []*kernels.Tensor {
				o := kernels.HeadOptions{SoftCap: c.softCap}
				if c.temp != 1 {
					o.Temp = s.Full(c.temp, t)
				}
				logp, ent := s.Head(x[0], x[1], targets, o)
				return []*kernels.Tensor{logp, ent}
			},
			twin: func(x [][]float64) [][]float64 {
				var logp, ent []float64
				for i, row := range mat(linear(x[0], x[1], nil, d), c.v) {
					for j, z := range row {
						if c.softCap > 0 {
							z = float64(c.softCap) * math.Tanh(z/float64(c.softCap))
						}
						row[j] = z / float64(c.temp)
					}
					lp, h := logSoftmax(row), 0.0
					for _, l := range lp {
						h -= math.Exp(l) * l
					}
					logp, ent = append(logp, lp[targets[i]]), append(ent, h)
				}
				return [][]float64{logp, ent}
			},
		})
	}
	return out
}

func opTable() []opCase {
	return slices.Concat(unaryCases(), binaryCases(), reduceCases(), matrixCases(), attentionCases(), headCases(), headKLCases())
}

// inputs are the case's values: random, the same on every machine, exact in float32.
func (c opCase) inputs(seed uint32) [][]float64 {
	in := make([][]float64, len(c.shapes))
	for i, shape := range c.shapes {
		n := 1
		for _, d := range shape {
			n *= d
		}
		in[i] = make([]float64, n)
		for j := range in[i] {
			x := 2*kernels.Uniform([2]uint32{seed, uint32(i)}, [4]uint32{uint32(j)}) - 1
			if c.domain != nil {
				x = c.domain(x)
			} else {
				x *= 2
			}
			in[i][j] = float64(float32(x))
		}
	}
	return in
}

func narrow(v []float64) []float32 {
	out := make([]float32, len(v))
	for i, x := range v {
		out[i] = float32(x)
	}
	return out
}

// run computes the case's results and the gradients of sum(coef * results) in its inputs.
func (c opCase) run(t testing.TB, dev *kernels.Device, in, coef [][]float64) (out, grads [][]float32) {
	err := dev.Do(context.Background(), func(s *kernels.Scope) error {
		x := make([]*kernels.Tensor, len(in))
		for i := range in {
			x[i] = s.Leaf(s.FromF32(narrow(in[i]), c.shapes[i]...))
		}
		y := c.op(s, x)
		seeds := make([]*kernels.Tensor, len(y))
		for i, r := range y {
			out = append(out, make([]float32, r.Len()))
			if err := s.Read(r, out[i]); err != nil {
				return err
			}
			if coef != nil {
				seeds[i] = s.FromF32(narrow(coef[i]), r.Shape()...)
			}
		}
		if coef == nil {
			return nil
		}
		s.Backward(y, seeds)
		for i := range x {
			grads = append(grads, make([]float32, x[i].Len()))
			if err := s.Read(s.GradOf(x[i]), grads[i]); err != nil {
				return err
			}
		}
		return nil
	})
	require.NoError(t, err, c.name)
	return out, grads
}

// coefficients are the weights of the results in the scalar that is differentiated.
func coefficients(out [][]float64) [][]float64 {
	coef := make([][]float64, len(out))
	for i := range out {
		coef[i] = make([]float64, len(out[i]))
		for j := range coef[i] {
			coef[i][j] = float64(float32(2*kernels.Uniform([2]uint32{99, uint32(i)}, [4]uint32{uint32(j)}) - 1))
		}
	}
	return coef
}

func openCPU(t testing.TB, o ...kernels.Options) *kernels.Device {
	dev, err := kernels.Open("cpu", o...)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.Zero(t, dev.Stats().LiveTensors, "tensors alive at the end")
		require.NoError(t, dev.Close())
	})
	return dev
}

// Values against the twin, gradients against the twin's finite differences.
func TestOpsAgainstTwins(t *testing.T) { opsAgainstTwins(t, openCPU(t)) }

func opsAgainstTwins(t *testing.T, dev *kernels.Device) {
	for _, c := range opTable() {
		t.Run(c.name, func(t *testing.T) {
			in := c.inputs(1)
			want := c.twin(in)
			coef := coefficients(want)
			got, grads := c.run(t, dev, in, coef)
			tol := c.tol
			if tol == 0 {
				tol = 2e-6
			}
			for i := range want {
				checkClose(t, "result", got[i], want[i], tol)
			}
			scalar := func() (total float64) {
				for i, y := range c.twin(in) {
					for j := range y {
						total += coef[i][j] * y[j]
					}
				}
				return total
			}
			for i := range in {
				stride := max(1, len(in[i])/40) // of a large input a sample of the elements
				var fd []float64
				var g []float32
				for j := 0; j < len(in[i]); j += stride {
					keep, h := in[i][j], 1e-5
					in[i][j] = keep + h
					up := scalar()
					in[i][j] = keep - h
					down := scalar()
					in[i][j] = keep
					fd, g = append(fd, (up-down)/(2*h)), append(g, grads[i][j])
				}
				checkClose(t, "gradient", g, fd, 2*tol+1e-6)
			}
		})
	}
}

// checkClose compares relative to the largest expected value (at least 1).
func checkClose(t *testing.T, what string, got []float32, want []float64, tol float64) {
	require.Len(t, got, len(want), what)
	scale, worst, at := 1.0, 0.0, 0
	for _, w := range want {
		scale = math.Max(scale, math.Abs(w))
	}
	for i, w := range want {
		if d := math.Abs(float64(got[i]) - w); d > worst || math.IsNaN(d) {
			worst, at = d, i
		}
	}
	require.LessOrEqual(t, worst, tol*scale, "%s: max abs difference %.3g (relative %.3g) at %d: got %v, want %v", what, worst, worst/scale, at, got[at], want[at])
}
