package kernels_test

import (
	"context"
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/kernels"
)

// near is x rounded to bf16, halves to even, or as weights are, halves away from 0.
func near(x float32, weight bool) float32 {
	u := math.Float32bits(x)
	if weight {
		return math.Float32frombits((u + 0x8000) &^ 0xffff)
	}
	return math.Float32frombits((u + 0x7fff + u>>16&1) &^ 0xffff)
}

func flush(x float32) float32 {
	if u := math.Float32bits(x); u&0x7f800000 == 0 {
		return math.Float32frombits(u & 0x80000000)
	}
	return x
}

// fma32 is a*b + c rounded once, for factors of bf16.
func fma32(a, b, c float32) float32 { return float32(fmaOdd(a, b, c)) }

// fmaFlush is fma32 of a unit without subnormal numbers: a sum that is one, once it is rounded to 24 bits, is 0 of its sign.
func fmaFlush(a, b, c float32) float32 {
	s := fmaOdd(flush(a), flush(b), flush(c))
	if math.Abs(float64(float32(s*0x1p100))) < 0x1p-26 { // out of the subnormal numbers' reach
		return float32(math.Copysign(0, s))
	}
	return float32(s)
}

// fmaOdd is a*b + c in float64, for factors of bf16: their product is exact, and so, but for its double rounding, is the sum; where
// that could matter the sum is rounded to odd.
func fmaOdd(a, b, c float32) float64 {
	p, q := float64(a)*float64(b), float64(c)
	s := p + q
	if math.IsInf(s, 0) || math.IsNaN(s) {
		return s
	}
	z := s - p // TwoSum
	if e := (p - (s - z)) + (q - z); e != 0 && math.Float64bits(s)&1 == 0 {
		if (e > 0) == (s > 0) {
			s = math.Float64frombits(math.Float64bits(s) + 1)
		} else {
			s = math.Float64frombits(math.Float64bits(s) - 1)
		}
	}
	return s
}

// chain is an output of a product in bf16.
func chain(class string, a, b []float32, weight bool) float32 {
	if class == "tile" {
		return blocks(0, a, b, weight)
	}
	acc := float32(0)
	for i := range a {
		x, w := near(a[i], false), near(b[i], weight)
		if class == "dot" {
			acc = fmaFlush(x, w, acc)
		} else {
			acc = fma32(x, w, acc)
		}
	}
	return acc
}

// blocks is an output in class tile, from acc on: 32 at a time, the last ones filled up with zeros, the even and the odd a chain each.
func blocks(acc float32, a, b []float32, weight bool) float32 {
	for k := 0; k < len(a); k += 32 {
		var sums [2]float32
		for i := k; i < k+32; i++ {
			x, w := float32(0), float32(0)
			if i < len(a) {
				x, w = near(a[i], false), near(b[i], weight)
			}
			sums[i%2] = fmaFlush(x, w, sums[i%2])
		}
		acc = flush(flush(acc) + flush(sums[0]+sums[1]))
	}
	return acc
}

// bf16Devices are the devices of a class: every instruction set, one and two threads.
func bf16Devices(t *testing.T, class string) []*kernels.Device {
	var devices []*kernels.Device
	for _, isa := range []string{"portable", "avx2", "avx512", "neon"} {
		for _, threads := range []int{1, 2} {
			dev, err := kernels.Open("cpu", kernels.Options{ISA: isa, BF16: class, Threads: threads})
			if err != nil {
				require.ErrorContains(t, err, "does not have instruction set")
				continue
			}
			t.Cleanup(func() { require.NoError(t, dev.Close()) })
			require.Equal(t, class, dev.BF16())
			devices = append(devices, dev)
		}
	}
	require.GreaterOrEqual(t, len(devices), 4, "portable and at least one more")
	return devices
}

