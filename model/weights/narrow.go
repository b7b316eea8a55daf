package weights

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Append appends values to b in a type, F32, BF16 or F16, rounded to the nearest, ties to even. A finite value past the largest
// half is an error.
func Append(b []byte, dtype string, values []float32) ([]byte, error) {
	switch dtype {
	case "F32":
		for _, v := range values {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
		}
	case "BF16":
		for _, v := range values {
			b = binary.LittleEndian.AppendUint16(b, uint16(math.Float32bits(toBF16(v))>>16))
		}
	case "F16":
		for i, v := range values {
			h := toF16(v)
			if h&0x7fff == 0x7c00 && !math.IsInf(float64(v), 0) {
				return nil, fmt.Errorf("weights: element %d is %g, the largest F16 is 65504; use BF16", i, v)
			}
			b = binary.LittleEndian.AppendUint16(b, h)
		}
	default:
		return nil, fmt.Errorf("weights: cannot write %q; F32, BF16 and F16 can be written", dtype)
	}
	return b, nil
}

// toBF16 rounds to the nearest bfloat16, ties to even. Not-a-number stays that.
func toBF16(x float32) float32 {
	b := math.Float32bits(x)
	if x != x {
		return math.Float32frombits((b | 0x400000) &^ 0xffff)
	}
	return math.Float32frombits((b + 0x7fff + b>>16&1) &^ 0xffff)
}

// toF16 rounds to the nearest half, ties to even; past the largest to infinity.
func toF16(x float32) uint16 {
	b := math.Float32bits(x)
	sign, exp, frac := uint16(b>>16&0x8000), int(b>>23&0xff)-112, b&0x7fffff
	switch {
	case exp == 143 && frac != 0:
		return sign | 0x7e00 | uint16(frac>>13)
	case exp >= 31:
		return sign | 0x7c00
	case exp < -10:
		return sign
	case exp <= 0: // a subnormal half: frac with its leading 1, shifted right by 14 - exp
		frac |= 1 << 23
		shift := uint(14 - exp)
		return sign + uint16((frac+1<<(shift-1)-1+frac>>shift&1)>>shift)
	}
	return sign + uint16((uint32(exp)<<23+frac+0xfff+frac>>13&1)>>13) // a carry moves on into the exponent, as it should
}
