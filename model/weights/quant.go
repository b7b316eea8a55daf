package weights

import (
	"encoding/binary"
	"math"
	"unsafe"
)

// layout is how a type stores its elements: blocks of so many elements in so many bytes, and how to widen whole blocks to
// float32 (nil: they are no numbers by themselves).
type layout struct {
	elems, bytes int
	widen        func(dst []float32, src []byte)
}

// layouts are the types of safetensors and of GGUF under their formats' own names. GGUF's Q types are described by ggml's
// ggml-common.h; each block has half-precision scales and small whole numbers.
var layouts = map[string]layout{
	"F64": {1, 8, widenF64}, "F32": {1, 4, widenF32}, "F16": {1, 2, widenF16}, "BF16": {1, 2, widenBF16},
	"I64": {1, 8, nil}, "I32": {1, 4, nil}, "I16": {1, 2, nil}, "I8": {1, 1, nil}, "BOOL": {1, 1, nil},
	"U64": {1, 8, nil}, "U32": {1, 4, nil}, "U16": {1, 2, nil}, "U8": {1, 1, nil},
	"F8_E4M3": {1, 1, nil}, "F8_E5M2": {1, 1, nil},

	"Q4_0": {32, 18, widenQ4_0}, "Q4_1": {32, 20, widenQ4_1}, "Q5_0": {32, 22, widenQ5_0}, "Q5_1": {32, 24, widenQ5_1}, "Q8_0": {32, 34, widenQ8_0},
	"Q4_K": {256, 144, widenQ4_K}, "Q5_K": {256, 176, widenQ5_K}, "Q6_K": {256, 210, widenQ6_K},
}

func u16(b []byte) uint16 { return binary.LittleEndian.Uint16(b) }

func half(b []byte) float32 { return fromF16(u16(b)) }

var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

func widenF32(dst []float32, src []byte) {
	if littleEndian && len(dst) > 0 { // the bytes of dst, whose length is its own
		copy(unsafe.Slice((*byte)(unsafe.Pointer(&dst[0])), 4*len(dst)), src)
		return
	}
	for i := range dst {
		dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
	}
}

func widenF64(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = float32(math.Float64frombits(binary.LittleEndian.Uint64(src[8*i:])))
	}
}

func widenBF16(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = math.Float32frombits(uint32(u16(src[2*i:])) << 16)
	}
}

func widenF16(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = half(src[2*i:])
	}
}

// fromF16 widens an IEEE half.
func fromF16(h uint16) float32 {
	sign, exp, frac := uint32(h>>15)<<31, uint32(h>>10&0x1f), uint32(h&0x3ff)
	switch exp {
	case 0:
		v := float32(frac) * (1.0 / (1 << 24))
		return math.Float32frombits(math.Float32bits(v) | sign)
	case 31:
		return math.Float32frombits(sign | 0x7f800000 | frac<<13)
	}
	return math.Float32frombits(sign | (exp+112)<<23 | frac<<13)
}

// widenF8E4M3 widens the variant without infinities (arXiv 2209.05433): 4 exponent bits of bias 7, and only 0x7f and 0xff
// are not numbers.
func widenF8E4M3(dst []float32, src []byte) {
	for i, b := range src[:len(dst)] {
		sign, exp, frac := uint32(b>>7)<<31, uint32(b>>3&15), uint32(b&7)
		switch {
		case b&0x7f == 0x7f:
			dst[i] = math.Float32frombits(sign | 0x7ff00000)
		case exp == 0:
			dst[i] = math.Float32frombits(math.Float32bits(float32(frac)*(1.0/512)) | sign)
		default:
			dst[i] = math.Float32frombits(sign | (exp+120)<<23 | frac<<20)
		}
	}
}

// The products below are rounded to float32 before anything is added (the conversions forbid a fused multiply-add), as in
// ggml's reference code, and so the bits are its bits.

// widenQ4_0: d, then 16 bytes whose low halves are elements 0-15 and whose high halves are 16-31; x = d (q - 8).
func widenQ4_0(dst []float32, src []byte) {
	for ; len(dst) > 0; dst, src = dst[32:], src[18:] {
		d := half(src)
		for i, q := range src[2:18] {
			dst[i], dst[16+i] = d*float32(int(q&15)-8), d*float32(int(q>>4)-8)
		}
	}
}

// widenQ4_1: d, m, then as Q4_0; x = d q + m.
func widenQ4_1(dst []float32, src []byte) {
	for ; len(dst) > 0; dst, src = dst[32:], src[20:] {
		d, m := half(src), half(src[2:])
		for i, q := range src[4:20] {
			dst[i], dst[16+i] = float32(d*float32(q&15))+m, float32(d*float32(q>>4))+m
		}
	}
}