// small is noise of which some is so small that products are subnormal.
func small(seed uint32, n int) []float32 {
	v := fixed(seed, n, 1)
	for i := range v {
		switch i % 7 {
		case 3:
			v[i] *= 0x1p-70
		case 5:
			v[i] *= 0x1p-135
		}
	}
	return v
}

// bf16Linear is x wT + bias of m rows with the gradients of a sum with coefficients dy: rows, dx, dw.
func bf16Linear(t *testing.T, dev *kernels.Device, x, w, bias, dy []float32, m, n, k int) (y, dx, dw []float32) {
	wP, err := dev.NewParam("w", w, n, k)
	require.NoError(t, err)
	bP, err := dev.NewParam("b", bias, n)
	require.NoError(t, err)
	defer func() { require.NoError(t, wP.Free()); require.NoError(t, bP.Free()) }()
	require.NoError(t, wP.UseBF16())
	y, dx, dw = make([]float32, m*n), make([]float32, m*k), make([]float32, n*k)
	require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
		in := s.Leaf(s.FromF32(x, m, k))
		out := s.Linear(in, wP.Tensor, bP.Tensor)
		s.Backward([]*kernels.Tensor{out}, []*kernels.Tensor{s.FromF32(dy, m, n)})
		g, err := wP.Grad()
		require.NoError(t, err)
		require.NoError(t, s.Read(out, y))
		require.NoError(t, s.Read(s.GradOf(in), dx))
		return s.Read(g, dw)
	}))
	return y, dx, dw
}

// Products in bf16 are what the definition in Go says, on every instruction set and with any threads: forward, and both gradients.
func TestBF16IsItsDefinition(t *testing.T) {
	for _, class := range []string{"fma", "dot", "tile"} {
		devices := bf16Devices(t, class)
		for _, shape := range [][3]int{{1, 40, 33}, {5, 33, 7}, {14, 70, 130}, {3, 2, 1200}} {
			m, n, k := shape[0], shape[1], shape[2]
			x, w, bias, dy := small(1, m*k), small(2, n*k), fixed(3, n, 1), small(4, m*n)
			wantY, wantDX, wantDW := make([]float32, m*n), make([]float32, m*k), make([]float32, n*k)
			column := func(v []float32, rows, width, j int) []float32 {
				c := make([]float32, rows)
				for i := range c {
					c[i] = v[i*width+j]
				}
				return c
			}
			for i := range m {
				for j := range n {
					wantY[i*n+j] = chain(class, x[i*k:(i+1)*k], w[j*k:(j+1)*k], true) + bias[j]
				}
				for j := range k {
					wantDX[i*k+j] = chain(class, dy[i*n:(i+1)*n], column(w, n, k, j), true)
				}
			}
			for i := range n {
				for j := range k {
					wantDW[i*k+j] = chain(class, column(dy, m, n, i), column(x, m, k, j), false)
				}
			}
			for _, dev := range devices {
				y, dx, dw := bf16Linear(t, dev, x, w, bias, dy, m, n, k)
				require.Equal(t, bits(wantY), bits(y), "%s %v on %s: forward", class, shape, dev)
				require.Equal(t, bits(wantDX), bits(dx), "%s %v on %s: dx", class, shape, dev)
				require.Equal(t, bits(wantDW), bits(dw), "%s %v on %s: dw", class, shape, dev)
			}
		}
	}
}

// Just below the least normal number a sum that is rounded up to it by the few bits it has there is 0 all the same: whether it is subnormal is asked of 24 bits, as
// x86 does.
func TestBF16FlushesWhatIsRounded(t *testing.T) {
	const least = 0x1p-126
	w := []float32{0x1p-63, 0, 0x1p-75}                                                                                         // class tile's even chain
	cases := map[float32]float32{-0x1p-76: least, -0x1.02p-76: 0, -0x1.8p-76: 0, -0x1p-75: 0, 0x1p-76: least, 0x1.8p-76: least} // 2^-126 and so many times 2^-75
	for _, class := range []string{"fma", "dot", "tile"} {
		for _, dev := range bf16Devices(t, class) {
			for odd, want := range cases {
				if class == "fma" {
					want = fma32(odd, w[2], least)
				}
				x := []float32{0x1p-63, 0, odd}
				require.Equal(t, want, chain(class, x, w, true), "%s: the definition, %g", class, odd)
				y, _, dw := bf16Linear(t, dev, x, w, []float32{0}, []float32{1}, 1, 1, 3)
				require.Equal(t, bits([]float32{want}), bits(y), "%s on %s: %g", class, dev, odd)
				require.Equal(t, bits(x), bits(dw))
			}
		}
	}
}

