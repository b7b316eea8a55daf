package kernels_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/gor1/gor1/kernels"
)

// bits hashes floats.
func bits(values ...[]float32) string {
	h := sha256.New()
	for _, v := range values {
		b := make([]byte, 4*len(v))
		for i, x := range v {
			binary.LittleEndian.PutUint32(b[4*i:], math.Float32bits(x))
		}
		h.Write(b)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Every operation and its gradient gives the bits of testdata/bits.txt: on every instruction set of this machine, with any
// number of threads, and so on every machine. R1_WRITE_BITS=1 writes the file anew.
func TestBitsEverywhere(t *testing.T) {
	const path = "testdata/bits.txt"
	var devices []*kernels.Device
	for _, isa := range []string{"portable", "avx2", "avx512", "neon"} {
		dev, err := kernels.Open("cpu", kernels.Options{ISA: isa})
		if err != nil {
			require.ErrorContains(t, err, "does not have instruction set")
			t.Log(err)
			continue
		}
		t.Cleanup(func() { require.NoError(t, dev.Close()) })
		devices = append(devices, dev)
	}
	require.GreaterOrEqual(t, len(devices), 2, "portable and at least one more")
	for _, threads := range []int{1, 2, 4} {
		devices = append(devices, openCPU(t, kernels.Options{Threads: threads}))
	}
	var lines []string
	for _, c := range opTable() {
		in := c.inputs(7)
		coef := coefficients(c.twin(in))
		want := ""
		for _, dev := range devices {
			out, grads := c.run(t, dev, in, coef)
			got := bits(append(out, grads...)...)
			if want == "" {
				want = got
			}
			require.Equal(t, want, got, "%s on %s", c.name, dev)
		}
		lines = append(lines, want+"  "+c.name)
	}
	text := strings.Join(lines, "\n") + "\n"
	if os.Getenv("R1_WRITE_BITS") == "1" {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	kept, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(kept), text)
}

// The execution contract of row-wise operations: a row's bits are the same alone and among any number of others, at any place.
func TestRowsAreIndependent(t *testing.T) {
	rowsAreIndependent(t, openCPU(t), func(c opCase) bool { return c.rows })
}

func rowsAreIndependent(t *testing.T, dev *kernels.Device, takes func(c opCase) bool) {
	sizes := []int{2, 7, 8, 15, 16, 17, 63, 64, 65, 128, 512}
	for _, c := range opTable() {
		if !takes(c) {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			big := c
			big.shapes = append([][]int{}, c.shapes...)
			width := 1
			for _, d := range c.shapes[0][1:] {
				width *= d
			}
			at := func(m int) opCase {
				r := big
				r.shapes = append([][]int{append([]int{m}, c.shapes[0][1:]...)}, c.shapes[1:]...)
				return r
			}
			whole := at(512)
			in := whole.inputs(3)
			alone := map[int][]float32{}
			for _, row := range []int{0, 1, 6, 7, 15, 62, 63, 64, 127, 300, 511} {
				single := append([][]float64{in[0][row*width : (row+1)*width]}, in[1:]...)
				out, _ := at(1).run(t, dev, single, nil)
				alone[row] = out[0]
			}
			for _, m := range sizes {
				for _, offset := range []int{0, 1, 5, 512 - m} {
					if offset+m > 512 {
						continue
					}
					part := append([][]float64{in[0][offset*width : (offset+m)*width]}, in[1:]...)
					out, _ := at(m).run(t, dev, part, nil)
					n := len(out[0]) / m
					for row, want := range alone {
						if row >= offset && row < offset+m {
							require.Equal(t, bits(want), bits(out[0][(row-offset)*n:(row-offset+1)*n]), "row %d among %d from %d", row, m, offset)
						}
					}
				}
			}
		})
	}
}

// Attention and head: a sequence's rows, and a row's log-prob and entropy, do not depend on what they are packed with; and
// attention over pages, fed whole, in chunks or row by row, has the bits of attention over packed rows.
func TestAttentionIsIndependent(t *testing.T) {
	for _, isa := range []string{"portable", "avx2", "avx512", "neon"} {
		t.Run(isa, func(t *testing.T) {
			dev, err := kernels.Open("cpu", kernels.Options{ISA: isa})
			if err != nil {
				require.ErrorContains(t, err, "does not have instruction set")
				t.Skip(err)
			}
			attentionIsIndependent(t, dev)
			require.NoError(t, dev.Close())
		})
	}
}

func attentionIsIndependent(t *testing.T, dev *kernels.Device) {
	const h, g, d, page = 4, 2, 24, 16
	lengths := []int{1, 300, 17, 513, 64}
	total := 0
	for _, n := range lengths {
		total += n
	}
	value := func(which, i int) float32 {
		return float32(kernels.Uniform([2]uint32{5, uint32(which)}, [4]uint32{uint32(i)})*2 - 1)
	}
	fill := func(which, n int) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = value(which, i)
		}
		return v
	}
	q, k, v := fill(0, total*h*d), fill(1, total*g*d), fill(2, total*g*d)
	for _, o := range []kernels.AttnOptions{{Scale: 0.3}, {Scale: 0.3, Window: 100}, {Scale: 0.3, SoftCap: 2}} {
		run := func(fn func(s *kernels.Scope) *kernels.Tensor) []float32 {
			var out []float32
			require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
				y := fn(s)
				out = make([]float32, y.Len())
				return s.Read(y, out)
			}))
			return out
		}
		packed := run(func(s *kernels.Scope) *kernels.Tensor {
			return s.Attention(s.FromF32(q, total, h, d), s.FromF32(k, total, g, d), s.FromF32(v, total, g, d), kernels.PackedSegs(lengths...), o)
		})
		start := 0
		for i, n := range lengths {
			qi, ki, vi := q[start*h*d:(start+n)*h*d], k[start*g*d:(start+n)*g*d], v[start*g*d:(start+n)*g*d]
			want := bits(packed[start*h*d : (start+n)*h*d])
			alone := run(func(s *kernels.Scope) *kernels.Tensor {
				return s.Attention(s.FromF32(qi, n, h, d), s.FromF32(ki, n, g, d), s.FromF32(vi, n, g, d), kernels.PackedSegs(n), o)
			})
			require.Equal(t, want, bits(alone), "sequence %d alone", i)
			for _, chunk := range []int{n, 7, 64, 1} {
				if chunk == 1 && n > 400 {
					continue
				}
				require.Equal(t, want, bits(paged(t, dev, kernels.F32, qi, ki, vi, n, h, g, d, page, chunk, o)), "sequence %d over pages, %d rows a call", i, chunk)
			}
			start += n
		}
	}
}

