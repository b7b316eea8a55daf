package weights

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every half comes back from its own value, and what lies between two goes to the nearer, in the middle to the even one.
func TestToF16(t *testing.T) {
	for i := range 0x7c00 {
		h := uint16(i)
		x := fromF16(h)
		require.Equal(t, h, toF16(x))
		require.Equal(t, h|0x8000, toF16(-x))
		if i == 0x7bff {
			break
		}
		next := fromF16(h + 1)
		middle := (x + next) / 2 // exact in float32
		require.Equal(t, h+h&1, toF16(middle), "middle of %g and %g", x, next)
		require.Equal(t, h, toF16(math.Nextafter32(middle, x)))
		require.Equal(t, h+1, toF16(math.Nextafter32(middle, next)))
	}
	require.Equal(t, uint16(0x7bff), toF16(65519.99))
	require.Equal(t, uint16(0x7c00), toF16(65520))
	require.Equal(t, uint16(0xfc00), toF16(float32(math.Inf(-1))))
	require.Equal(t, uint16(0x7e00), toF16(float32(math.NaN()))&0x7e00)
	_, err := Append(nil, "F16", []float32{1, 1e6})
	require.ErrorContains(t, err, "element 1 is 1e+06")
	_, err = Append(nil, "Q4_0", nil)
	require.ErrorContains(t, err, "Q4_0")
}

func TestToBF16(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 100_000 {
		x := math.Float32frombits(r.Uint32())
		b, err := Append(nil, "BF16", []float32{x})
		require.NoError(t, err)
		got := math.Float32frombits(uint32(binary.LittleEndian.Uint16(b)) << 16)
		if x != x {
			require.True(t, got != got)
			continue
		}
		lo := math.Float32frombits(math.Float32bits(x) &^ 0xffff)
		hi := math.Float32frombits(math.Float32bits(x)&^0xffff + 0x10000)
		down, up := math.Abs(float64(x)-float64(lo)), math.Abs(float64(hi)-float64(x))
		if math.IsInf(float64(hi), 0) {
			up = math.Ldexp(1, 120) - down
		}
		want := lo
		if up < down || up == down && math.Float32bits(lo)>>16&1 == 1 {
			want = hi
		}
		require.Equal(t, want, got, "%g (%08x)", x, math.Float32bits(x))
	}
}

// F8_E4M3's values by its definition, times a scale for each 128 x 128 block, blocks at the edges being smaller, rounded to bfloat16.
// Weights without scales, or with scales of another shape, are errors.
func TestF8(t *testing.T) {
	const rows, cols = 130, 260
	data, scales := make([]byte, rows*cols), []float32{1, 0.3, 1e-3, 7, 3e37, 1e-39}
	for i := range data {
		if data[i] = byte(i * 7); data[i]&0x7f == 0x7f {
			data[i] = 0
		}
	}
	dir := write(t, map[string]Tensor{
		"w": {"F8_E4M3", []int{rows, cols}, data}, "w_scale_inv": FromFloat32(scales, 2, 3), "norm": FromFloat32([]float32{1.0000001}, 1),
	})
	c, err := OpenCheckpoint(dir, Blocks{128, 128})
	require.NoError(t, err)
	defer c.Close()
	require.Equal(t, []string{"norm", "w"}, c.Names())
	norm, err := c.Float32("norm")
	require.NoError(t, err)
	require.Equal(t, []float32{1.0000001}, norm, "what is not F8 is not rounded")
	got, err := c.Float32("w")
	require.NoError(t, err)
	for i, b := range data {
		exp, frac := int(b>>3&15), float64(b&7)
		v := math.Ldexp(8+frac, exp-10)
		if exp == 0 {
			v = math.Ldexp(frac, -9)
		}
		if b > 127 {
			v = -v
		}
		want := toBF16(float32(v) * scales[i/cols/128*3+i%cols/128])
		require.Equal(t, math.Float32bits(want), math.Float32bits(got[i]), "element %d, byte %02x", i, b)
	}
	for says, block := range map[string]Blocks{"for blocks of [0 0]": {}, "for blocks of [64 128]": {64, 128}} {
		_, err := OpenCheckpoint(dir, block)
		require.ErrorContains(t, err, says)
	}
	_, err = OpenCheckpoint(write(t, map[string]Tensor{"w": {"F8_E4M3", []int{1, 1}, []byte{1}}}), Blocks{128, 128})
	require.ErrorContains(t, err, "no w_scale_inv")
	bare, err := OpenCheckpoint(write(t, map[string]Tensor{"w": {"F8_E4M3", []int{1, 1}, []byte{1}}}), Blocks{})
	require.NoError(t, err)
	defer bare.Close()
	_, err = bare.Float32("w")
	require.ErrorContains(t, err, "F8_E4M3 cannot be converted")
}

func write(t *testing.T, tensors map[string]Tensor) string {
	path := filepath.Join(t.TempDir(), "x.safetensors")
	require.NoError(t, Write(path, tensors))
	return path
}