// A row's bits do not depend on the rows beside it, nor a weight's gradient on how the rows were split into passes.
func TestBF16RowsAreIndependent(t *testing.T) {
	for _, class := range []string{"fma", "dot", "tile"} {
		bf16RowsAreIndependent(t, openCPU(t, kernels.Options{BF16: class}), 65, 77)
	}
}

func bf16RowsAreIndependent(t *testing.T, dev *kernels.Device, n, k int) {
	const most = 512
	class := dev.BF16()
	x, w, dy := small(1, most*k), small(2, n*k), small(3, most*n)
	wholeY, wholeDX, oneDW := bf16Linear(t, dev, x, w, make([]float32, n), dy, most, n, k)
	for _, m := range []int{1, 2, 7, 8, 15, 16, 17, 63, 64, 65, 128} {
		for _, at := range []int{0, 1, 13, most - m} {
			y, dx, _ := bf16Linear(t, dev, x[at*k:(at+m)*k], w, make([]float32, n), dy[at*n:(at+m)*n], m, n, k)
			require.Equal(t, bits(wholeY[at*n:(at+m)*n]), bits(y), "%s: %d rows from %d", class, m, at)
			require.Equal(t, bits(wholeDX[at*k:(at+m)*k]), bits(dx), "%s: %d rows from %d: dx", class, m, at)
		}
	}
	p, err := dev.NewParam("w", w, n, k)
	require.NoError(t, err)
	require.NoError(t, p.UseBF16())
	backward := func(lengths []int, parts int) []float32 { // sequences in so many passes
		require.NoError(t, p.ZeroGrad())
		at := 0
		for part := range parts {
			segs := kernels.PackedSegs(lengths[part*len(lengths)/parts : (part+1)*len(lengths)/parts]...)
			m := segs.Rows()
			require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
				s.Backward([]*kernels.Tensor{s.Sequences(segs).Linear(s.FromF32(x[at*k:(at+m)*k], m, k), p.Tensor, nil)}, []*kernels.Tensor{s.FromF32(dy[at*n:(at+m)*n], m, n)})
				return s.Err()
			}))
			at += m
		}
		require.Equal(t, most, at)
		g, err := p.Grad()
		require.NoError(t, err)
		dw := make([]float32, n*k)
		require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error { return s.Read(g, dw) }))
		return dw
	}
	lengths := []int{1, 3, 7, 15, 31, 32, 33, 64, 65, 1, 2, 100, 158}
	wholeDW := backward(lengths, 1)
	for _, parts := range []int{2, 5, 13} {
		require.Equal(t, bits(wholeDW), bits(backward(lengths, parts)), "%s: %d passes", class, parts)
	}
	switch class {
	case "fma", "dot":
		require.Equal(t, bits(oneDW), bits(wholeDW), "%s: sequences do not matter", class)
	case "mma": // the bits are the GPU's own
		checkClose(t, "dw", wholeDW, wide(oneDW), 4e-6)
	case "tile":
		require.Equal(t, bits(sequenceDW(x, dy, lengths, n, k)), bits(wholeDW), "%s: dw", class)
	}
	require.NoError(t, p.Free())
}