// paged runs one sequence through a paged cache, chunk rows a call; its pages lie in no order among others.
func paged(t *testing.T, dev *kernels.Device, dtype kernels.DType, q, k, v []float32, n, h, g, d, page, chunk int, o kernels.AttnOptions) []float32 {
	pages := (n + page - 1) / page
	kp, err := dev.NewBuffer(dtype, 2*pages, page, g, d)
	require.NoError(t, err)
	vp, err := dev.NewBuffer(dtype, 2*pages, page, g, d)
	require.NoError(t, err)
	table := make([]int32, pages)
	for i := range table {
		table[i] = int32(2*pages - 1 - 2*i)
	}
	var out []float32
	for from := 0; from < n; from += chunk {
		m := min(chunk, n-from)
		require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
			var slots, rows []int32
			for p := from; p < from+m; p++ {
				slots, rows = append(slots, table[p/page]*int32(page)+int32(p%page)), append(rows, 0, int32(p))
			}
			s.KVWrite(kp, vp, s.FromF32(k[from*g*d:(from+m)*g*d], m, g, d), s.FromF32(v[from*g*d:(from+m)*g*d], m, g, d), s.FromI32(slots))
			y := s.PagedAttention(s.FromF32(q[from*h*d:(from+m)*h*d], m, h, d), kp, vp, s.FromI32(table, 1, pages), s.FromI32(rows, m, 2), o)
			part := make([]float32, y.Len())
			if err := s.Read(y, part); err != nil {
				return err
			}
			out = append(out, part...)
			return nil
		}))
	}
	require.NoError(t, kp.Free())
	require.NoError(t, vp.Free())
	return out
}