// widenQ5_0: d, 32 fifth bits, then as Q4_0; x = d (q - 16).
func widenQ5_0(dst []float32, src []byte) {
	for ; len(dst) > 0; dst, src = dst[32:], src[22:] {
		d, high := half(src), binary.LittleEndian.Uint32(src[2:])
		for i, q := range src[6:22] {
			lo, hi := int(q&15)|int(high>>i&1)<<4, int(q>>4)|int(high>>(16+i)&1)<<4
			dst[i], dst[16+i] = d*float32(lo-16), d*float32(hi-16)
		}
	}
}

// widenQ5_1: d, m, 32 fifth bits, then as Q4_0; x = d q + m.
func widenQ5_1(dst []float32, src []byte) {
	for ; len(dst) > 0; dst, src = dst[32:], src[24:] {
		d, m, high := half(src), half(src[2:]), binary.LittleEndian.Uint32(src[4:])
		for i, q := range src[8:24] {
			lo, hi := uint32(q&15)|high>>i&1<<4, uint32(q>>4)|high>>(16+i)&1<<4
			dst[i], dst[16+i] = float32(d*float32(lo))+m, float32(d*float32(hi))+m
		}
	}
}

// widenQ8_0: d, then 32 signed bytes; x = d q.
func widenQ8_0(dst []float32, src []byte) {
	for ; len(dst) > 0; dst, src = dst[32:], src[34:] {
		d := half(src)
		for i, q := range src[2:34] {
			dst[i] = float32(int8(q)) * d
		}
	}
}

// scaleMin unpacks sub-block j's 6-bit scale and minimum from the 12 bytes that hold 8 of each: the first four of both in
// the low bits of bytes 0-7, the rest split between bytes 8-11 and the high bits of bytes 0-7.
func scaleMin(s []byte, j int) (scale, minimum byte) {
	if j < 4 {
		return s[j] & 63, s[j+4] & 63
	}
	return s[j+4]&15 | s[j-4]>>6<<4, s[j+4]>>4 | s[j]>>6<<4
}

// widenQ4_K: d, dmin, 8 scales and minima of sub-blocks of 32, 128 bytes of halves; x = (d scale) q - dmin min.
func widenQ4_K(dst []float32, src []byte) {
	for ; len(dst) > 0; dst, src = dst[256:], src[144:] {
		d, dmin := half(src), half(src[2:])
		for j := range 8 {
			scale, minimum := scaleMin(src[4:16], j)
			ds, dm := d*float32(scale), dmin*float32(minimum)
			out, shift := dst[32*j:32*j+32], 4*(j&1)
			for i, q := range src[16+32*(j/2) : 48+32*(j/2)] {
				out[i] = float32(ds*float32(q>>shift&15)) - dm
			}
		}
	}
}

// widenQ5_K: as Q4_K with 32 bytes of fifth bits before the halves, bit j of each for sub-block j.
func widenQ5_K(dst []float32, src []byte) {
	for ; len(dst) > 0; dst, src = dst[256:], src[176:] {
		d, dmin := half(src), half(src[2:])
		for j := range 8 {
			scale, minimum := scaleMin(src[4:16], j)
			ds, dm := d*float32(scale), dmin*float32(minimum)
			out, high, shift := dst[32*j:32*j+32], src[16:48], 4*(j&1)
			for i, q := range src[48+32*(j/2) : 80+32*(j/2)] {
				out[i] = float32(ds*float32(q>>shift&15|high[i]>>j&1<<4)) - dm
			}
		}
	}
}

// widenQ6_K: 128 bytes of low halves, 64 of high pairs of bits, 16 signed scales, d; x = (d scale) (q - 32). Each 128
// elements are four runs of 32 which share bytes: runs 0 and 1 the low halves of 64 bytes, 2 and 3 their high halves.
func widenQ6_K(dst []float32, src []byte) {
	for ; len(dst) > 0; dst, src = dst[256:], src[210:] {
		d := half(src[208:])
		for run := range 8 {
			low, high := src[run/4*64+run%2*32:], src[128+run/4*32:]
			out, shift := dst[32*run:32*run+32], run%4
			for i := range out {
				q := low[i]>>(shift/2*4)&15 | high[i]>>(2*shift)&3<<4
				ds := d * float32(int8(src[192+2*run+i/16]))
				out[i] = ds * float32(int(q)-32)
			}
		}
	}
}