// sequenceDW is dyT x in class tile, sequence by sequence.
func sequenceDW(x, dy []float32, lengths []int, n, k int) []float32 {
	dw := make([]float32, n*k)
	for i := range dw {
		at := 0
		for _, rows := range lengths {
			a, b := make([]float32, rows), make([]float32, rows)
			for r := range rows {
				a[r], b[r] = dy[(at+r)*n+i/k], x[(at+r)*k+i%k]
			}
			dw[i] = blocks(dw[i], a, b, false)
			at += rows
		}
	}
	return dw
}

// The head over a bf16 weight is the head over the rounded weight and rows in fp32, in class fma; draws and log-probs agree in both.
func TestBF16Head(t *testing.T) {
	const rows, d, v = 37, 50, 301
	x, w := fixed(1, rows*d, 1), fixed(2, v*d, 0.2)
	targets := make([]int32, rows)
	for i := range targets {
		targets[i] = int32(i * 8)
	}
	run := func(dev *kernels.Device, x, w []float32, half bool) (logp, drawn, dw []float32) {
		p, err := dev.NewParam("w", w, v, d)
		require.NoError(t, err)
		defer func() { require.NoError(t, p.Free()) }()
		if half {
			require.NoError(t, p.UseBF16())
		}
		logp, drawn, dw = make([]float32, rows), make([]float32, rows), make([]float32, v*d)
		require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
			xT := s.FromF32(x, rows, d)
			logpT, _ := s.Head(xT, p.Tensor, targets, kernels.HeadOptions{})
			s.Backward([]*kernels.Tensor{s.Sum(logpT)}, nil)
			ids := make([]int32, rows)
			token, lp, _ := s.SampleHead(xT, p.Tensor, kernels.SampleOptions{Counter: make([][4]uint32, rows)})
			require.NoError(t, s.Read(token, ids))
			require.NoError(t, s.Read(lp, drawn))
			again, _ := s.NoGrad().Head(xT, p.Tensor, ids, kernels.HeadOptions{})
			agree := make([]float32, rows)
			require.NoError(t, s.Read(again, agree))
			require.Equal(t, bits(drawn), bits(agree), "a drawn token's log-prob is the trainer's")
			g, err := p.Grad()
			require.NoError(t, err)
			require.NoError(t, s.Read(logpT, logp))
			return s.Read(g, dw)
		}))
		return logp, drawn, dw
	}
	x16, w16 := make([]float32, len(x)), make([]float32, len(w))
	for i := range x {
		x16[i] = near(x[i], false)
	}
	for i := range w {
		w16[i] = near(w[i], true)
	}
	fma := openCPU(t, kernels.Options{BF16: "fma"})
	logp, drawn, dw := run(fma, x, w, true)
	wantLogp, wantDrawn, wantDW := run(fma, x16, w16, false)
	require.Equal(t, bits(wantLogp, wantDrawn), bits(logp, drawn))
	for i := range dw {
		require.InDelta(t, wantDW[i], dw[i], 0.01, "the gradient's factors are rounded to 8 bits")
	}
	for _, dev := range bf16Devices(t, "dot") {
		gotLogp, gotDrawn, gotDW := run(dev, x, w, true)
		require.Equal(t, bits(logp, drawn, dw), bits(gotLogp, gotDrawn, gotDW), "nothing is subnormal here: these classes agree, on %s", dev)
	}
	tiles := bf16Devices(t, "tile")
	wantLogp, wantDrawn, wantDW = run(tiles[0], x, w, true)
	for i := range logp {
		require.InDelta(t, logp[i], wantLogp[i], 1e-5, "its sums are in another order")
	}
	for _, dev := range tiles[1:] {
		gotLogp, gotDrawn, gotDW := run(dev, x, w, true)
		require.Equal(t, bits(wantLogp, wantDrawn, wantDW), bits(gotLogp, gotDrawn, gotDW), dev.String())
	}
}