// Rows of sequences that have their first pages in common go through them together; each has the bits it has alone. Prefixes end
// inside and at chunks of 256 keys, rows come in no order, and some sequences bring several.
func TestRowsTogetherOverPages(t *testing.T) {
	const h, g, d, page, width, pages = 6, 2, 20, 16, 40, 400
	table := make([]int32, 0, 12*width)
	for i, common := range []int{0, 40, 40, 40, 17, 17, 17, 3, 0, 16, 32, 33} { // pages of the sequence before
		for p := range width {
			id := int32(i*31+p*7) % pages
			if p < common {
				id = table[(i-1)*width+p]
			}
			table = append(table, id)
		}
	}
	var rows []int32
	for i, r := range [][2]int{{610, 1}, {600, 3}, {639, 1}, {256, 1}, {300, 60}, {290, 1}, {272, 1}, {100, 2}, {0, 1}, {255, 2}, {511, 2}, {528, 9}} { // first position, rows
		for p := range r[1] {
			rows = append(rows, int32(i), int32(r[0]+p))
		}
	}
	n := len(rows) / 2
	fill := func(which, n int) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(kernels.Uniform([2]uint32{6, uint32(which)}, [4]uint32{uint32(i)})*2 - 1)
		}
		return v
	}
	q, kv := fill(0, n*h*d), fill(1, pages*page*g*d)
	for _, threads := range []int{1, 3} {
		dev, err := kernels.Open("cpu", kernels.Options{Threads: threads})
		require.NoError(t, err)
		for _, o := range []kernels.AttnOptions{{Scale: 0.3}, {Scale: 0.3, Window: 270}} {
			run := func(from, to int) []float32 {
				out := make([]float32, (to-from)*h*d)
				require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
					cache := s.FromF32(kv, pages, page, g, d)
					y := s.PagedAttention(s.FromF32(q[from*h*d:to*h*d], to-from, h, d), cache, cache, s.FromI32(table, len(table)/width, width), s.FromI32(rows[2*from:2*to], to-from, 2), o)
					return s.Read(y, out)
				}))
				return out
			}
			var alone []float32
			for i := range n {
				alone = append(alone, run(i, i+1)...)
			}
			require.Equal(t, bits(alone), bits(run(0, n)), "%d threads, window %d", threads, o.Window)
		}
		require.NoError(t, dev.Close())
	}
}

// What the sampler reports of a token is what the head computes for it as a target, bit for bit; a draw is a function of its
// counter, whatever the batch; and draws follow the distribution.
func TestSampleHead(t *testing.T) { sampleHead(t, openCPU(t)) }

func sampleHead(t *testing.T, dev *kernels.Device) {
	const b, d, v = 600, 16, 1500
	x, w := make([]float32, b*d), make([]float32, v*d)
	for i := range x {
		x[i] = float32(kernels.Uniform([2]uint32{1, 1}, [4]uint32{uint32(i)})*2 - 1)
	}
	for i := range w {
		w[i] = float32(kernels.Uniform([2]uint32{1, 2}, [4]uint32{uint32(i)})*2 - 1)
	}
	draw := func(from, n int, temp float32) (token []int32, logp, ent, headLogp, headEnt []float32) {
		token, logp, ent, headLogp, headEnt = make([]int32, n), make([]float32, n), make([]float32, n), make([]float32, n), make([]float32, n)
		require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
			o := kernels.SampleOptions{Key: [2]uint32{8, 9}, Counter: make([][4]uint32, n), Temp: make([]float32, n)}
			for i := range o.Counter {
				o.Counter[i], o.Temp[i] = [4]uint32{uint32(from + i), 1, 2, 3}, temp
			}
			xt, wt := s.FromF32(x[from*d:(from+n)*d], n, d), s.FromF32(w, v, d)
			tk, lp, h := s.SampleHead(xt, wt, o)
			require.NoError(t, s.Read(tk, token))
			require.NoError(t, s.Read(lp, logp))
			require.NoError(t, s.Read(h, ent))
			head := kernels.HeadOptions{}
			if temp != 0 && temp != 1 {
				head.Temp = s.Full(temp, n)
			}
			hl, he := s.Head(xt, wt, token, head)
			require.NoError(t, s.Read(hl, headLogp))
			return s.Read(he, headEnt)
		}))
		return
	}
	for _, temp := range []float32{1, 0.6, 0} {
		token, logp, ent, headLogp, headEnt := draw(0, b, temp)
		require.Equal(t, bits(headLogp), bits(logp), "log-prob at temperature %g", temp)
		require.Equal(t, bits(headEnt), bits(ent), "entropy at temperature %g", temp)
		for _, part := range [][2]int{{0, 1}, {17, 3}, {599, 1}, {100, 300}} {
			again, lp, _, _, _ := draw(part[0], part[1], temp)
			require.Equal(t, token[part[0]:part[0]+part[1]], again)
			require.Equal(t, bits(logp[part[0]:part[0]+part[1]]), bits(lp))
		}
		if temp == 0 {
			continue
		}
		// mean log-prob of the draws is minus the mean entropy, within its standard error
		diff, sq := 0.0, 0.0
		for i := range logp {
			e := float64(logp[i]) + float64(ent[i])
			diff, sq = diff+e, sq+e*e
		}
		require.Less(t, math.Abs(diff/b), 4*math.Sqrt(sq/b)/math.Sqrt(b), "temperature %g", temp)
	}
	_, _, _, _, _ = draw(0, 1, 1)
}

// Inverse CDF: over many draws from one row the frequencies are the probabilities.
func TestSampleFrequencies(t *testing.T) { sampleFrequencies(t, openCPU(t)) }

func sampleFrequencies(t *testing.T, dev *kernels.Device) {
	const n = 40000
	logits := []float32{0, 1, 2, -30, 0.5}
	counts := make([]int, len(logits))
	require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
		counter := make([][4]uint32, n)
		for i := range counter {
			counter[i] = [4]uint32{uint32(i)}
		}
		token, _, _ := s.SampleHead(s.Full(1, n, 1), s.FromF32(logits, len(logits), 1), kernels.SampleOptions{Key: [2]uint32{3, 4}, Counter: counter})
		ids := make([]int32, n)
		require.NoError(t, s.Read(token, ids))
		for _, id := range ids {
			counts[id]++
		}
		return nil
	}))
	total := 0.0
	for _, z := range logits {
		total += math.Exp(float64(z))
	}
	for i, z := range logits {
		p := math.Exp(float64(z)) / total
		require.InDelta(t, p, float64(counts[i])/n, 4*math.Sqrt(p*(1-p)/n)+1e-9, "word %d", i)
	}
}

// Random123's published known answers of Philox-4x32-10.
func TestPhilox(t *testing.T) {
	require.Equal(t, [4]uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}, kernels.Philox([2]uint32{}, [4]uint32{}))
	f := uint32(0xffffffff)
	require.Equal(t, [4]uint32{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}, kernels.Philox([2]uint32{f, f}, [4]uint32{f, f, f, f}))
	require.Equal(t, [4]uint32{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1},
		kernels.Philox([2]uint32{0xa4093822, 0x299f31d0}, [4]uint32{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}))
	u := kernels.Uniform([2]uint32{1, 2}, [4]uint32{3, 4, 5, 6})
	require.True(t, u >= 0 && u < 1)
}

// Linears has the bits of Linear by one weight after the other, forward and backward, whatever the weights' dtypes.
func TestLinearsAreLinear(t *testing.T) {
	const k = 70
	outs := []int{96, 33, 5}
	values := func(which, n int) []float32 {
		out := make([]float32, n)
		for i := range out {
			out[i] = float32(kernels.Uniform([2]uint32{5, uint32(which)}, [4]uint32{uint32(i)}) - 0.5)
		}
		return out
	}
	for _, o := range []kernels.Options{{Threads: 1}, {Threads: 3}, {Threads: 2, ISA: "portable", BF16: "fma"}, {Threads: 2, BF16: "dot"}, {Threads: 2, BF16: "tile"}} {
		dev := openCPU(t, o)
		for half := range 3 { // none, all but the second, all
			params := make([]*kernels.Param, 0, 4)
			for i, n := range outs {
				p, err := dev.NewParam("w", values(i, n*k), n, k)
				require.NoError(t, err)
				if half == 2 || half == 1 && i != 1 {
					require.NoError(t, p.UseBF16())
				}
				params = append(params, p)
			}
			bias, err := dev.NewParam("b", values(3, outs[0]), outs[0])
			require.NoError(t, err)
			params = append(params, bias)
			for _, m := range []int{1, 13, 64, 300} {
				run := func(product func(s *kernels.Scope, x *kernels.Tensor, w, b []*kernels.Tensor) []*kernels.Tensor) string {
					var all [][]float32
					read := func(s *kernels.Scope, x *kernels.Tensor) error {
						all = append(all, make([]float32, x.Len()))
						return s.Read(x, all[len(all)-1])
					}
					require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
						x := s.Leaf(s.FromF32(values(4, m*k), m, k))
						ys := product(s, x, []*kernels.Tensor{params[0].Tensor, params[1].Tensor, params[2].Tensor}, []*kernels.Tensor{bias.Tensor, nil, nil})
						for _, y := range ys {
							if err := read(s, y); err != nil {
								return err
							}
						}
						s.Backward(ys, ys)
						return read(s, s.GradOf(x))
					}))
					for _, p := range params {
						g, err := p.Grad()
						require.NoError(t, err)
						require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error { return read(s, g) }))
						require.NoError(t, p.ZeroGrad())
					}
					return bits(all...)
				}
				want := run(func(s *kernels.Scope, x *kernels.Tensor, w, b []*kernels.Tensor) []*kernels.Tensor {
					ys := make([]*kernels.Tensor, len(w))
					for i := range w {
						ys[i] = s.Linear(x, w[i], b[i])
					}
					return ys
				})
				require.Equal(t, want, run((*kernels.Scope).Linears), "%+v, %d rows, dtypes %d", o, m, half)
			}
			for _, p := range params {
				require.NoError(t, p.Free())
			}
		}
	}
}