// Values stay fp32; embeddings and RoundBF16 round, and gradients pass.
func TestBF16Rounding(t *testing.T) {
	dev := openCPU(t)
	values := []float32{1, 1.00390625, 1.01171875, -1.00390625, 1e-40, float32(math.Inf(1)), 3.4e38, 0.1}
	p, err := dev.NewParam("w", values, 4, 2)
	require.NoError(t, err)
	defer func() { require.NoError(t, p.Free()) }()
	require.NoError(t, p.UseBF16())
	require.True(t, p.Tied("u").IsBF16())
	rows, rounded, grad := make([]float32, 8), make([]float32, 8), make([]float32, 8)
	require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
		x := s.Leaf(s.FromF32(values, 8))
		y := s.RoundBF16(x)
		s.Backward([]*kernels.Tensor{y}, []*kernels.Tensor{s.FromF32(values[:8], 8)})
		require.NoError(t, s.Read(s.Embedding(p.Tensor, []int32{0, 1, 2, 3}), rows))
		require.NoError(t, s.Read(s.GradOf(x), grad))
		return s.Read(y, rounded)
	}))
	for i, v := range values {
		require.Equal(t, near(v, true), rows[i], fmt.Sprint(v))
		require.Equal(t, near(v, false), rounded[i], fmt.Sprint(v))
	}
	require.Equal(t, values, grad)
	kept, err := p.Values()
	require.NoError(t, err)
	require.Equal(t, values, kept)

	b, err := dev.NewParam("b", values, 8)
	require.NoError(t, err)
	require.ErrorContains(t, b.UseBF16(), "want a matrix")
	require.NoError(t, b.Free())
	require.NotEqual(t, "tile", dev.BF16(), "it is chosen by name only")
}

// Pages of bf16 round what is written, and attention over them has the bits of attention over packed rows of rounded keys and values,
// on every instruction set; half the bytes are read.
func TestPagesOfBF16(t *testing.T) {
	const n, page = 300, 16
	for _, isa := range []string{"portable", "avx2", "avx512", "neon"} {
		dev, err := kernels.Open("cpu", kernels.Options{ISA: isa})
		if err != nil {
			require.ErrorContains(t, err, "does not have instruction set")
			continue
		}
		require.True(t, dev.PagesBF16())
		for _, heads := range [][3]int{{4, 2, 24}, {9, 3, 64}, {4, 4, 32}, {2, 1, 100}, {50, 1, 16}} {
			h, g, d := heads[0], heads[1], heads[2]
			q, k, v := fixed(1, n*h*d, 1), fixed(2, n*g*d, 1), fixed(3, n*g*d, 1)
			k16, v16 := make([]float32, len(k)), make([]float32, len(v))
			for i := range k {
				k16[i], v16[i] = near(k[i], false), near(v[i], false)
			}
			for _, o := range []kernels.AttnOptions{{Scale: 0.3}, {Scale: 0.3, Window: 100, SoftCap: 2}} {
				want := make([]float32, n*h*d)
				require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
					return s.Read(s.Attention(s.FromF32(q, n, h, d), s.FromF32(k16, n, g, d), s.FromF32(v16, n, g, d), kernels.PackedSegs(n), o), want)
				}))
				for _, chunk := range []int{n, 7, 1} {
					bytes := map[kernels.DType]int64{}
					for _, dtype := range []kernels.DType{kernels.F32, kernels.BF16} {
						before, err := dev.KVBytesRead()
						require.NoError(t, err)
						keys, values := k, v
						if dtype == kernels.F32 {
							keys, values = k16, v16
						}
						require.Equal(t, bits(want), bits(paged(t, dev, dtype, q, keys, values, n, h, g, d, page, chunk, o)), "%s, heads %v, %d rows a call, pages of %s", isa, heads, chunk, dtype)
						bytes[dtype], err = dev.KVBytesRead()
						require.NoError(t, err)
						bytes[dtype] -= before
					}
					require.Equal(t, bytes[kernels.F32], 2*bytes[kernels.BF16])
				}
			}
		}
		require.NoError(t, dev.Close())
	}
}