// A batch cut into micro-batches gives the same gradient bits, tied weights included.
func TestMicroBatchesGiveTheSameBits(t *testing.T) {
	const n, d, v = 64, 12, 30
	dev := openCPU(t)
	values := func(which, n int) []float32 {
		out := make([]float32, n)
		for i := range out {
			out[i] = float32(kernels.Uniform([2]uint32{4, uint32(which)}, [4]uint32{uint32(i)}) - 0.5)
		}
		return out
	}
	embed, err := dev.NewParam("embed", values(0, v*d), v, d)
	require.NoError(t, err)
	head := embed.Tied("head")
	w, err := dev.NewParam("w", values(1, d*d), d, d)
	require.NoError(t, err)
	b, err := dev.NewParam("b", values(2, d), d)
	require.NoError(t, err)
	norm, err := dev.NewParam("norm", values(3, d), d)
	require.NoError(t, err)
	params := []*kernels.Param{embed, w, b, norm}
	ids, targets := make([]int32, n), make([]int32, n)
	for i := range ids {
		ids[i], targets[i] = int32(i*7%v), int32(i*11%v)
	}
	want := ""
	for _, parts := range []int{1, 2, 7, 64} {
		for p := range parts {
			from, to := p*n/parts, (p+1)*n/parts
			require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error {
				x := s.Embedding(embed.Tensor, ids[from:to])
				h := s.RMSNorm(s.Add(x, s.Silu(s.Linear(x, w.Tensor, b.Tensor))), norm.Tensor, 1e-6)
				logp, ent := s.Head(h, head.Tensor, targets[from:to], kernels.HeadOptions{})
				loss := s.Sum(s.Affine(s.Add(logp, ent), -1.0/n, 0))
				s.Backward([]*kernels.Tensor{loss}, nil)
				return nil
			}))
		}
		var all [][]float32
		for _, p := range params {
			grads, err := p.Grads()
			require.NoError(t, err)
			for _, g := range grads {
				v := make([]float32, g.Len())
				require.NoError(t, dev.Do(context.Background(), func(s *kernels.Scope) error { return s.Read(g, v) }))
				all = append(all, v)
			}
			require.NoError(t, p.ZeroGrad())
		}
		require.Len(t, all, 5, "the tied weight has two accumulators")
		if want == "" {
			want = bits(all...)
		}
		require.Equal(t, want, bits(all...), "%d micro-batches", parts)
	}
	for _, p := range params {
		require.NoError(t, p.Free())
	}
}

// Many goroutines share one device, one pool and one parameter; each gets the bits it would get alone.
func TestManyGoroutines(t *testing.T) { manyGoroutines(t, openCPU(t)) }

func manyGoroutines(t *testing.T, dev *kernels.Device) {
	values := make([]float32, 64*64)
	for i := range values {
		values[i] = float32(i%13) - 6
	}
	w, err := dev.NewParam("w", values, 64, 64)
	require.NoError(t, err)
	run := func(seed int) string {
		x := make([]float32, 200*64)
		for i := range x {
			x[i] = float32((i*seed)%17) / 16
		}
		out := make([]float32, len(x))
		err := dev.Do(context.Background(), func(s *kernels.Scope) error {
			return s.Read(s.Softmax(s.Linear(s.FromF32(x, 200, 64), w.Tensor, nil)), out)
		})
		if err != nil {
			return err.Error()
		}
		return bits(out)
	}
	const workers = 64
	var want, got [workers]string
	for i := range want {
		want[i] = run(i + 1)
	}
	var group sync.WaitGroup
	for i := range workers {
		group.Go(func() {
			for range 5 {
				got[i] = run(i + 1)
			}
		})
	}
	group.Wait()
	require.Equal(t, want, got)
	require.NoError(t, w.Free())
}

func ExampleDevice_Do() {
	dev, err := kernels.Open("cpu")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer dev.Close()
	err = dev.Do(context.Background(), func(s *kernels.Scope) error {
		x := s.Leaf(s.FromF32([]float32{1, 2, 3}))
		loss := s.Sum(s.Square(x))
		s.Backward([]*kernels.Tensor{loss}, nil)
		grad := make([]float32, 3)
		if err := s.Read(s.GradOf(x), grad); err != nil {
			return err
		}
		fmt.Println(grad)
		return nil
	})
	if err != nil {
		fmt.Println(err)
	}
	// Output: [2 4 6]
}
